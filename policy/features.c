/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include <ioregion/wire.h>

#include "policy/features.h"

/* In the order of their bits. */
static const char *const names[] = {"posted-writes", "replay", "out-of-order", "interrupts", "state"};

#define N_FEATURES (sizeof(names) / sizeof(names[0]))
_Static_assert(IOREGION_FEATURES_ALL == (UINT64_C(1) << N_FEATURES) - 1, "every feature has a name");

const char *feature_name(uint64_t bit) {
    for (size_t i = 0; i < N_FEATURES; i++)
        if (bit == UINT64_C(1) << i)
            return names[i];
    return NULL;
}

uint64_t feature_from_name(const char *name) {
    for (size_t i = 0; i < N_FEATURES; i++)
        if (!strcmp(name, names[i]))
            return UINT64_C(1) << i;
    return 0;
}

int negotiate(const struct negotiation *n, uint64_t *ret_granted, uint64_t *ret_feature, const char **ret_party) {
    const struct {
        const char *name;
        uint64_t features;
    } parties[] = {{"dispatcher", n->dispatcher}, {"VM ceiling", n->ceiling}, {"policy", n->policy}};

    for (size_t i = 0; i < sizeof(parties) / sizeof(parties[0]); i++) {
        uint64_t missing = n->require & ~parties[i].features;

        if (missing) {
            *ret_feature = missing & -missing;
            *ret_party = parties[i].name;
            return -EOPNOTSUPP;
        }
    }
    *ret_granted = n->require | (n->want & n->dispatcher & n->ceiling & n->policy);
    return 0;
}
