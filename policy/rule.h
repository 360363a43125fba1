/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_RULE_H
#define POLICY_RULE_H

/* The compiled policy. Inside policy/ and its tests only. */

#include "policy/message.h"
#include "policy/pattern.h"
#include "policy/policy.h"
#include "policy/pool.h"
#include "policy/rule-index.h"

/* A range that a rule allows, or that is reserved. @last is within. */
struct region_rule {
    struct place place;
    uint32_t space;
    bool exact; /* base and size: this range and no other; else any range within */
    uint64_t first, last;
    uint64_t align; /* of the base; 1 where it does not matter */
    uint64_t max_size;
    const char *why; /* reserved ranges: what is there */
};

/* All given keys must hold. */
struct match {
    bool has_unit, has_user, has_group;
    bool never; /* an account that does not exist */
    struct unit_pattern unit;
    uid_t uid;
    gid_t gid;
};

/* One of vmms, devices or operators. */
struct rule {
    struct place place;
    size_t order; /* in the list of its kind, over all files */
    const char *name;
    struct match match;
    struct vm_pattern *vms;
    size_t n_vms;
    uint64_t features;
    unsigned dispatch; /* vmms */
    /* devices */
    struct region_rule *regions;
    size_t n_regions;
    uint32_t *interrupts;
    size_t n_interrupts;
    uint64_t max_regions, max_channels;
    uint64_t timeout_usec, grace_usec;
    unsigned on_disconnect;
    bool override;
};

/* What a rule gets that says nothing. doc/ioregion-policy.5 and policy.schema.json repeat these. */
#define DEFAULT_REGIONS 16
#define DEFAULT_CHANNELS 1
#define DEFAULT_TIMEOUT_USEC UINT64_C(1000000)
#define DEFAULT_GRACE_USEC UINT64_C(5000000)
#define DEFAULT_LIMITS                                                                                                 \
    ((struct policy_limits){.vms = 1024,                                                                               \
                            .regions_per_vm = 256,                                                                     \
                            .devices_per_unit = 16,                                                                    \
                            .vms_per_user = 64,                                                                        \
                            .register_rate = 2,                                                                        \
                            .attach_rate = 2,                                                                          \
                            .list_rate = 5000})
#define N_LIMITS 7

#define RESERVED_MAX 1024 /* each is compared with each region of each rule on loading, and on attach */

struct policy {
    struct pool pool;
    struct list vmms, devices, operators; /* struct rule */
    struct list reserved;                 /* struct region_rule */
    struct list warnings;                 /* char */
    struct rule_index vmm_index, device_index;
    struct policy_limits limits;
    struct place limit_places[N_LIMITS]; /* where each was set, file NULL where none did */
};

/* Add the rules of one text to a policy. -EBADMSG with *ret_error set, or -ENOMEM. */
int policy_compile(struct policy *policy, const char *name, const char *text, size_t size,
                   const struct policy_accounts *accounts, char **ret_error);

/* When all texts are in: what concerns rules of several files, then the indices. */
int policy_finish(struct policy *policy, char **ret_error);

/* -ENOMEM, or 0. */
int policy_warn(struct policy *policy, struct place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Is the rule selected? @device is NULL when a VM is to be registered. */
bool rule_selected(const struct rule *rule, const struct policy_subject *subject, const char *vm, const char *device);
bool match_accounts(const struct match *match, const struct policy_subject *subject);

static inline bool ranges_overlap(const struct region_rule *a, uint32_t space, uint64_t first, uint64_t last) {
    return a->space == space && a->first <= last && first <= a->last;
}

#endif
