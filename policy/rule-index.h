/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_RULE_INDEX_H
#define POLICY_RULE_INDEX_H

/*
 * Find the first rule in file order that is selected, without asking those whose unit glob begins otherwise.
 *
 * Rules are sorted by the literal prefix of their unit glob. The prefixes that a unit begins with form a chain: the
 * longest is found by bisection, each knows the next shorter one. Rules without such a prefix are the tail, which is
 * always asked.
 */

#include <stddef.h>
#include <sys/types.h>

#include "policy/pool.h"

struct rule;
struct policy_subject;

/* All rules with one prefix: rules[first] and the @n - 1 behind it, in file order. */
struct prefix_group {
    const char *prefix;
    size_t length;
    size_t first, n;
    ssize_t shorter; /* the group whose prefix this one's begins with; -1 for none */
};

struct rule_index {
    const struct rule **rules; /* by prefix and order, then the tail by order */
    struct prefix_group *groups;
    size_t n_rules, n_groups, n_tail;
};

/* 0 or -ENOMEM. @list holds struct rule, in order. */
int rule_index_build(struct pool *pool, const struct list *list, struct rule_index *ret_index);

const struct rule *rule_index_select(const struct rule_index *index, const struct policy_subject *subject,
                                     const char *vm, const char *device);

#endif
