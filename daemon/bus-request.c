/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "bus-error.h"
#include "bus-parse.h"
#include "bus-request.h"

static int read_dispatch(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct register_request *request = target;

    return parse_dispatch(message, &request->dispatch, ret_error);
}

static int read_ceiling(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct register_request *request = target;

    return parse_features(message, false, &request->ceiling, ret_error);
}

static int read_reserve(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct register_request *request = target;

    return parse_ranges(message, &request->reserve, &request->n_reserve, ret_error);
}

static int read_vm_fd(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct register_request *request = target;

    return parse_fd(message, &request->vm_fd, ret_error);
}

static int read_process(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct register_request *request = target;

    return parse_fd(message, &request->process, ret_error);
}

static const struct option register_options[] = {
    {"dispatch", "s", read_dispatch}, {"ceiling", "as", read_ceiling}, {"reserve", "a(stt)", read_reserve},
    {"vm-fd", "h", read_vm_fd},       {"process", "h", read_process},  {},
};

static int check_vm_fd_option(const struct register_request *request, sd_bus_error *ret_error) {
    if (request->vm_fd >= 0 && request->dispatch == POLICY_DISPATCH_VMM)
        return bus_error_invalid(ret_error, "RegisterVM options: 'vm-fd' is of no use to the vmm dispatcher");
    if (request->vm_fd < 0 && request->process >= 0)
        return bus_error_invalid(ret_error, "RegisterVM options: 'process' needs 'vm-fd'");
    return 0;
}

int parse_register_vm(sd_bus_message *message, struct register_request **ret_request, int *ret_lease,
                      sd_bus_error *ret_error) {
    _cleanup_(register_request_freep) struct register_request *request = calloc(1, sizeof(*request));
    const char *name;
    int r;

    if (!request)
        return -ENOMEM;
    request->dispatch = POLICY_DISPATCH_KERNEL | POLICY_DISPATCH_VMM;
    request->ceiling = UINT64_MAX;
    request->vm_fd = request->process = -1;
    r = parse_name(message, "VM", &name, ret_error);
    if (r < 0)
        return r;
    request->name = strdup(name);
    if (!request->name)
        return -ENOMEM;
    r = parse_options(message, "RegisterVM options", register_options, request, ret_error);
    if (r >= 0)
        r = check_vm_fd_option(request, ret_error);
    if (r >= 0)
        r = parse_fd(message, ret_lease, ret_error);
    if (r < 0)
        return r;
    *ret_request = STEAL(request);
    return 0;
}

static int read_require(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct attach_request *request = target;

    return parse_features(message, true, &request->require, ret_error);
}

static int read_want(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct attach_request *request = target;

    return parse_features(message, false, &request->want, ret_error);
}

static int read_channels(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct attach_request *request = target;

    return parse_channels(message, &request->channels, ret_error);
}

static int read_timeout(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct attach_request *request = target;

    return sd_bus_message_read_basic(message, 't', &request->timeout_usec);
}

static int read_on_disconnect(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct attach_request *request = target;

    return parse_on_disconnect(message, &request->on_disconnect, ret_error);
}

static int read_interrupts(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct attach_request *request = target;
    const void *interrupts;
    size_t size;
    int r;

    r = sd_bus_message_read_array(message, 'u', &interrupts, &size);
    if (r < 0)
        return r;
    if (size > IOREGION_LEASE_FDS_MAX * sizeof(uint32_t))
        return bus_error_invalid(ret_error, "more than %d interrupts", IOREGION_LEASE_FDS_MAX);
    if (!size)
        return 0;
    request->interrupts = malloc(size);
    if (!request->interrupts)
        return -ENOMEM;
    memcpy(request->interrupts, interrupts, size);
    request->n_interrupts = size / sizeof(uint32_t);
    return 0;
}

static const struct option attach_options[] = {
    {"require", "as", read_require},
    {"want", "as", read_want},
    {"channels", "u", read_channels},
    {"timeout-usec", "t", read_timeout},
    {"on-disconnect", "s", read_on_disconnect},
    {"interrupts", "au", read_interrupts},
    {},
};

static int read_names(sd_bus_message *message, struct attach_request *request, sd_bus_error *ret_error) {
    const char *vm, *device;
    int r;

    r = parse_name(message, "VM", &vm, ret_error);
    if (r >= 0)
        r = parse_name(message, "device", &device, ret_error);
    if (r < 0)
        return r;
    request->vm = strdup(vm);
    request->device = strdup(device);
    return request->vm && request->device ? 0 : -ENOMEM;
}

int parse_attach_device(sd_bus_message *message, struct attach_request **ret_request, int *ret_lease,
                        sd_bus_error *ret_error) {
    _cleanup_(attach_request_freep) struct attach_request *request = calloc(1, sizeof(*request));
    int r;

    if (!request)
        return -ENOMEM;
    request->channels = 1;
    r = read_names(message, request, ret_error);
    if (r >= 0)
        r = parse_regions(message, &request->regions, &request->n_regions, ret_error);
    if (r >= 0)
        r = parse_options(message, "AttachDevice options", attach_options, request, ret_error);
    if (r >= 0)
        r = parse_fd(message, ret_lease, ret_error);
    if (r < 0)
        return r;
    *ret_request = STEAL(request);
    return 0;
}
