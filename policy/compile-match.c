/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a rule is selected by, and the ranges it allows. */

#include <string.h>

#include "policy/compile-rule.h"

/* The place of a node, as long as the policy lives. */
static struct place lasting(const struct compiler *c, const struct json_node *node) {
    return (struct place){c->file, node->line, node->column};
}

static int compile_account(struct compiler *c, const struct json_node *node, bool user, struct match *match) {
    const char *name;
    int r;

    r = read_string(&c->reader, node, &name);
    if (r < 0)
        return r;
    r = user ? c->accounts->user(name, &match->uid) : c->accounts->group(name, &match->gid);
    if (r != -ENOENT)
        return r;
    match->never = true;
    return policy_warn(c->policy, lasting(c, node),
                       "no %s is called \"%.40s\"; the rule can't match until there is one, "
                       "and a reload",
                       user ? "user" : "group", name);
}

static int compile_unit(struct compiler *c, const struct json_node *node, struct match *match) {
    const char *text, *problem;
    int r;

    r = read_string(&c->reader, node, &text);
    if (r < 0)
        return r;
    r = unit_pattern_compile(&c->policy->pool, text, &match->unit, &problem);
    return r == -EINVAL ? READ_FAIL(&c->reader, node, "\"%.80s\": %s", text, problem) : r;
}

int compile_match(struct compiler *c, const struct json_node *node, bool operator_rule, struct match *match) {
    enum { UNIT, USER, GROUP };
    static const struct reader_key keys[] = {
        [UNIT] = {"unit", JSON_STRING}, [USER] = {"user", JSON_STRING}, [GROUP] = {"group", JSON_STRING}};
    const struct json_node *found[GROUP + 1];
    int r;

    r = READ_OBJECT(&c->reader, node, keys, found);
    if (r < 0)
        return r;
    if (operator_rule && found[UNIT])
        return READ_FAIL(&c->reader, found[UNIT], "bus calls of operators prove no unit; match \"user\" or \"group\"");
    if (!found[UNIT] && !found[USER] && !found[GROUP])
        return READ_FAIL(&c->reader, node, "\"match\" says nothing and would match everyone; give %s",
                         operator_rule ? "\"user\" or \"group\"" : "\"unit\", \"user\" or \"group\"");
    match->has_unit = found[UNIT];
    match->has_user = found[USER];
    match->has_group = found[GROUP];
    if (found[UNIT])
        r = compile_unit(c, found[UNIT], match);
    if (r >= 0 && found[USER])
        r = compile_account(c, found[USER], true, match);
    if (r >= 0 && found[GROUP])
        r = compile_account(c, found[GROUP], false, match);
    return r;
}

int compile_vms(struct compiler *c, const struct json_node *node, struct rule *rule) {
    const struct json_node *item = node + 1;
    const char **texts, *problem;
    int r;

    r = read_strings(&c->reader, node, &texts, &rule->n_vms);
    if (r < 0)
        return r;
    if (!rule->n_vms)
        return READ_FAIL(&c->reader, node, "no VM is named; \"*\" means every VM, \"${vm}\" the unit's own");
    rule->vms = pool_alloc(&c->policy->pool, rule->n_vms, sizeof(*rule->vms));
    if (!rule->vms)
        return -ENOMEM;
    for (size_t i = 0; i < rule->n_vms; i++, item = json_next(item)) {
        r = vm_pattern_compile(texts[i], &rule->vms[i], &problem);
        if (r < 0)
            return READ_FAIL(&c->reader, item, "\"%.80s\": %s", texts[i], problem);
        if (rule->vms[i].has_placeholder && !rule->match.has_unit)
            return READ_FAIL(&c->reader, item, "\"%.80s\" is taken from the unit's name; \"match\" must give \"unit\"",
                             texts[i]);
    }
    return 0;
}

static int check_space(struct compiler *c, const struct json_node *node, const struct region_rule *region) {
    if (region->space == IOREGION_PIO && region->last > 0xffff)
        return READ_FAIL(&c->reader, node, "ports end at 0xffff; this range ends at 0x%jx", (uintmax_t) region->last);
    return 0;
}

static int compile_exact(struct compiler *c, const struct json_node *base, const struct json_node *size,
                         struct region_rule *region) {
    int r;

    r = read_quantity(&c->reader, base, &region->first);
    if (r >= 0)
        r = read_quantity(&c->reader, size, &region->max_size);
    if (r < 0)
        return r;
    if (!region->max_size)
        return READ_FAIL(&c->reader, size, "a region has at least one byte");
    if (__builtin_add_overflow(region->first, region->max_size - 1, &region->last))
        return READ_FAIL(&c->reader, size, "the region goes past the end of the address space");
    region->exact = true;
    region->align = 1;
    return 0;
}

static int compile_within(struct compiler *c, const struct json_node *within, const struct json_node *align,
                          const struct json_node *max_size, struct region_rule *region) {
    int r;

    region->align = 1;
    region->max_size = UINT64_MAX;
    r = read_range(&c->reader, within, &region->first, &region->last);
    if (r >= 0 && align)
        r = read_quantity(&c->reader, align, &region->align);
    if (r >= 0 && max_size)
        r = read_quantity(&c->reader, max_size, &region->max_size);
    if (r < 0)
        return r;
    if (!region->align || (region->align & (region->align - 1)))
        return READ_FAIL(&c->reader, align, "an alignment is a power of two, such as \"4K\"");
    return region->max_size ? 0 : READ_FAIL(&c->reader, max_size, "a region has at least one byte");
}

int compile_region(struct compiler *c, const struct json_node *node, bool reserved, struct region_rule *region) {
    enum { SPACE, BASE, SIZE, WITHIN, ALIGN, MAX_SIZE };
    enum { WHY = ALIGN };
    static const struct reader_key keys[2][MAX_SIZE + 1] = {{{"space", JSON_STRING, true},
                                                             {"base", JSON_STRING},
                                                             {"size", JSON_STRING},
                                                             {"within", JSON_ARRAY},
                                                             {"align", JSON_STRING},
                                                             {"max-size", JSON_STRING}},
                                                            {{"space", JSON_STRING, true},
                                                             {"base", JSON_STRING},
                                                             {"size", JSON_STRING},
                                                             {"within", JSON_ARRAY},
                                                             {"why", JSON_STRING, true}}};
    const struct json_node *found[MAX_SIZE + 1] = {NULL}, *why;
    int r;

    region->place = lasting(c, node);
    r = read_object(&c->reader, node, keys[reserved], reserved ? WHY + 1 : MAX_SIZE + 1, found);
    if (r >= 0)
        r = read_space(&c->reader, found[SPACE], &region->space);
    if (r < 0)
        return r;
    why = reserved ? found[WHY] : NULL;
    if (reserved)
        found[ALIGN] = NULL;
    if (found[BASE] && found[SIZE] && !found[WITHIN] && !found[ALIGN] && !found[MAX_SIZE])
        r = compile_exact(c, found[BASE], found[SIZE], region);
    else if (found[WITHIN] && !found[BASE] && !found[SIZE])
        r = compile_within(c, found[WITHIN], found[ALIGN], found[MAX_SIZE], region);
    else
        return READ_FAIL(&c->reader, node, "a region has either \"base\" and \"size\", or \"within\"%s",
                         reserved ? "" : " (with \"align\" and \"max-size\" if wanted)");
    if (r >= 0)
        r = check_space(c, node, region);
    return r < 0 || !why ? r : read_string(&c->reader, why, &region->why);
}
