/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "bus-list.h"
#include "bus-object.h"

/* Objects with all of their properties, as GetManagedObjects() tells them: from the same vtables as Get() does. */

/* What sd-bus does where a property has no function of its own. */
static int append_member(sd_bus_message *reply, const char *signature, const void *member) {
    if (*signature == 's' || *signature == 'o')
        return sd_bus_message_append_basic(reply, *signature, *(const char *const *) member);
    return sd_bus_message_append_basic(reply, *signature, member);
}

static int append_property(sd_bus_message *reply, const char *path, const char *interface, const sd_bus_vtable *entry,
                           void *object) {
    const char *name = entry->x.property.member, *signature = entry->x.property.signature;
    void *member = (char *) object + entry->x.property.offset;
    int r;

    r = sd_bus_message_open_container(reply, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append_basic(reply, 's', name);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'v', signature);
    if (r >= 0 && entry->x.property.get)
        r = entry->x.property.get(NULL, path, interface, name, reply, member, NULL);
    else if (r >= 0)
        r = append_member(reply, signature, member);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* A member of a{sa{sv}}. */
static int append_interface(sd_bus_message *reply, const char *path, const char *interface, const sd_bus_vtable *vtable,
                            void *object) {
    int r;

    r = sd_bus_message_open_container(reply, 'e', "sa{sv}");
    if (r >= 0)
        r = sd_bus_message_append_basic(reply, 's', interface);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "{sv}");
    for (; r >= 0 && vtable->type != _SD_BUS_VTABLE_END; vtable++)
        if (vtable->type == _SD_BUS_VTABLE_PROPERTY)
            r = append_property(reply, path, interface, vtable, object);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* A member of a{oa{sa{sv}}}; the first three interfaces are those that sd-bus itself adds to every object. */
static int append_object(sd_bus_message *reply, const char *path, const char *interface, const sd_bus_vtable *vtable,
                         void *object) {
    static const char *const bare[] = {"org.freedesktop.DBus.Peer", "org.freedesktop.DBus.Introspectable",
                                       "org.freedesktop.DBus.Properties"};
    int r;

    if (!path)
        return -ENOMEM;
    r = sd_bus_message_open_container(reply, 'e', "oa{sa{sv}}");
    if (r >= 0)
        r = sd_bus_message_append_basic(reply, 'o', path);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "{sa{sv}}");
    for (unsigned i = 0; i < sizeof(bare) / sizeof(*bare) && r >= 0; i++)
        r = sd_bus_message_append(reply, "{sa{sv}}", bare[i], 0);
    if (r >= 0)
        r = append_interface(reply, path, interface, vtable, object);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_device(struct device *device, void *reply) {
    _cleanup_(freep) char *path = device_path(device);
    int r = append_object(reply, path, INTERFACE_DEVICE, bus_device_vtable, device);

    for (size_t i = 0; i < device->n_regions && r >= 0; i++) {
        _cleanup_(freep) char *region = region_path(&device->regions[i]);

        r = append_object(reply, region, INTERFACE_REGION, bus_region_vtable, &device->regions[i]);
    }
    return r;
}

int append_managed_objects(struct vm *vm, void *reply) {
    _cleanup_(freep) char *path = vm_path(vm);
    int r = append_object(reply, path, INTERFACE_VM, bus_vm_vtable, vm);

    return r < 0 ? r : vm_each_device(vm, append_device, reply);
}
