/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_FEATURES_H
#define POLICY_FEATURES_H

/* Feature names, and their negotiation. Pure. */

#include <stddef.h>
#include <stdint.h>

/* The name of one feature bit, NULL for an unknown one; and the bit of a name, 0 for an unknown one. */
const char *feature_name(uint64_t bit);
uint64_t feature_from_name(const char *name);

/* What the parties can and want. */
struct negotiation {
    uint64_t dispatcher; /* what the dispatcher offers */
    uint64_t ceiling;    /* what the VM was registered with */
    uint64_t policy;     /* what the rule allows */
    uint64_t require, want;
};

/*
 * Granted = required plus the wanted ones that everyone allows. -EOPNOTSUPP when a required feature is missing: then
 * *ret_feature is its bit and *ret_party names who lacks it ("dispatcher", "VM ceiling", "policy"). Never a downgrade.
 */
int negotiate(const struct negotiation *n, uint64_t *ret_granted, uint64_t *ret_feature, const char **ret_party);

#endif
