/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef INTERNAL_NAMES_H
#define INTERNAL_NAMES_H

/* The words of policy, D-Bus API and command lines, and their numbers. Pure; not installed. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <ioregion/lease.h>
#include <ioregion/wire.h>

/* In the order of their numbers, or bits; NULL behind the last. */
static const char *const space_names[] = {[IOREGION_MMIO] = "mmio", [IOREGION_PIO] = "pio", NULL};
static const char *const on_disconnect_names[] = {[IOREGION_ON_DISCONNECT_ONES] = "ones",
                                                  [IOREGION_ON_DISCONNECT_HOLD] = "hold",
                                                  [IOREGION_ON_DISCONNECT_REMOVE] = "remove",
                                                  NULL};
static const char *const feature_names[] = {"posted-writes", "replay", "out-of-order", "interrupts", "state", NULL};

_Static_assert(IOREGION_FEATURES_ALL >> (sizeof(feature_names) / sizeof(feature_names[0]) - 1) == 0,
               "every feature has a name");

/* The number of a name in one of the lists above, or -EINVAL. */
static inline int name_index(const char *const *names, const char *name) {
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -EINVAL;
}

static inline const char *space_name(uint32_t space) {
    return space <= IOREGION_PIO ? space_names[space] : "unknown";
}

static inline const char *on_disconnect_name(enum ioregion_on_disconnect on_disconnect) {
    return on_disconnect <= IOREGION_ON_DISCONNECT_REMOVE ? on_disconnect_names[on_disconnect] : "unknown";
}

/* The name of one feature bit, NULL for an unknown one; and the bit of a name, 0 for an unknown one. */
static inline const char *feature_name(uint64_t bit) {
    for (unsigned i = 0; feature_names[i]; i++)
        if (bit == UINT64_C(1) << i)
            return feature_names[i];
    return NULL;
}

static inline uint64_t feature_from_name(const char *name) {
    int i = name_index(feature_names, name);

    return i < 0 ? 0 : UINT64_C(1) << i;
}

/* Names of VMs and devices: 1 to 64 of [A-Za-z0-9._-], the first a letter or digit. */
#define NAME_LENGTH_MAX 64

static inline bool name_is_valid(const char *name) {
    size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    return length > 0 && length <= NAME_LENGTH_MAX && !name[length] && !strchr("._-", name[0]);
}

#endif
