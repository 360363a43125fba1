/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "policy-command.h"
#include "policy/policy.h"

static enum status check(char **paths, unsigned n_paths) {
    _cleanup_(policy_freep) struct policy *policy = NULL;
    enum status status = policy_open(paths, n_paths, &policy);
    size_t n_warnings = 0;

    if (status)
        return status;
    for (const char *warning; (warning = policy_warning(policy, n_warnings)); n_warnings++)
        policy_print_message(warning);
    if (n_warnings == 0)
        printf("The policy is fine.\n");
    else
        printf("The policy loads, with %zu warning%s.\n", n_warnings, n_warnings == 1 ? "" : "s");
    return STATUS_OK;
}

static enum status run(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    const char *what = arguments[0];
    bool reload = strcmp(what, "reload") == 0;

    if ((ctl->host || ctl->machine) && !reload) {
        complain("policy %s asks no broker: --host and --machine go with reload alone", what);
        return STATUS_USAGE;
    }
    if (ctl->revoke && !reload) {
        complain("policy %s revokes nothing: --revoke goes with reload alone", what);
        return STATUS_USAGE;
    }
    if (reload && n_arguments == 1)
        return ctl_call(ctl, "broker", BROKER_PATH, INTERFACE_MANAGER, ctl->revoke ? "ReloadAndRevoke" : "Reload", NULL,
                        "");
    if (strcmp(what, "check") == 0)
        return check(arguments + 1, n_arguments - 1);
    if (strcmp(what, "explain") == 0)
        return policy_explain_run(ctl, arguments + 1, n_arguments - 1);
    complain("usage: ioregionctl policy %s", command_policy.arguments);
    return STATUS_USAGE;
}

const struct command command_policy = {
    .name = "policy",
    .arguments = "check [FILE...|DIRECTORY] | explain KEY=VALUE... | reload [--revoke]",
    .summary = "check a policy, ask it a question, load it anew",
    .help = "check reads a policy as the broker would, without one: errors and warnings come as FILE:LINE:COLUMN.\n"
            "Several files are one policy; without a name it is " POLICY_DIRECTORY ".\n"
            "\n"
            "explain tells whether that policy would allow something, which rule decides, and why. With device= the\n"
            "question is an attach, without it a registration. Keys: vm, device, unit, user, region (SPACE:BASE:SIZE,\n"
            "may be repeated), channels, timeout, on-disconnect, require, want, dispatch; policy is a file or\n"
            "directory to ask in place of the installed one. Exit status 1 means denied.\n"
            "\n"
            "reload makes the broker load its policy anew. A bad one changes nothing. What the new one would not give\n"
            "any more is kept, and told in the journal; with --revoke it is withdrawn. For operators.\n"
            "\n"
            "  ioregionctl policy check new.json && mv new.json " POLICY_DIRECTORY "/ && ioregionctl policy reload\n"
            "  ioregionctl policy explain vm=alpha user=qemu unit=vm-alpha.service\n"
            "  ioregionctl policy explain vm=alpha device=uart0 unit=ioregion-uart@alpha.service \\\n"
            "      region=pio:0x3f8:8 want=posted-writes\n",
    .min = 1,
    .max = 64,
    .options = OPTION_JSON | OPTION_REMOTE | OPTION_REVOKE,
    .run = run,
};
