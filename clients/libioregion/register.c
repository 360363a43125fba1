/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <ioregion/vmm.h>
#include <internal/names.h>
#include "call.h"
#include "error.h"
#include "range.h"
#include "versioned.h"

struct registration {
    const char *name;
    struct ioregion_vmm_options options;
    int process; /* /proc/PID of options.pid, where that is set */
};

static int append_reserve(sd_bus_message *message, const struct ioregion_vmm_options *options) {
    int r;

    if ((r = sd_bus_message_open_container(message, 'e', "sv")) < 0 ||
        (r = sd_bus_message_append(message, "s", "reserve")) < 0 ||
        (r = sd_bus_message_open_container(message, 'v', "a(stt)")) < 0 ||
        (r = sd_bus_message_open_container(message, 'a', "(stt)")) < 0)
        return r;
    for (size_t i = 0; i < options->n_reserve; i++) {
        const struct ioregion_range *range = options->reserve + i;

        r = sd_bus_message_append(message, "(stt)", space_name(range->space), range->base, range->size);
        if (r < 0)
            return r;
    }
    if ((r = sd_bus_message_close_container(message)) < 0 || (r = sd_bus_message_close_container(message)) < 0)
        return r;
    return sd_bus_message_close_container(message);
}

static int fill(sd_bus_message *message, const void *arguments) {
    const struct registration *registration = arguments;
    const struct ioregion_vmm_options *options = &registration->options;
    int r;

    if ((r = sd_bus_message_append(message, "s", registration->name)) < 0 ||
        (r = sd_bus_message_open_container(message, 'a', "{sv}")) < 0 ||
        (r = call_append_option(message, "dispatch", "s", options->dispatch)) < 0)
        return r;
    if (options->has_vm_fd && (r = call_append_option(message, "vm-fd", "h", options->vm_fd)) < 0)
        return r;
    if (options->pid && (r = call_append_option(message, "process", "h", registration->process)) < 0)
        return r;
    if (options->has_ceiling && (r = call_append_features_option(message, "ceiling", options->ceiling)) < 0)
        return r;
    if (options->n_reserve && (r = append_reserve(message, options)) < 0)
        return r;
    return sd_bus_message_close_container(message);
}

static int options_valid(const struct ioregion_vmm_options *options) {
    if (options->has_ceiling && options->ceiling & ~IOREGION_FEATURES_ALL)
        return last_error_set(-EINVAL, "options: a feature that this version does not know");
    for (size_t i = 0; i < options->n_reserve; i++) {
        const struct ioregion_range *range = options->reserve + i;

        if (range->reserved || !range_valid(range->space, range->base, range->size))
            return last_error_set(-EINVAL, "options: reserved range %zu is not valid", i);
    }
    return 0;
}

/* The broker may see no process in its /proc: it takes what ours says. */
static int open_process(uint32_t pid) {
    char path[32];
    int fd;

    snprintf(path, sizeof(path), "/proc/%u", pid);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? last_error_step(-errno, path) : fd;
}

int ioregion_vmm_register(struct ioregion_vmm **ret_vmm, const char *name, const struct ioregion_vmm_options *options) {
    _cleanup_(lease_message_done) struct lease_message grant = LEASE_MESSAGE_INIT;
    _cleanup_(fd_closep) int lease = -1, process = -1;
    struct registration registration = {.name = name};
    int r;

    if (options) {
        if (options->struct_size < offsetof(struct ioregion_vmm_options, has_ceiling))
            return last_error_set(-EINVAL, "options: struct_size is not set");
        if (!versioned_copy(&registration.options, sizeof(registration.options), options, options->struct_size))
            return last_error_set(-EINVAL, "options: a field that this version does not know");
        r = options_valid(&registration.options);
        if (r < 0)
            return r;
    }
    if (!registration.options.dispatch)
        registration.options.dispatch = registration.options.has_vm_fd ? "auto" : "vmm";
    if (registration.options.pid) {
        r = process = open_process(registration.options.pid);
        if (r < 0)
            return r;
        registration.process = process;
    }
    r = call_broker("RegisterVM", fill, &registration, &lease, &grant);
    if (r < 0)
        return r;
    if (grant.n_fds || grant.grant.channels || grant.grant.regions || grant.grant.interrupts)
        return last_error_set(-EPROTO, "the grant is not what was asked for");
    r = ioregion_vmm_from_lease(ret_vmm, lease);
    if (r >= 0)
        lease = -1;
    return r;
}
