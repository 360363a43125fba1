/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* JSON to rules: one text at a time. What concerns several texts is in finish.c. */

#include <string.h>

#include "policy/accounts.h"
#include "policy/compile-rule.h"

/* What each list of a policy file holds. */
static int compile_list(struct compiler *c, const struct json_node *node, struct list *list,
                        int (*compile)(struct compiler *c, const struct json_node *node, struct rule *rule)) {
    const struct json_node *item;
    int r;

    if (!node)
        return 0;
    item = node + 1;
    for (uint64_t i = 0; i < node->number; i++, item = json_next(item)) {
        struct rule *rule = pool_alloc(&c->policy->pool, 1, sizeof(*rule));

        if (!rule)
            return -ENOMEM;
        rule->place = json_place(c->reader.document, item);
        rule->place.file = c->file;
        rule->order = list->n;
        r = compile(c, item, rule);
        if (r >= 0)
            r = list_append(list, rule);
        if (r < 0)
            return r;
    }
    return 0;
}

static int compile_reserved(struct compiler *c, const struct json_node *node) {
    const struct json_node *item;
    int r;

    if (!node)
        return 0;
    item = node + 1;
    for (uint64_t i = 0; i < node->number; i++, item = json_next(item)) {
        struct region_rule *region = pool_alloc(&c->policy->pool, 1, sizeof(*region));

        if (!region)
            return -ENOMEM;
        if (c->policy->reserved.n == RESERVED_MAX)
            return READ_FAIL(&c->reader, item, "too many reserved ranges; %d are the most", RESERVED_MAX);
        r = compile_region(c, item, true, region);
        if (r >= 0)
            r = list_append(&c->policy->reserved, region);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Each limit may be set once, in whichever file. */
static int compile_limits(struct compiler *c, const struct json_node *node) {
    static const struct reader_key keys[N_LIMITS] = {
        {"vms", JSON_NUMBER},          {"regions-per-vm", JSON_NUMBER}, {"devices-per-unit", JSON_NUMBER},
        {"vms-per-user", JSON_NUMBER}, {"register-rate", JSON_STRING},  {"attach-rate", JSON_STRING},
        {"list-rate", JSON_STRING},
    };
    struct policy_limits *l = &c->policy->limits;
    uint64_t *values[N_LIMITS] = {&l->vms,           &l->regions_per_vm, &l->devices_per_unit, &l->vms_per_user,
                                  &l->register_rate, &l->attach_rate,    &l->list_rate};
    struct place *places = c->policy->limit_places;
    const struct json_node *found[N_LIMITS];
    int r;

    if (!node)
        return 0;
    r = READ_OBJECT(&c->reader, node, keys, found);
    for (size_t i = 0; r >= 0 && i < N_LIMITS; i++) {
        if (!found[i])
            continue;
        if (places[i].file)
            return READ_FAIL(&c->reader, found[i], "the limit \"%s\" is set twice; %s:%u sets it first", keys[i].name,
                             places[i].file, places[i].line);
        places[i] = json_place(c->reader.document, found[i]);
        places[i].file = c->file;
        r = keys[i].kind == JSON_NUMBER ? read_number(&c->reader, found[i], UINT64_MAX, values[i])
                                        : read_rate(&c->reader, found[i], values[i]);
    }
    return r;
}

static int compile_document(struct compiler *c) {
    enum { SCHEMA, VERSION, VMMS, DEVICES, RESERVED, OPERATORS, LIMITS };
    static const struct reader_key keys[] = {
        [SCHEMA] = {"$schema", JSON_STRING},   [VERSION] = {"version", JSON_NUMBER, true},
        [VMMS] = {"vmms", JSON_ARRAY},         [DEVICES] = {"devices", JSON_ARRAY},
        [RESERVED] = {"reserved", JSON_ARRAY}, [OPERATORS] = {"operators", JSON_ARRAY},
        [LIMITS] = {"limits", JSON_OBJECT}};
    const struct json_node *found[LIMITS + 1];
    int r;

    r = READ_OBJECT(&c->reader, c->reader.document->nodes, keys, found);
    if (r < 0)
        return r;
    if (found[VERSION]->number != 1)
        return READ_FAIL(&c->reader, found[VERSION], "unknown version; this program knows 1");
    r = compile_list(c, found[VMMS], &c->policy->vmms, compile_vmm);
    if (r >= 0)
        r = compile_list(c, found[DEVICES], &c->policy->devices, compile_device);
    if (r >= 0)
        r = compile_list(c, found[OPERATORS], &c->policy->operators, compile_operator);
    if (r >= 0)
        r = compile_reserved(c, found[RESERVED]);
    return r < 0 ? r : compile_limits(c, found[LIMITS]);
}

int policy_compile(struct policy *policy, const char *name, const char *text, size_t size,
                   const struct policy_accounts *accounts, char **ret_error) {
    _cleanup_(json_document_freep) struct json_document *document = NULL;
    struct compiler c = {.policy = policy, .accounts = accounts ?: &system_accounts};
    int r;

    r = json_scan(name, text, size, &document, ret_error);
    if (r < 0)
        return r;
    c.reader = (struct reader){.document = document, .pool = &policy->pool, .ret_error = ret_error};
    c.file = pool_strndup(&policy->pool, name, strlen(name));
    return c.file ? compile_document(&c) : -ENOMEM;
}
