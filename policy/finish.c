/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What can only be said of a policy as a whole: names, overlaps, warnings, indices. */

#include <string.h>

#include "policy/rule.h"

#define TAIL_MAX 16 /* rules without a unit prefix that cost nothing worth a warning */

int policy_warn(struct policy *policy, struct place place, const char *format, ...) {
    _cleanup_(freep) char *message = NULL;
    va_list arguments;
    char *kept;

    va_start(arguments, format);
    message = message_at(place, format, arguments);
    va_end(arguments);
    kept = message ? pool_strndup(&policy->pool, message, strlen(message)) : NULL;
    return kept ? list_append(&policy->warnings, kept) : -ENOMEM;
}

static int compare_names(const void *a, const void *b) {
    const struct rule *x = *(const struct rule *const *) a, *y = *(const struct rule *const *) b;
    int r = strcmp(x->name, y->name);

    return r ? r : (x->order > y->order) - (x->order < y->order);
}

static int check_names(const struct list *list, char **ret_error) {
    _cleanup_(freep) const struct rule **sorted = calloc(list->n ?: 1, sizeof(*sorted));

    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < list->n; i++)
        sorted[i] = list->items[i];
    qsort(sorted, list->n, sizeof(*sorted), compare_names);
    for (size_t i = 1; i < list->n; i++)
        if (!strcmp(sorted[i - 1]->name, sorted[i]->name))
            return fail_at(ret_error, sorted[i]->place,
                           "a second rule called \"%s\"; the first is at %s:%u, "
                           "choose another name",
                           sorted[i]->name, sorted[i - 1]->place.file, sorted[i - 1]->place.line);
    return 0;
}

static int check_region(const struct policy *policy, const struct region_rule *region, char **ret_error) {
    for (size_t i = 0; i < policy->reserved.n; i++) {
        const struct region_rule *reserved = policy->reserved.items[i];

        if (ranges_overlap(reserved, region->space, region->first, region->last))
            return fail_at(ret_error, region->place,
                           "overlaps 0x%jx-0x%jx, which %s:%u reserves (%.80s); "
                           "choose another range, or say \"override\": true in the rule",
                           (uintmax_t) reserved->first, (uintmax_t) reserved->last, reserved->place.file,
                           reserved->place.line, reserved->why);
    }
    return 0;
}

static int check_reserved(const struct policy *policy, char **ret_error) {
    for (size_t i = 0; i < policy->devices.n; i++) {
        const struct rule *rule = policy->devices.items[i];

        for (size_t j = 0; !rule->override && j < rule->n_regions; j++) {
            int r = check_region(policy, &rule->regions[j], ret_error);

            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* Could units that the rule does not tell apart reach every VM? */
static bool is_open(const struct rule *rule) {
    const struct match *m = &rule->match;
    bool open = m->has_unit && m->unit.halves[0].glob && !m->unit.has_vm && strpbrk(m->unit.text, "*?[");

    for (size_t i = 0; open && i < rule->n_vms; i++)
        if (!rule->vms[i].has_placeholder && glob_is_open(rule->vms[i].text))
            return true;
    return false;
}

static int warn_rules(struct policy *policy, const struct list *list) {
    for (size_t i = 0; i < list->n; i++) {
        const struct rule *rule = list->items[i];
        int r = 0;

        if (is_open(rule))
            r = policy_warn(policy, rule->place,
                            "rule \"%s\": every unit that matches reaches every VM; "
                            "\"vms\": [\"${vm}\"] would tie each unit to its own",
                            rule->name);
        if (r >= 0 && rule->n_interrupts && !(rule->features & IOREGION_FEATURE_INTERRUPTS))
            r = policy_warn(policy, rule->place,
                            "rule \"%s\": interrupts are listed, but the feature \"interrupts\" "
                            "is not",
                            rule->name);
        if (r < 0)
            return r;
    }
    return 0;
}

static int warn_tail(struct policy *policy, const struct rule_index *index, const char *kind) {
    if (index->n_tail <= TAIL_MAX)
        return 0;
    return policy_warn(policy, index->rules[index->n_rules - 1]->place,
                       "%zu rules of \"%s\" have no unit, or a unit "
                       "that begins with a wildcard; these are asked one after the other",
                       index->n_tail, kind);
}

int policy_finish(struct policy *policy, char **ret_error) {
    int r;

    r = check_names(&policy->vmms, ret_error);
    if (r >= 0)
        r = check_names(&policy->devices, ret_error);
    if (r >= 0)
        r = check_names(&policy->operators, ret_error);
    if (r >= 0)
        r = check_reserved(policy, ret_error);
    if (r >= 0)
        r = rule_index_build(&policy->pool, &policy->vmms, &policy->vmm_index);
    if (r >= 0)
        r = rule_index_build(&policy->pool, &policy->devices, &policy->device_index);
    if (r >= 0)
        r = warn_rules(policy, &policy->vmms);
    if (r >= 0)
        r = warn_rules(policy, &policy->devices);
    if (r >= 0)
        r = warn_tail(policy, &policy->vmm_index, "vmms");
    return r < 0 ? r : warn_tail(policy, &policy->device_index, "devices");
}
