/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stddef.h>

#include "policy/negotiate.h"

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
