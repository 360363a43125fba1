/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>

#include "bus-call.h"
#include "bus-error.h"
#include "bus-object.h"
#include "bus-value.h"

static int get_unit(sd_bus *connection, const char *path, const char *interface, const char *property,
                    sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct device *device = userdata;

    return sd_bus_message_append(reply, "s", identity_unit(device->owner));
}

static int get_user(sd_bus *connection, const char *path, const char *interface, const char *property,
                    sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct device *device = userdata;

    return sd_bus_message_append(reply, "s", user_name(device->owner->uid));
}

static int get_features(sd_bus *connection, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct device *device = userdata;

    return append_features(reply, device->features);
}

static int get_state(sd_bus *connection, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct device *device = userdata;

    return sd_bus_message_append(reply, "s", device_state_name(device->state));
}

static int get_channels(sd_bus *connection, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct device *device = userdata;

    return sd_bus_message_append(reply, "u", (uint32_t) device->n_channels);
}

static int get_on_disconnect(sd_bus *connection, const char *path, const char *interface, const char *property,
                             sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct device *device = userdata;

    return sd_bus_message_append(reply, "s", on_disconnect_name(device->on_disconnect));
}

static int get_regions(sd_bus *connection, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct device *device = userdata;
    int r = sd_bus_message_open_container(reply, 'a', "o");

    for (size_t i = 0; i < device->n_regions && r >= 0; i++) {
        _cleanup_(freep) char *region = region_path(&device->regions[i]);

        r = region ? sd_bus_message_append_basic(reply, 'o', region) : -ENOMEM;
    }
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* No vCPU is inside the device's regions any more. */
static void on_ended(void *userdata) {
    call_reply(userdata, "");
}

static void end(struct call *call, const char *why) {
    sd_bus_error error = SD_BUS_ERROR_NULL;
    void *device;
    int r;

    r = bus_find_device(NULL, sd_bus_message_get_path(call->message), INTERFACE_DEVICE, call->bus, &device, &error);
    if (r <= 0)
        call_refuse(call, r, &error);
    else
        device_end(device, IOREGION_REVOKE_OPERATOR, why, on_ended, call);
}

static void detach_device(struct call *call) {
    end(call, "detached by an operator");
}

static void revoke_device(struct call *call) {
    const char *why;
    int r;

    r = sd_bus_message_read(call->message, "s", &why);
    if (r < 0)
        call_refuse(call, r, NULL);
    else
        end(call, *why ? why : "revoked by an operator");
}

static int method_detach(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    const struct device *device = userdata;

    return call_new_operator(device->vm->broker->watcher_userdata, message, detach_device);
}

static int method_revoke(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    const struct device *device = userdata;

    return call_new_operator(device->vm->broker->watcher_userdata, message, revoke_device);
}

const sd_bus_vtable bus_device_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Name", "s", NULL, offsetof(struct device, name), SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Unit", "s", get_unit, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("User", "s", get_user, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Features", "as", get_features, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Channels", "u", get_channels, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("TimeoutUSec", "t", NULL, offsetof(struct device, timeout_usec),
                    SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("OnDisconnect", "s", get_on_disconnect, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Regions", "ao", get_regions, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_METHOD_WITH_ARGS("Detach", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_detach, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Revoke", SD_BUS_ARGS("s", reason), SD_BUS_NO_RESULT, method_revoke,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

int bus_add_devices(struct bus *bus) {
    return sd_bus_add_fallback_vtable(bus->connection, NULL, BUS_PATH_VM, INTERFACE_DEVICE, bus_device_vtable,
                                      bus_find_device, bus);
}
