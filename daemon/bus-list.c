/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus-object.h"
#include "bus-value.h"
#include "bus.h"

/* ListVMs(), ListDevices(), ListRegions(): one struct a line, with all that a person wants to see in a table. */

static int append_vm(struct vm *vm, void *userdata) {
    _cleanup_(freep) char *path = vm_path(vm);

    if (!path)
        return -ENOMEM;
    return sd_bus_message_append(userdata, "(sussssuuo)", vm->name, (uint32_t) vm->owner->pid, identity_unit(vm->owner),
                                 user_name(vm->owner->uid), vm->dispatcher->type->name, VM_STATE,
                                 (uint32_t) vm->n_devices, (uint32_t) vm->n_regions, path);
}

static int append_device(struct device *device, void *userdata) {
    _cleanup_(freep) char *path = device_path(device);
    sd_bus_message *reply = userdata;
    int r;

    if (!path)
        return -ENOMEM;
    r = sd_bus_message_open_container(reply, 'r', "sssssasuto");
    if (r >= 0)
        r = sd_bus_message_append(reply, "sssss", device->vm->name, device->name, identity_unit(device->owner),
                                  user_name(device->owner->uid), device_state_name(device->state));
    if (r >= 0)
        r = append_features(reply, device->features);
    if (r >= 0)
        r = sd_bus_message_append(reply, "uto", (uint32_t) device->n_regions, device->timeout_usec, path);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_region(const struct region *region, sd_bus_message *reply) {
    _cleanup_(freep) char *path = region_path(region);
    const struct device *device = region->device;
    int r;

    if (!path)
        return -ENOMEM;
    r = sd_bus_message_open_container(reply, 'r', "ssusttasso");
    if (r >= 0)
        r = sd_bus_message_append(reply, "ssustt", device->vm->name, device->name, region->index,
                                  space_name(region->range.space), region->range.base, region_size(region));
    if (r >= 0)
        r = append_flags(reply, region->flags);
    if (r >= 0)
        r = sd_bus_message_append(reply, "so", device_state_name(device->state), path);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_device_regions(struct device *device, void *userdata) {
    int r = 0;

    for (size_t i = 0; i < device->n_regions && r >= 0; i++)
        r = append_region(&device->regions[i], userdata);
    return r;
}

static int each_device(struct vm *vm, void *reply) {
    return vm_each_device(vm, append_device, reply);
}

static int each_region(struct vm *vm, void *reply) {
    return vm_each_device(vm, append_device_regions, reply);
}

/* Reply with an array of @type, filled by walking the VMs. */
static int list(sd_bus_message *message, struct bus *bus, const char *type, int (*each)(struct vm *vm, void *reply)) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    int r;

    r = sd_bus_message_new_method_return(message, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', type);
    if (r >= 0)
        r = broker_each_vm(bus->broker, each, reply);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r < 0)
        return r;
    r = sd_bus_send(NULL, reply, NULL);
    return r < 0 ? r : 1;
}

int bus_list_vms(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    return list(message, userdata, "(sussssuuo)", append_vm);
}

int bus_list_devices(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    return list(message, userdata, "(sssssasuto)", each_device);
}

int bus_list_regions(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    const struct bus *bus = userdata;
    int r = bus_check_size(bus->broker->n_regions, LIST_ROWS_MAX, ret_error);

    return r < 0 ? r : list(message, userdata, "(ssusttasso)", each_region);
}
