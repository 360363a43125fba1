/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_H
#define DAEMON_BUS_H

/*
 * The daemon's face on D-Bus: parse, call the broker, reply. Nothing here waits: whatever needs an answer from the
 * bus, a client or a VMM is a struct call (bus-call.h) that replies later.
 *
 * VMs, devices and regions are fallback objects, looked up by path in the broker when somebody asks; sd-bus holds no
 * memory for any of them. Should the bus go away, VMs and devices live on by their leases, and the daemon tries once
 * a second to come back under its name.
 */

#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "broker.h"

#define BUS_NAME "org.ioregion1"
#define BUS_PATH "/org/ioregion1"
#define BUS_PATH_VM BUS_PATH "/vm"
#define BUS_PATH_LOG "/org/freedesktop/LogControl1"
#define INTERFACE_MANAGER "org.ioregion1.Manager"
#define INTERFACE_VM "org.ioregion1.VM"
#define INTERFACE_DEVICE "org.ioregion1.Device"
#define INTERFACE_REGION "org.ioregion1.Region"

struct bus {
    sd_event *event;
    struct broker *broker;
    const char *policy_directory;
    sd_bus *connection; /* NULL or dead while the bus is away */
    sd_event_source *retry, *counts;
    TAILQ_HEAD(, call) calls;
    size_t n_calls;
    void *senders;                     /* tsearch(3) by name; see bus-sender.h */
    TAILQ_HEAD(, sender) idle_senders; /* the longest idle first */
    size_t n_idle_senders;
    void *units;                   /* tsearch(3) by name; see bus-units.c */
    sd_bus_slot *question;         /* how are they? */
    bool without_systemd;          /* it said so, and none came since; see bus-process.c */
    void (*ready)(void *userdata); /* the name is ours, for the first time */
    void *userdata;
};

/* @policy_directory must outlive the bus; it is what Reload() reads. */
int bus_new(struct bus **ret_bus, sd_event *event, const char *policy_directory);
/* To be called after broker_free(). */
struct bus *bus_free(struct bus *bus);
DEFINE_CLEANUP(bus_free, struct bus *);

/* Connect and ask for the name. Failures before ready() end the event loop, later ones are tried again. */
int bus_start(struct bus *bus, struct broker *broker, void (*ready)(void *userdata), void *userdata);

/* For broker_new(), with the bus as userdata. */
extern const struct broker_watcher bus_watcher;
/* For broker_set_unit_source(), likewise. */
extern const struct unit_source_type bus_unit_source;

/* Each adds its objects to a new connection. */
int bus_add_manager(struct bus *bus);
int bus_add_vms(struct bus *bus);
int bus_add_devices(struct bus *bus);
int bus_add_regions(struct bus *bus);
int bus_add_log_control(struct bus *bus);
/* What these have. */
extern const sd_bus_vtable bus_vm_vtable[], bus_device_vtable[], bus_region_vtable[];
/* Watch the units that own devices, on a new connection; and forget them all. */
int bus_watch_units(struct bus *bus);
void bus_forget_units(struct bus *bus);

#endif
