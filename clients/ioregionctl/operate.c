/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "ctl.h"

/* The path of an operand that must name a VM, or a device of a VM. */
static enum status operand(char *vm, char *device, char **ret_name, char **ret_path) {
    const char *interface;

    if (asprintf(ret_name, "%s%s%s", vm, device ? "/" : "", device ? device : "") < 0) {
        *ret_name = NULL;
        complain("out of memory");
        return STATUS_FAILED;
    }
    return ctl_object(*ret_name, ret_path, &interface);
}

static enum status run_detach(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    _cleanup_(freep) char *name = NULL, *path = NULL;
    enum status status = operand(arguments[0], arguments[1], &name, &path);

    return status ? status : ctl_call(ctl, name, path, INTERFACE_DEVICE, "Detach", NULL, "");
}

static enum status run_revoke(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    _cleanup_(freep) char *name = NULL, *path = NULL;
    enum status status = operand(arguments[0], arguments[1], &name, &path);

    return status ? status
                  : ctl_call(ctl, name, path, INTERFACE_DEVICE, "Revoke", NULL, "s", ctl->reason ? ctl->reason : "");
}

static enum status run_unregister(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    _cleanup_(freep) char *name = NULL, *path = NULL;
    enum status status = operand(arguments[0], NULL, &name, &path);

    return status ? status : ctl_call(ctl, name, path, INTERFACE_VM, "Unregister", NULL, "");
}

const struct command command_detach = {
    .name = "detach",
    .arguments = "VM DEVICE",
    .summary = "take a device off a VM, in good order",
    .help = "Ends a device's hold: its regions go back to the VMM. Returns when no vCPU is inside them any more. The\n"
            "device is told, and may attach again when its unit is started anew. For operators.\n"
            "\n"
            "  systemctl stop ioregion-uart@alpha           the usual way: the unit's end detaches the device\n"
            "  ioregionctl detach alpha uart0               when the unit is to go on running\n",
    .min = 2,
    .max = 2,
    .options = OPTION_REMOTE,
    .run = run_detach,
};

const struct command command_revoke = {
    .name = "revoke",
    .arguments = "VM DEVICE [--reason TEXT]",
    .summary = "take a device off a VM, and say why",
    .help = "As detach; the reason stands in the journal, and in the audit trail beside it. For operators.\n"
            "\n"
            "  ioregionctl revoke alpha uart0 --reason \"floods the log, ticket 4711\"\n"
            "  journalctl -u ioregiond --grep 4711\n",
    .min = 2,
    .max = 2,
    .options = OPTION_REMOTE | OPTION_REASON,
    .run = run_revoke,
};

const struct command command_unregister = {
    .name = "unregister",
    .arguments = "VM",
    .summary = "end a VM's registration, and with it its devices",
    .help = "Every device of the VM is detached. The VM itself runs on; it can't register again under its lease.\n"
            "For operators.\n"
            "\n"
            "  ioregionctl unregister alpha\n",
    .min = 1,
    .max = 1,
    .options = OPTION_REMOTE,
    .run = run_unregister,
};
