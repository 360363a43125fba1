/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_PATTERN_H
#define POLICY_PATTERN_H

/*
 * Globs with ${vm} and ${device}: which VM does a unit belong to? Pure, but for the pool.
 *
 * The one property that counts: a unit stands for at most one VM and one device, whatever is asked. So the names are
 * taken out of the unit and then compared, never put into a glob; and a pattern in which a wildcard could shift where
 * a name begins is refused. To this end pattern and unit are both cut at their first '@' (the template and the rest),
 * and in each half there may be wildcards or placeholders, not both; two placeholders in one half are kept apart by
 * a ':', which no name holds.
 *
 * In units, names may be escaped as systemd-escape(1) does it: a-b and a\x2db are the same name.
 */

#include <stdbool.h>
#include <stddef.h>

#include "internal/names.h"
#include "policy/pool.h"
#include "policy/quantity.h"

#define PATTERN_MAX 255 /* bytes of a unit name, and so of a pattern */

/* What a unit stands for; empty where it says nothing. */
struct binding {
    char vm[NAME_LENGTH_MAX + 1], device[NAME_LENGTH_MAX + 1];
};

/* Half a unit pattern: a glob, or literals around one or two placeholders. */
struct pattern_half {
    const char *glob;       /* NULL: placeholders */
    const char *literal[3]; /* before, between and behind them */
    char names[2];          /* 'v' or 'd' */
    size_t n_names;
};

struct unit_pattern {
    const char *text;
    size_t prefix; /* the bytes of @text that every matching unit begins with */
    bool has_at, has_vm, has_device;
    struct pattern_half halves[2];
};

/* 0, -ENOMEM, or -EINVAL with *ret_problem, what is wrong and what would be right. */
int unit_pattern_compile(struct pool *pool, const char *text, struct unit_pattern *ret_pattern,
                         const char **ret_problem);

/*
 * Does the unit match? *ret_binding is what the placeholders stand for; without any ${vm}, what the unit's instance,
 * VM or VM:DEVICE, stands for.
 */
bool unit_pattern_match(const struct unit_pattern *pattern, const char *unit, struct binding *ret_binding);

/* A pattern for VM names: a glob, or text around ${vm} and ${device}, which the binding fills in. */
struct vm_pattern {
    const char *text;
    bool has_placeholder;
};

int vm_pattern_compile(const char *text, struct vm_pattern *ret_pattern, const char **ret_problem);
bool vm_pattern_match(const struct vm_pattern *pattern, const struct binding *binding, const char *vm);

/* Does a glob match everything? */
bool glob_is_open(const char *glob);

#endif
