/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Attach on behalf of a device that knows nothing of D-Bus: the lease and the channels go into the file descriptor
 * store of the unit that this runs in, and the device is started with them.
 *
 * A unit that starts again runs this again: what the last start left in the store goes first, and what the broker
 * then grants resumes the device that was there.
 */

#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "ctl.h"
#include "description.h"

#define BARRIER_USEC (5 * UINT64_C(1000000))

/* Nobody calls these: the device that answers is another process. */
static uint64_t no_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    return UINT64_MAX;
}

static void no_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
}

/* Under which name descriptor @i of lease and channels is stored. */
static void store_name(size_t i, char name[static 32]) {
    if (i == 0)
        strcpy(name, "lease");
    else
        snprintf(name, 32, "channel-%zu", i - 1);
}

/* One message to the service manager about one descriptor name; sd_notify(3) returns 0 when nobody listens. */
static int notify(const char *what, size_t i, const int *fd) {
    char name[32], message[64];
    int r;

    store_name(i, name);
    snprintf(message, sizeof(message), "%s=1\nFDNAME=%s", what, name);
    r = sd_pid_notify_with_fds(0, false, message, fd, fd ? 1 : 0);
    return r == 0 ? -ENOTCONN : r;
}

/* Lease first, then the channels. All old names go before anything new comes. */
static int store(const int *fds, size_t n_fds) {
    int r = 0;

    for (size_t i = 0; r >= 0 && i < n_fds; i++)
        r = notify("FDSTOREREMOVE", i, NULL);
    for (size_t i = 0; r >= 0 && i < n_fds; i++)
        r = notify("FDSTORE", i, &fds[i]);
    if (r >= 0)
        r = sd_notify_barrier(false, BARRIER_USEC);
    return r == 0 ? -ENOTCONN : r;
}

/* When this fails, the descriptors are closed, which ends the lease and detaches the device. */
static enum status attach_and_store(const char *vm, const char *name, const struct description *description) {
    static const struct ioregion_device_ops ops = {sizeof(ops), no_read, no_write, NULL, NULL};
    struct ioregion_device *device;
    int fds[1 + IOREGION_LEASE_FDS_MAX];
    size_t n_fds = 1 + description->options.channels;
    int r = ioregion_device_attach(&device, vm, name, description->regions, description->n_regions,
                                   &description->options, &ops, NULL);

    if (r < 0)
        return ctl_library_failed(r);
    r = ioregion_device_take_fds(device, &fds[0], &fds[1], n_fds - 1);
    if (r < 0)
        complain("%s", ioregion_last_error());
    ioregion_device_free(device);
    if (r < 0)
        return STATUS_FAILED;
    r = store(fds, n_fds);
    if (r < 0)
        complain("the service manager did not take the descriptors: %s", strerror(-r));
    for (size_t i = 0; i < n_fds; i++)
        fd_close(fds[i]);
    return r < 0 ? STATUS_FAILED : STATUS_OK;
}

static enum status run(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    char *vm = arguments[0], *name = strchr(vm, ':');
    _cleanup_(description_freep) struct description *description = NULL;
    _cleanup_(freep) char *error = NULL;
    int r;

    if (!ctl->description) {
        complain("attach needs --description FILE; ioregionctl attach --help shows one");
        return STATUS_USAGE;
    }
    r = description_load(ctl->description, &description, &error);
    if (r < 0) {
        complain("%s", error ? error : strerror(-r));
        return STATUS_FAILED;
    }
    if (!getenv("NOTIFY_SOCKET")) {
        complain("there is no service manager to keep the descriptors: run this as ExecStartPre=+ of a unit with "
                 "NotifyAccess=exec and FileDescriptorStoreMax=");
        return STATUS_FAILED;
    }
    if (name) /* a unit's instance may name both */
        *name++ = '\0';
    return attach_and_store(vm, name ?: arguments[1], description);
}

const struct command command_attach = {
    .name = "attach",
    .arguments = "VM[:DEVICE] DEVICE --description FILE",
    .summary = "attach for a device that is started with its descriptors",
    .help = "Attaches a device and leaves its lease and channels in the descriptor store of the unit that runs this.\n"
            "The device then needs no bus and no library: it finds the descriptors by the names \"lease\",\n"
            "\"channel-0\", \"channel-1\", ... in LISTEN_FDNAMES, reads 32 bytes and writes 32 bytes.\n"
            "A DEVICE behind the VM, as in the instance VM:DEVICE of a unit, goes before the second argument.\n"
            "\n"
            "  # ioregion-latch@.service\n"
            "  [Service]\n"
            "  ExecStartPre=+ioregionctl attach %i latch --description /etc/ioregiond/latch.json\n"
            "  ExecStart=/usr/libexec/latch\n"
            "  NotifyAccess=exec\n"
            "  FileDescriptorStoreMax=8\n"
            "  DynamicUser=yes\n"
            "\n"
            "  # /etc/ioregiond/latch.json\n"
            "  { \"version\": 1, \"on-disconnect\": \"hold\", \"timeout\": \"100ms\",\n"
            "    \"regions\": [ { \"space\": \"mmio\", \"base\": \"0xd0000000\", \"size\": \"4K\" } ] }\n",
    .min = 2,
    .max = 2,
    .options = OPTION_DESCRIPTION,
    .run = run,
};
