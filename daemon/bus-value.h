/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_VALUE_H
#define DAEMON_BUS_VALUE_H

/* How the broker's values look on the bus: the properties and the lists say the same. */

#include <systemd/sd-bus.h>

#include "broker.h"

/* The state of every VM that can be seen: it ends by being gone. */
#define VM_STATE "registered"

/* Append an array of the names of bits. */
int append_features(sd_bus_message *message, uint64_t features);
int append_flags(sd_bus_message *message, uint32_t flags);

/* The unit, "" for none. */
const char *identity_unit(const struct identity *identity);

/* An account's name, or its number where it has none. Valid until the next call; account names are remembered. */
const char *user_name(uid_t uid);
/* Forget them: accounts may have changed. */
void user_names_forget(void);

/* In bytes; a region is never all 2^64 of them. */
static inline uint64_t region_size(const struct region *region) {
    return region->range.last - region->range.base + 1;
}

#endif
