/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "bus-call.h"
#include "bus-error.h"
#include "bus-list.h"
#include "bus-object.h"
#include "bus-value.h"

/* ListVMs(), ListDevices(), ListRegions(): one struct a row, with all that a person wants to see in a table. */

/*
 * A message of more than 32 MiB makes dbus-daemon hang up on who sends it, so that anyone could throw us off the bus by
 * asking for it. So many objects and rows fit, unless all names are as long as can be.
 */
#define MANAGED_OBJECTS_MAX 32768
#define LIST_ROWS_MAX 131072

/* What a managed object costs, in rows. */
#define MANAGED_OBJECT_ROWS 4

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
static void list(struct call *call, const char *type, int (*each)(struct vm *vm, void *reply)) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    int r;

    r = sd_bus_message_new_method_return(call->message, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', type);
    if (r >= 0)
        r = broker_each_vm(call->bus->broker, each, reply);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r >= 0)
        call_reply_message(call, reply);
    else
        call_refuse(call, r, NULL);
}

/* So many are to be listed. May refuse the call. Operators are trusted with more than the broker's time. */
static bool may_list(struct call *call, size_t n, size_t max, size_t rows) {
    _cleanup_(sd_bus_error_free) sd_bus_error failure = SD_BUS_ERROR_NULL;
    const struct broker *broker = call->bus->broker;
    struct refusal refusal = {};
    int r = 0;

    if (n > max)
        r = sd_bus_error_setf(&failure, SD_BUS_ERROR_LIMITS_EXCEEDED,
                              "%zu are more than the %zu that a message has room for: ask each VM for its own", n, max);
    else if (!caller_operator(call->caller, broker->policy))
        r = broker_charge_list(call->bus->broker, call->caller->uid, (uint32_t) rows, &refusal);
    if (r >= 0)
        return true;
    if (n <= max)
        bus_error_from_refusal(&failure, r, &refusal);
    call_refuse(call, r, &failure);
    return false;
}

static void list_vms(struct call *call) {
    size_t n = call->bus->broker->n_vms;

    if (may_list(call, n, LIST_ROWS_MAX, n))
        list(call, "(sussssuuo)", append_vm);
}

static void list_devices(struct call *call) {
    size_t n = call->bus->broker->n_devices;

    if (may_list(call, n, LIST_ROWS_MAX, n))
        list(call, "(sssssasuto)", each_device);
}

static void list_regions(struct call *call) {
    size_t n = call->bus->broker->n_regions;

    if (may_list(call, n, LIST_ROWS_MAX, n))
        list(call, "(ssusttasso)", each_region);
}

static void get_managed_objects(struct call *call) {
    const struct broker *broker = call->bus->broker;
    size_t n = broker->n_vms + broker->n_devices + broker->n_regions;

    if (may_list(call, n, MANAGED_OBJECTS_MAX, n * MANAGED_OBJECT_ROWS))
        list(call, "{oa{sa{sv}}}", append_managed_objects);
}

static int when_known(sd_bus_message *message, struct bus *bus, call_function_t next) {
    struct call *call;
    int r = call_new_known(&call, bus, message, next);

    return r != 0 ? r : call_begin(call);
}

int bus_list_vms(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    return when_known(message, userdata, list_vms);
}

int bus_list_devices(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    return when_known(message, userdata, list_devices);
}

int bus_list_regions(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    return when_known(message, userdata, list_regions);
}

int bus_get_managed_objects(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    if (!sd_bus_message_is_method_call(message, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects") ||
        strcmp(sd_bus_message_get_path(message), BUS_PATH) != 0 || !sd_bus_message_is_empty(message))
        return 0; /* sd-bus goes on with it, and says that there is no such thing */
    return when_known(message, userdata, get_managed_objects);
}
