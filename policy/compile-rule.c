/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "internal/names.h"
#include "policy/compile-rule.h"
#include "policy/quantity.h"

#define INTERRUPT_MAX 4095 /* the highest interrupt line that KVM can route */

/* The names that stand for something else in verdicts. */
static int read_rule_name(struct compiler *c, const struct json_node *node, const char **ret_name) {
    int r = read_name(&c->reader, node, ret_name);

    if (r >= 0 && (!strcmp(*ret_name, "default") || !strcmp(*ret_name, "reserved")))
        return READ_FAIL(&c->reader, node, "verdicts call something else \"%s\"; choose another name", *ret_name);
    return r;
}

/* What vmms and devices have in common. */
static int compile_common(struct compiler *c, const struct json_node *name, const struct json_node *match,
                          const struct json_node *vms, const struct json_node *features, struct rule *rule) {
    int r;

    r = read_rule_name(c, name, &rule->name);
    if (r >= 0)
        r = compile_match(c, match, false, &rule->match);
    if (r >= 0)
        r = compile_vms(c, vms, rule);
    if (r >= 0 && features)
        r = read_features(&c->reader, features, &rule->features);
    return r;
}

int compile_vmm(struct compiler *c, const struct json_node *node, struct rule *rule) {
    enum { NAME, MATCH, VMS, DISPATCH, FEATURES };
    static const struct reader_key keys[] = {[NAME] = {"name", JSON_STRING, true},
                                             [MATCH] = {"match", JSON_OBJECT, true},
                                             [VMS] = {"vms", JSON_ARRAY, true},
                                             [DISPATCH] = {"dispatch", JSON_ARRAY},
                                             [FEATURES] = {"features", JSON_ARRAY}};
    static const char *const dispatchers[] = {"kernel", "vmm", NULL}; /* in the order of POLICY_DISPATCH_* */
    const struct json_node *found[FEATURES + 1];
    int r;

    r = READ_OBJECT(&c->reader, node, keys, found);
    if (r >= 0)
        r = compile_common(c, found[NAME], found[MATCH], found[VMS], found[FEATURES], rule);
    rule->dispatch = POLICY_DISPATCH_KERNEL | POLICY_DISPATCH_VMM;
    if (r >= 0 && found[DISPATCH])
        r = read_choices(&c->reader, found[DISPATCH], dispatchers, &rule->dispatch);
    if (r >= 0 && !rule->dispatch)
        return READ_FAIL(&c->reader, found[DISPATCH], "no dispatcher is left; name \"kernel\", \"vmm\" or both");
    return r;
}

int compile_operator(struct compiler *c, const struct json_node *node, struct rule *rule) {
    static const struct reader_key keys[] = {{"name", JSON_STRING, true}, {"match", JSON_OBJECT, true}};
    const struct json_node *found[2];
    int r;

    r = READ_OBJECT(&c->reader, node, keys, found);
    if (r >= 0)
        r = read_rule_name(c, found[0], &rule->name);
    return r < 0 ? r : compile_match(c, found[1], true, &rule->match);
}

static int compile_regions(struct compiler *c, const struct json_node *node, struct rule *rule) {
    const struct json_node *item = node + 1;
    int r = 0;

    if (!node->number)
        return READ_FAIL(&c->reader, node, "a device without regions can do nothing; list at least one");
    rule->regions = pool_alloc(&c->policy->pool, node->number, sizeof(*rule->regions));
    if (!rule->regions)
        return -ENOMEM;
    rule->n_regions = node->number;
    for (size_t i = 0; r >= 0 && i < rule->n_regions; i++, item = json_next(item))
        r = compile_region(c, item, false, &rule->regions[i]);
    return r;
}

static int compile_rule_limits(struct compiler *c, const struct json_node *node, struct rule *rule) {
    static const struct reader_key keys[] = {{"regions", JSON_NUMBER}, {"channels", JSON_NUMBER}};
    const struct json_node *found[2];
    int r;

    r = READ_OBJECT(&c->reader, node, keys, found);
    if (r >= 0 && found[0])
        r = read_number(&c->reader, found[0], UINT32_MAX, &rule->max_regions);
    if (r >= 0 && found[1])
        r = read_number(&c->reader, found[1], IOREGION_LEASE_FDS_MAX, &rule->max_channels);
    return r;
}

static int compile_on_disconnect(struct compiler *c, const struct json_node *node, struct rule *rule) {
    int r = read_choices(&c->reader, node, on_disconnect_names, &rule->on_disconnect);

    if (r >= 0 && !rule->on_disconnect)
        return READ_FAIL(&c->reader, node, "nothing is left; name \"ones\", \"hold\", \"remove\" or several of them");
    return r;
}

static int compile_timeout(struct compiler *c, const struct json_node *node, struct rule *rule) {
    int r = read_duration(&c->reader, node, &rule->timeout_usec);

    if (r >= 0 && !rule->timeout_usec)
        return READ_FAIL(&c->reader, node, "a deadline of nothing can't be met; write for example \"1s\"");
    return r;
}

int compile_device(struct compiler *c, const struct json_node *node, struct rule *rule) {
    enum { NAME, MATCH, VMS, REGIONS, FEATURES, INTERRUPTS, LIMITS, TIMEOUT, ON_DISCONNECT, GRACE, OVERRIDE };
    static const struct reader_key keys[] = {[NAME] = {"name", JSON_STRING, true},
                                             [MATCH] = {"match", JSON_OBJECT, true},
                                             [VMS] = {"vms", JSON_ARRAY, true},
                                             [REGIONS] = {"regions", JSON_ARRAY, true},
                                             [FEATURES] = {"features", JSON_ARRAY},
                                             [INTERRUPTS] = {"interrupts", JSON_ARRAY},
                                             [LIMITS] = {"limits", JSON_OBJECT},
                                             [TIMEOUT] = {"timeout", JSON_STRING},
                                             [ON_DISCONNECT] = {"on-disconnect", JSON_ARRAY},
                                             [GRACE] = {"grace", JSON_STRING},
                                             [OVERRIDE] = {"override", JSON_BOOLEAN}};
    const struct json_node *found[OVERRIDE + 1];
    int r;

    rule->max_regions = DEFAULT_REGIONS;
    rule->max_channels = DEFAULT_CHANNELS;
    rule->timeout_usec = DEFAULT_TIMEOUT_USEC;
    rule->grace_usec = DEFAULT_GRACE_USEC;
    rule->on_disconnect = POLICY_ON_DISCONNECT(IOREGION_ON_DISCONNECT_ONES);
    r = READ_OBJECT(&c->reader, node, keys, found);
    if (r >= 0)
        r = compile_common(c, found[NAME], found[MATCH], found[VMS], found[FEATURES], rule);
    if (r >= 0)
        r = compile_regions(c, found[REGIONS], rule);
    if (r >= 0 && found[INTERRUPTS])
        r = read_numbers(&c->reader, found[INTERRUPTS], INTERRUPT_MAX, &rule->interrupts, &rule->n_interrupts);
    if (r >= 0 && found[LIMITS])
        r = compile_rule_limits(c, found[LIMITS], rule);
    if (r >= 0 && found[TIMEOUT])
        r = compile_timeout(c, found[TIMEOUT], rule);
    if (r >= 0 && found[ON_DISCONNECT])
        r = compile_on_disconnect(c, found[ON_DISCONNECT], rule);
    if (r >= 0 && found[GRACE])
        r = read_duration(&c->reader, found[GRACE], &rule->grace_usec);
    if (r >= 0 && found[OVERRIDE])
        rule->override = found[OVERRIDE]->number;
    return r;
}
