/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The answer to a question. Pure: no allocation, no descriptor, no clock, no global. */

#include <stdio.h>
#include <string.h>

#include "internal/names.h"
#include "policy/rule.h"

/* Fill the verdict in; false, so that a check can end with it. */
static bool refuse(struct policy_verdict *v, const char *rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool refuse(struct policy_verdict *v, const char *rule, const char *format, ...) {
    va_list arguments;

    *v = (struct policy_verdict){.rule = rule};
    va_start(arguments, format);
    vsnprintf(v->reason, sizeof(v->reason), format, arguments);
    va_end(arguments);
    printable(v->reason);
    return false;
}

static void allow(struct policy_verdict *v, const struct rule *rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void allow(struct policy_verdict *v, const struct rule *rule, const char *format, ...) {
    va_list arguments;

    *v = (struct policy_verdict){.allowed = true,
                                 .rule = rule->name,
                                 .features = rule->features,
                                 .timeout_usec = rule->timeout_usec,
                                 .grace_usec = rule->grace_usec,
                                 .on_disconnect = rule->on_disconnect,
                                 .dispatch = rule->dispatch};
    va_start(arguments, format);
    vsnprintf(v->reason, sizeof(v->reason), format, arguments);
    va_end(arguments);
    printable(v->reason);
}

/* No rule: say for whom, in words that point to the missing rule. */
static void refuse_default(struct policy_verdict *v, const struct policy_subject *subject, const char *list,
                           const char *vm) {
    refuse(v, "default", "no rule of \"%s\" is selected for %s%.64s (uid %u) and VM %.64s", list,
           subject->unit ? "unit " : "a caller without a unit", subject->unit ?: "", (unsigned) subject->uid, vm);
}

void policy_check_register(const struct policy *policy, const struct policy_subject *subject,
                           const struct policy_register *question, struct policy_verdict *v) {
    const struct rule *rule;

    if (!name_is_valid(question->vm)) {
        refuse(v, "default", "\"%.64s\" is no valid VM name", question->vm);
        return;
    }
    rule = rule_index_select(&policy->vmm_index, subject, question->vm, NULL);
    if (!rule)
        refuse_default(v, subject, "vmms", question->vm);
    else if (!(rule->dispatch & question->dispatch))
        refuse(v, rule->name, "the dispatcher asked for is not allowed; the rule allows %s",
               rule->dispatch == POLICY_DISPATCH_KERNEL ? "kernel"
               : rule->dispatch == POLICY_DISPATCH_VMM  ? "vmm"
                                                        : "both");
    else
        allow(v, rule, "rule %s lets the caller register VM %.64s", rule->name, question->vm);
}

static bool region_allowed(const struct region_rule *allowed, const struct ioregion_region *asked) {
    uint64_t last = asked->base + asked->size - 1;

    if (allowed->space != asked->space || asked->size > allowed->max_size)
        return false;
    if (allowed->exact)
        return asked->base == allowed->first && last == allowed->last;
    return asked->base >= allowed->first && last <= allowed->last && !(asked->base & (allowed->align - 1));
}

/* Why does no range of the rule hold the region? Tell of the range that it lies in, else of the first one. */
static bool refuse_region(struct policy_verdict *v, const struct rule *rule, const struct ioregion_region *asked) {
    const struct region_rule *nearest = &rule->regions[0];
    uint64_t last = asked->base + asked->size - 1;
    char extra[80] = "";

    for (size_t i = rule->n_regions; i-- > 0;)
        if (ranges_overlap(&rule->regions[i], asked->space, asked->base, last))
            nearest = &rule->regions[i];
    if (!nearest->exact && nearest->max_size != UINT64_MAX)
        snprintf(extra, sizeof(extra), ", aligned to 0x%jx, at most 0x%jx bytes", (uintmax_t) nearest->align,
                 (uintmax_t) nearest->max_size);
    else if (!nearest->exact && nearest->align > 1)
        snprintf(extra, sizeof(extra), ", aligned to 0x%jx", (uintmax_t) nearest->align);
    return refuse(v, rule->name, "region %s 0x%jx-0x%jx is not allowed; the rule allows %s %s 0x%jx-0x%jx%s%s",
                  space_name(asked->space), (uintmax_t) asked->base, (uintmax_t) last,
                  nearest->exact ? "exactly" : "within", space_name(nearest->space), (uintmax_t) nearest->first,
                  (uintmax_t) nearest->last, extra, rule->n_regions > 1 ? ", and others" : "");
}

static bool check_region(const struct policy *policy, const struct rule *rule, const struct ioregion_region *asked,
                         struct policy_verdict *v) {
    uint64_t last;

    if (asked->space > IOREGION_PIO || !asked->size || __builtin_add_overflow(asked->base, asked->size - 1, &last))
        return refuse(v, rule->name, "region 0x%jx of 0x%jx bytes is no range of mmio or pio", (uintmax_t) asked->base,
                      (uintmax_t) asked->size);
    for (size_t i = 0; !rule->override && i < policy->reserved.n; i++) {
        const struct region_rule *reserved = policy->reserved.items[i];

        if (ranges_overlap(reserved, asked->space, asked->base, last))
            return refuse(v, "reserved", "region %s 0x%jx-0x%jx overlaps 0x%jx-0x%jx, which is reserved: %.80s",
                          space_name(asked->space), (uintmax_t) asked->base, (uintmax_t) last,
                          (uintmax_t) reserved->first, (uintmax_t) reserved->last, reserved->why);
    }
    for (size_t i = 0; i < rule->n_regions; i++)
        if (region_allowed(&rule->regions[i], asked))
            return true;
    return refuse_region(v, rule, asked);
}

static bool check_interrupt(const struct rule *rule, uint32_t interrupt, struct policy_verdict *v) {
    for (size_t i = 0; i < rule->n_interrupts; i++)
        if (rule->interrupts[i] == interrupt)
            return true;
    return refuse(v, rule->name, "interrupt %u is not allowed; the rule lists %zu others", interrupt,
                  rule->n_interrupts);
}

static bool check_counts(const struct rule *rule, const struct policy_attach *q, struct policy_verdict *v) {
    if (q->n_regions > rule->max_regions)
        return refuse(v, rule->name, "%zu regions are too many; the rule allows %ju", q->n_regions,
                      (uintmax_t) rule->max_regions);
    if (q->channels > rule->max_channels)
        return refuse(v, rule->name, "%u channels are too many; the rule allows %ju", q->channels,
                      (uintmax_t) rule->max_channels);
    if (q->timeout_usec > rule->timeout_usec)
        return refuse(v, rule->name, "a timeout of %ju us is too long; the rule allows %ju us",
                      (uintmax_t) q->timeout_usec, (uintmax_t) rule->timeout_usec);
    if ((unsigned) q->on_disconnect > IOREGION_ON_DISCONNECT_REMOVE)
        return refuse(v, rule->name, "on-disconnect %u is unknown", (unsigned) q->on_disconnect);
    if (!(rule->on_disconnect & POLICY_ON_DISCONNECT(q->on_disconnect)))
        return refuse(v, rule->name, "on-disconnect %s is not allowed; the rule allows%s%s%s",
                      on_disconnect_name(q->on_disconnect), rule->on_disconnect & 1 ? " ones" : "",
                      rule->on_disconnect & 2 ? " hold" : "", rule->on_disconnect & 4 ? " remove" : "");
    return true;
}

static bool attach_allowed(const struct policy *policy, const struct rule *rule, const struct policy_attach *q,
                           struct policy_verdict *v) {
    if (!check_counts(rule, q, v))
        return false;
    for (size_t i = 0; i < q->n_regions; i++)
        if (!check_region(policy, rule, &q->regions[i], v))
            return false;
    for (size_t i = 0; i < q->n_interrupts; i++)
        if (!check_interrupt(rule, q->interrupts[i], v))
            return false;
    return true;
}

void policy_check_attach(const struct policy *policy, const struct policy_subject *subject,
                         const struct policy_attach *question, struct policy_verdict *v) {
    const struct rule *rule;

    if (!name_is_valid(question->vm) || !name_is_valid(question->device)) {
        refuse(v, "default", "\"%.64s\" and \"%.64s\" are no valid VM and device names", question->vm,
               question->device);
        return;
    }
    rule = rule_index_select(&policy->device_index, subject, question->vm, question->device);
    if (!rule)
        refuse_default(v, subject, "devices", question->vm);
    else if (attach_allowed(policy, rule, question, v))
        allow(v, rule, "rule %s lets the caller attach device %.64s to VM %.64s", rule->name, question->device,
              question->vm);
}

const char *policy_operator(const struct policy *policy, const struct policy_subject *subject) {
    if (!policy->operators.n)
        return subject->uid == 0 ? "default" : NULL;
    for (size_t i = 0; i < policy->operators.n; i++) {
        const struct rule *rule = policy->operators.items[i];

        if (match_accounts(&rule->match, subject))
            return rule->name;
    }
    return NULL;
}
