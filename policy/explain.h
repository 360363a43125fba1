/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_EXPLAIN_H
#define POLICY_EXPLAIN_H

/*
 * "Would this be allowed, and by which rule?", with accounts given by name: for `ioregionctl policy explain`, which
 * needs no daemon, and for ExplainAccess.
 */

#include "policy/policy.h"

/* Zero-initialise, then set what is known. A @device asks about an attach, none about a registration. */
struct explain_question {
    const char *unit;          /* NULL: none is proven */
    const char *user;          /* NULL: an account that no rule names */
    const char *const *groups; /* with @user and no groups: those of the account */
    size_t n_groups;
    const char *vm, *device;
    unsigned dispatch; /* registrations: POLICY_DISPATCH_* bits that would do, 0 for either */
    /* attaches */
    const struct ioregion_region *regions;
    size_t n_regions;
    uint32_t channels; /* 0 means 1 */
    uint64_t timeout_usec;
    enum ioregion_on_disconnect on_disconnect;
    const uint32_t *interrupts;
    size_t n_interrupts;
    uint64_t require, want;       /* IOREGION_FEATURE_* */
    uint64_t dispatcher, ceiling; /* what these would allow; 0 leaves them out of the question */
};

struct explain_answer {
    struct policy_verdict verdict; /* as of policy_check_...(), and denied when a required feature is missing */
    uint64_t granted;              /* the features that would be agreed on */
};

/* 0 when there is an answer, -ENOENT when an account is unknown (*ret_unknown is its name), -EINVAL without a VM,
 * -ENOMEM. */
int policy_explain(const struct policy *policy, const struct policy_accounts *accounts,
                   const struct explain_question *question, struct explain_answer *ret_answer,
                   const char **ret_unknown);

#endif
