/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_UNITS_H
#define DAEMON_BUS_UNITS_H

/*
 * The watch over the units that own devices: systemd says on the bus what becomes of them. A unit that is about to be
 * restarted has lost its process, even where its descriptors are safe in the unit's store and nothing hangs up; one
 * that has ended does not come back for what it held.
 *
 * Where no systemd is on the bus, devices have their leases alone.
 */

#include "bus.h"

#define SYSTEMD_PATH "/org/freedesktop/systemd1"

/* A call of systemd's manager. A bus without systemd must not try to start it. */
int systemd_call_new(const struct bus *bus, const char *member, sd_bus_message **ret_message);

/* A device was attached, attached again, removed. */
void unit_watch_add(struct bus *bus, const struct device *device);
void unit_watch_again(struct bus *bus, const struct device *device);
void unit_watch_remove(struct bus *bus, const struct device *device);

enum unit_fate {
    UNIT_LIVES, /* or may do so any moment */
    UNIT_RESTARTS,
    UNIT_ENDED,
};

/* Of a unit's ActiveState, SubState, and the id of its job (0: none). */
enum unit_fate unit_fate(const char *active, const char *sub, uint32_t job);

#endif
