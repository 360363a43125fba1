/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_OBJECT_H
#define DAEMON_BUS_OBJECT_H

/*
 * Object paths, both ways:
 *
 *     /org/ioregion1/vm/NAME/device/NAME/region/INDEX
 *
 * Names are escaped as by sd_bus_path_encode(), the index is a decimal number.
 */

#include "bus.h"

/* The path of an object, for the caller to free; NULL when out of memory. */
char *vm_path(const struct vm *vm);
char *device_path(const struct device *device);
char *region_path(const struct region *region);

/*
 * The object of a path, in the way that sd_bus_object_find_t wants it (@userdata is the struct bus): 1 and the
 * object, 0 where such a path has objects of another kind. Where the kind is right and the object isn't there it is
 * an error that names what is missing, NoSuchVM or NoSuchDevice, so that callers learn more than "no such method".
 */
int bus_find_vm(sd_bus *connection, const char *path, const char *interface, void *userdata, void **ret_vm,
                sd_bus_error *ret_error);
int bus_find_device(sd_bus *connection, const char *path, const char *interface, void *userdata, void **ret_device,
                    sd_bus_error *ret_error);
int bus_find_region(sd_bus *connection, const char *path, const char *interface, void *userdata, void **ret_region,
                    sd_bus_error *ret_error);

/* The paths on the level below @prefix, as sd_bus_node_enumerator_t wants them. */
int bus_enumerate(sd_bus *connection, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *ret_error);

#endif
