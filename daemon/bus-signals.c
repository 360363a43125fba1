/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus-object.h"
#include "bus-units.h"

/*
 * What changes in the broker, told on the bus: InterfacesAdded, InterfacesRemoved, PropertiesChanged. While the bus is
 * away nobody listens, so failures to emit are no news. The watch over units hears of devices here, too.
 */

static void emit_added(struct bus *bus, const char *path) {
    if (path)
        sd_bus_emit_object_added(bus->connection, path);
}

/*
 * By list, and not by sd_bus_emit_object_removed(): that one looks the object up, which is gone for the broker. The
 * first three are those that sd-bus itself adds to every object.
 */
static void emit_removed(struct bus *bus, const char *path, const char *interface) {
    if (path)
        sd_bus_emit_interfaces_removed(bus->connection, path, "org.freedesktop.DBus.Peer",
                                       "org.freedesktop.DBus.Introspectable", "org.freedesktop.DBus.Properties",
                                       interface, NULL);
}

static int emit_counts(sd_event_source *source, void *userdata) {
    struct bus *bus = userdata;

    sd_bus_emit_properties_changed(bus->connection, BUS_PATH, INTERFACE_MANAGER, "VMCount", "DeviceCount",
                                   "RegionCount", NULL);
    return 0;
}

/* Once for all that happens in one turn of the event loop. */
static void counts_changed(struct bus *bus) {
    if (bus->counts)
        sd_event_source_set_enabled(bus->counts, SD_EVENT_ONESHOT);
    else if (sd_event_add_defer(bus->event, &bus->counts, emit_counts, bus) >= 0)
        sd_event_source_set_description(bus->counts, "counts");
}

static void devices_changed(struct bus *bus, const struct vm *vm) {
    _cleanup_(freep) char *path = vm_path(vm);

    if (path)
        sd_bus_emit_properties_changed(bus->connection, path, INTERFACE_VM, "Devices", NULL);
}

static void vm_added(void *userdata, struct vm *vm) {
    _cleanup_(freep) char *path = vm_path(vm);

    emit_added(userdata, path);
    counts_changed(userdata);
}

static void vm_removed(void *userdata, struct vm *vm) {
    _cleanup_(freep) char *path = vm_path(vm);

    emit_removed(userdata, path, INTERFACE_VM);
    counts_changed(userdata);
}

static void device_added(void *userdata, struct device *device) {
    _cleanup_(freep) char *path = device_path(device);

    emit_added(userdata, path);
    for (size_t i = 0; i < device->n_regions; i++) {
        _cleanup_(freep) char *region = region_path(&device->regions[i]);

        emit_added(userdata, region);
    }
    devices_changed(userdata, device->vm);
    counts_changed(userdata);
    unit_watch_add(userdata, device);
}

static void device_removed(void *userdata, struct device *device) {
    _cleanup_(freep) char *path = device_path(device);

    for (size_t i = 0; i < device->n_regions; i++) {
        _cleanup_(freep) char *region = region_path(&device->regions[i]);

        emit_removed(userdata, region, INTERFACE_REGION);
    }
    emit_removed(userdata, path, INTERFACE_DEVICE);
    devices_changed(userdata, device->vm);
    counts_changed(userdata);
    unit_watch_remove(userdata, device);
}

static void device_changed(void *userdata, struct device *device) {
    _cleanup_(freep) char *path = device_path(device);
    struct bus *bus = userdata;

    if (path)
        sd_bus_emit_properties_changed(bus->connection, path, INTERFACE_DEVICE, "State", "Unit", "User", "Features",
                                       "TimeoutUSec", "OnDisconnect", NULL);
    for (size_t i = 0; i < device->n_regions; i++) {
        _cleanup_(freep) char *region = region_path(&device->regions[i]);

        if (region)
            sd_bus_emit_properties_changed(bus->connection, region, INTERFACE_REGION, "State", "LastError", NULL);
    }
    if (device->state == DEVICE_ATTACHED)
        unit_watch_again(bus, device);
}

static void policy_changed(void *userdata) {
    struct bus *bus = userdata;

    sd_bus_emit_properties_changed(bus->connection, BUS_PATH, INTERFACE_MANAGER, "PolicyGeneration", "PolicyLoadedUSec",
                                   NULL);
}

const struct broker_watcher bus_watcher = {
    .vm_added = vm_added,
    .vm_removed = vm_removed,
    .device_added = device_added,
    .device_removed = device_removed,
    .device_changed = device_changed,
    .policy_changed = policy_changed,
};
