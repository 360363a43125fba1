/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "policy/rule.h"

static size_t prefix_of(const struct rule *rule) {
    return rule->match.has_unit ? rule->match.unit.prefix : 0;
}

static const char *text_of(const struct rule *rule) {
    return prefix_of(rule) ? rule->match.unit.text : "";
}

static int compare_prefixes(const char *a, size_t a_size, const char *b, size_t b_size) {
    int r = memcmp(a, b, a_size < b_size ? a_size : b_size);

    return r ? r : (a_size > b_size) - (a_size < b_size);
}

/* The tail sorts last. */
static int compare_rules(const void *a, const void *b) {
    const struct rule *x = *(const struct rule *const *) a, *y = *(const struct rule *const *) b;
    size_t x_size = prefix_of(x), y_size = prefix_of(y);
    int r = (x_size == 0) - (y_size == 0);

    if (!r)
        r = compare_prefixes(text_of(x), x_size, text_of(y), y_size);
    return r ? r : (x->order > y->order) - (x->order < y->order);
}

static bool begins_with(const char *text, size_t size, const struct prefix_group *group) {
    return group->length <= size && !memcmp(text, group->prefix, group->length);
}

/* Start a group unless the last one has the same prefix. In sorted order a shorter prefix is on the last one's chain.
 */
static void add_to_group(struct rule_index *index, size_t i) {
    const char *prefix = text_of(index->rules[i]);
    size_t length = prefix_of(index->rules[i]);
    ssize_t shorter = (ssize_t) index->n_groups - 1;
    struct prefix_group *last = index->groups + shorter;

    if (shorter >= 0 && last->length == length && !memcmp(last->prefix, prefix, length)) {
        last->n++;
        return;
    }
    while (shorter >= 0 && !begins_with(prefix, length, &index->groups[shorter]))
        shorter = index->groups[shorter].shorter;
    index->groups[index->n_groups++] =
        (struct prefix_group){.prefix = prefix, .length = length, .first = i, .n = 1, .shorter = shorter};
}

int rule_index_build(struct pool *pool, const struct list *list, struct rule_index *ret_index) {
    struct rule_index index = {.n_rules = list->n};

    index.rules = pool_alloc(pool, list->n, sizeof(*index.rules));
    index.groups = pool_alloc(pool, list->n, sizeof(*index.groups));
    if (!index.rules || !index.groups)
        return -ENOMEM;
    if (list->n) {
        memcpy(index.rules, list->items, list->n * sizeof(*index.rules));
        qsort(index.rules, list->n, sizeof(*index.rules), compare_rules);
    }
    for (size_t i = 0; i < list->n; i++)
        if (prefix_of(index.rules[i]))
            add_to_group(&index, i);
        else
            index.n_tail++;
    *ret_index = index;
    return 0;
}

/* The group with the longest prefix that the unit begins with, -1 for none. */
static ssize_t longest(const struct rule_index *index, const char *unit, size_t size) {
    ssize_t low = 0, high = (ssize_t) index->n_groups;

    while (low < high) {
        ssize_t middle = low + (high - low) / 2;
        const struct prefix_group *group = &index->groups[middle];

        if (compare_prefixes(group->prefix, group->length, unit, size) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    /* The last group that does not sort behind the unit: every prefix of the unit is on its chain. */
    for (low--; low >= 0 && !begins_with(unit, size, &index->groups[low]);)
        low = index->groups[low].shorter;
    return low;
}

const struct rule *rule_index_select(const struct rule_index *index, const struct policy_subject *subject,
                                     const char *vm, const char *device) {
    ssize_t group = subject->unit ? longest(index, subject->unit, strlen(subject->unit)) : -1;
    size_t first = index->n_rules - index->n_tail, n = index->n_tail;
    const struct rule *best = NULL;

    for (;;) {
        for (size_t i = first; i < first + n; i++) {
            const struct rule *rule = index->rules[i];

            if (best && rule->order > best->order)
                break;
            if (rule_selected(rule, subject, vm, device)) {
                best = rule;
                break;
            }
        }
        if (group < 0)
            return best;
        first = index->groups[group].first;
        n = index->groups[group].n;
        group = index->groups[group].shorter;
    }
}
