/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>

#include "bus-call.h"
#include "bus-error.h"
#include "bus-object.h"
#include "bus-value.h"

static int get_pid(sd_bus *connection, const char *path, const char *interface, const char *property,
                   sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct vm *vm = userdata;

    return sd_bus_message_append(reply, "u", (uint32_t) vm->owner->pid);
}

static int get_unit(sd_bus *connection, const char *path, const char *interface, const char *property,
                    sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct vm *vm = userdata;

    return sd_bus_message_append(reply, "s", identity_unit(vm->owner));
}

static int get_user(sd_bus *connection, const char *path, const char *interface, const char *property,
                    sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct vm *vm = userdata;

    return sd_bus_message_append(reply, "s", user_name(vm->owner->uid));
}

static int get_state(sd_bus *connection, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    return sd_bus_message_append(reply, "s", VM_STATE);
}

static int get_dispatch(sd_bus *connection, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct vm *vm = userdata;

    return sd_bus_message_append(reply, "s", vm->dispatcher->type->name);
}

static int get_features(sd_bus *connection, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct vm *vm = userdata;

    return append_features(reply, vm->dispatcher->type->features);
}

static int get_ceiling(sd_bus *connection, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct vm *vm = userdata;

    return append_features(reply, vm->ceiling);
}

static int append_device_path(struct device *device, void *reply) {
    _cleanup_(freep) char *path = device_path(device);

    return path ? sd_bus_message_append_basic(reply, 'o', path) : -ENOMEM;
}

static int get_devices(sd_bus *connection, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    int r = sd_bus_message_open_container(reply, 'a', "o");

    if (r >= 0)
        r = vm_each_device(userdata, append_device_path, reply);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* The caller is an operator; the VM may have ended while we found that out. */
static void unregister(struct call *call) {
    sd_bus_error error = SD_BUS_ERROR_NULL;
    void *vm;
    int r;

    r = bus_find_vm(NULL, sd_bus_message_get_path(call->message), INTERFACE_VM, call->bus, &vm, &error);
    if (r <= 0) {
        call_refuse(call, r, &error);
        return;
    }
    vm_end(vm, IOREGION_REVOKE_OPERATOR);
    call_reply(call, "");
}

static int method_unregister(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    const struct vm *vm = userdata;

    return call_new_operator(vm->broker->watcher_userdata, message, unregister);
}

const sd_bus_vtable bus_vm_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Name", "s", NULL, offsetof(struct vm, name), SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Pid", "u", get_pid, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Unit", "s", get_unit, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("User", "s", get_user, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Dispatch", "s", get_dispatch, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Features", "as", get_features, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Ceiling", "as", get_ceiling, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Devices", "ao", get_devices, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
    SD_BUS_METHOD_WITH_ARGS("Unregister", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_unregister,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

int bus_add_vms(struct bus *bus) {
    int r;

    r = sd_bus_add_fallback_vtable(bus->connection, NULL, BUS_PATH_VM, INTERFACE_VM, bus_vm_vtable, bus_find_vm, bus);
    return r < 0 ? r : sd_bus_add_node_enumerator(bus->connection, NULL, BUS_PATH_VM, bus_enumerate, bus);
}
