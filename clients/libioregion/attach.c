/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include <internal/names.h>
#include "call.h"
#include "device-internal.h"
#include "error.h"
#include "versioned.h"

static int append_region(sd_bus_message *message, const struct ioregion_region *region) {
    int r;

    if ((r = sd_bus_message_open_container(message, 'r', "sttta{sv}")) < 0 ||
        (r = sd_bus_message_append(message, "sttt", space_name(region->space), region->base, region->size,
                                   region->user_data)) < 0 ||
        (r = sd_bus_message_open_container(message, 'a', "{sv}")) < 0)
        return r;
    if (region->flags & IOREGION_REGION_POSTED && (r = call_append_option(message, "posted", "b", 1)) < 0)
        return r;
    if (region->channel && (r = call_append_option(message, "channel", "u", region->channel)) < 0)
        return r;
    if ((r = sd_bus_message_close_container(message)) < 0)
        return r;
    return sd_bus_message_close_container(message);
}

/* Only what was asked for is sent: the broker knows the defaults. */
static int append_options(sd_bus_message *message, const struct ioregion_device *device) {
    const struct ioregion_device_options *options = &device->options;
    int r;

    if ((r = sd_bus_message_open_container(message, 'a', "{sv}")) < 0)
        return r;
    if (options->require && (r = call_append_features_option(message, "require", options->require)) < 0)
        return r;
    if (options->want && (r = call_append_features_option(message, "want", options->want)) < 0)
        return r;
    if (device->n_channels > 1 && (r = call_append_option(message, "channels", "u", (uint32_t) device->n_channels)) < 0)
        return r;
    if (options->timeout_usec && (r = call_append_option(message, "timeout-usec", "t", options->timeout_usec)) < 0)
        return r;
    if (device->on_disconnect && (r = call_append_option(message, "on-disconnect", "s", device->on_disconnect)) < 0)
        return r;
    return sd_bus_message_close_container(message);
}

static int fill(sd_bus_message *message, const void *arguments) {
    const struct ioregion_device *device = arguments;
    int r;

    if ((r = sd_bus_message_append(message, "ss", device->vm, device->name)) < 0 ||
        (r = sd_bus_message_open_container(message, 'a', "(sttta{sv})")) < 0)
        return r;
    for (size_t i = 0; i < device->n_regions; i++)
        if ((r = append_region(message, device->regions + i)) < 0)
            return r;
    if ((r = sd_bus_message_close_container(message)) < 0)
        return r;
    return append_options(message, device);
}

static bool grant_fits(const struct ioregion_device *device, const struct lease_message *message) {
    const struct ioregion_lease_grant *grant = &message->grant;

    return grant->channels == device->n_channels && message->n_fds == device->n_channels &&
           grant->regions == device->n_regions && grant->interrupts == 0 &&
           (grant->features & device->options.require) == device->options.require &&
           !(grant->features & ~(device->options.require | device->options.want));
}

/* One attach, first or later. */
static int attach(struct ioregion_device *device) {
    _cleanup_(lease_message_done) struct lease_message message = LEASE_MESSAGE_INIT;
    _cleanup_(fd_closep) int lease = -1;
    int r;

    r = call_broker("AttachDevice", fill, device, &lease, &message);
    if (r < 0)
        return r;
    if (!grant_fits(device, &message))
        return last_error_set(-EPROTO, "the grant is not what was asked for");
    r = device_install(device, lease, message.fds);
    if (r < 0)
        return last_error_step(r, "channels");
    lease = -1;
    message.n_fds = 0;
    device->features = message.grant.features;
    device->timeout_usec = message.grant.timeout_usec;
    return 0;
}

static int copy_options(struct ioregion_device *device, const struct ioregion_device_options *options) {
    size_t size = options->struct_size;

    if (size < offsetof(struct ioregion_device_options, require))
        return last_error_set(-EINVAL, "options: struct_size is not set");
    if (!versioned_copy(&device->options, sizeof(device->options), options, size) ||
        (device->options.require | device->options.want) & ~IOREGION_FEATURES_ALL || device->options.reserved)
        return last_error_set(-EINVAL, "options: a feature or field that this version does not know");
    if (device->options.on_disconnect) {
        device->on_disconnect = strdup(device->options.on_disconnect);
        if (!device->on_disconnect)
            return last_error_step(-ENOMEM, "options");
    }
    device->options.on_disconnect = NULL;
    return 0;
}

/* A caller of an earlier version hands in a shorter struct. */
static size_t wanted_channels(const struct ioregion_device_options *options) {
    if (!options || options->struct_size < offsetof(struct ioregion_device_options, channels) + sizeof(uint32_t))
        return 1;
    return options->channels ?: 1;
}

int ioregion_device_attach(struct ioregion_device **ret_device, const char *vm, const char *name,
                           const struct ioregion_region *regions, size_t n_regions,
                           const struct ioregion_device_options *options, const struct ioregion_device_ops *ops,
                           void *userdata) {
    _cleanup_(device_discardp) struct ioregion_device *device = NULL;
    int r;

    r = device_new(&device, regions, n_regions, wanted_channels(options), ops, userdata);
    if (r < 0 || (options && (r = copy_options(device, options)) < 0))
        return r;
    device->vm = strdup(vm);
    device->name = strdup(name);
    if (!device->vm || !device->name)
        return last_error_step(-ENOMEM, "attach");
    r = attach(device);
    if (r < 0)
        return r;
    *ret_device = STEAL(device);
    return 0;
}

int ioregion_device_resume(struct ioregion_device *device) {
    int r;

    if (device->locked_down)
        return last_error_set(-EPERM, "resume: the device is locked down");
    if (!device->vm)
        return last_error_set(-EOPNOTSUPP, "resume: the device was attached by somebody else");
    r = attach(device);
    if (r >= 0 && device->ops.resumed)
        device->ops.resumed(device->userdata);
    return r;
}
