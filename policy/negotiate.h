/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_NEGOTIATE_H
#define POLICY_NEGOTIATE_H

/* The negotiation of features. Pure. */

#include <stdint.h>

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
