/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_LIST_H
#define DAEMON_BUS_LIST_H

/*
 * What tells of many objects at once, as handlers of sd-bus. It is for everyone, and it is the most that a caller can
 * make the broker do: each user has the policy's list-rate, but for operators.
 */

#include "bus.h"

int bus_list_vms(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);
int bus_list_devices(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);
int bus_list_regions(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);

/* A filter: sd-bus has its own GetManagedObjects(), which can't wait until the bus says who asks. */
int bus_get_managed_objects(sd_bus_message *message, void *userdata, sd_bus_error *ret_error);

/* For broker_each_vm(): a VM, its devices and their regions, each with all of its properties, as {oa{sa{sv}}}. */
int append_managed_objects(struct vm *vm, void *reply);

#endif
