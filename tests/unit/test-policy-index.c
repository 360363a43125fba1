/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The index finds what asking every rule in file order finds: for random rules and random callers. */

#include "policy-test.h"
#include "policy/rule.h"

static uint32_t seed;

static unsigned any(unsigned n) {
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

#define PICK(list) (list)[any(sizeof(list) / sizeof((list)[0]))]

static const char *const patterns[] = {
    "*", "?@*.service", "a*", "a@*.service", "a@b*", "a@b.service", "ab@*.service", "ab*", "abc*", "abc@a.service",
    "abc@${vm}.service", "a@${vm}.service", "a@${vm}:${device}.service", "${vm}.service", "${vm}@*.service",
    "a@b", "[ab]*", "b*", "b@*.service", "aa*", "aa@*", "ab@b:*"};
static const char *const units[] = {
    "a@b.service", "a@b:a.service", "ab@a.service", "ab@b:c.service", "abc@a.service", "a.service", "b.service",
    "b@a.service", "aa@a.service", "a@a.service", "abcd.service", "zz.service", "a@b", "", "a", "abc@b.service"};
static const char *const vms[] = {"*", "a", "b", "${vm}", "?", "[bc]"};
static const char *const users[] = {"root", "qemu", "uart"};
static const unsigned uids[] = {0, 64055, 990, 1};
static const char *const names[] = {"a", "b", "c"};

static struct policy *random_policy(unsigned n) {
    static char text[64 * 1024];
    size_t size = (size_t) sprintf(text, "{\"version\":1,\"devices\":[");

    for (unsigned i = 0; i < n; i++) {
        unsigned shape = any(8);

        size += (size_t) sprintf(text + size, "%s{\"name\":\"r%u\",\"regions\":[{\"space\":\"pio\",\"base\":\"1\","
                                 "\"size\":\"1\"}],\"match\":{", i ? "," : "", i);
        if (shape)
            size += (size_t) sprintf(text + size, "\"unit\":\"%s\"", PICK(patterns));
        if (shape < 2)
            size += (size_t) sprintf(text + size, "%s\"user\":\"%s\"", shape ? "," : "", PICK(users));
        size += (size_t) sprintf(text + size, "},\"vms\":[\"%s\"]}", shape ? PICK(vms) : "*");
    }
    strcpy(text + size, "]}");
    return load(text);
}

static const struct rule *naive(const struct list *list, const struct policy_subject *subject, const char *vm,
                                const char *device) {
    for (size_t i = 0; i < list->n; i++)
        if (rule_selected(list->items[i], subject, vm, device))
            return list->items[i];
    return NULL;
}

static void test_same_as_naive(void **state) {
    unsigned found = 0;

    for (uint32_t round = 1; round <= 400; round++) {
        _cleanup_(policy_freep) struct policy *policy = (seed = round, random_policy(1 + any(60)));

        for (unsigned i = 0; i < 40; i++) {
            struct policy_subject subject = {.unit = any(10) ? PICK(units) : NULL, .uid = PICK(uids)};
            const char *vm = PICK(names), *device = PICK(names);
            const struct rule *one = rule_index_select(&policy->device_index, &subject, vm, device);
            const struct rule *other = naive(&policy->devices, &subject, vm, device);

            if (one != other)
                fail_msg("seed %u, unit %s, vm %s: %s, not %s", round, subject.unit ?: "-", vm,
                         one ? one->name : "none", other ? other->name : "none");
            found += one != NULL;
        }
    }
    /* Most of it was worth asking. */
    assert_in_range(found, 4000, 16000);
}

/* Every prefix of a unit is on one chain, whatever lies between in sorted order. */
static void test_chain(void **state) {
    _cleanup_(policy_freep) struct policy *policy =
        load("{\"version\":1,\"vmms\":["
             "{\"name\":\"last\",\"match\":{\"unit\":\"abc@x.service\"},\"vms\":[\"v\"]},"
             "{\"name\":\"abb\",\"match\":{\"unit\":\"abb*\"},\"vms\":[\"*\"]},"
             "{\"name\":\"abcc\",\"match\":{\"unit\":\"abc@c*\"},\"vms\":[\"*\"]},"
             "{\"name\":\"a\",\"match\":{\"unit\":\"a*\"},\"vms\":[\"w\"]},"
             "{\"name\":\"ab\",\"match\":{\"unit\":\"ab*\"},\"vms\":[\"w\",\"z\"]},"
             "{\"name\":\"tail\",\"match\":{\"unit\":\"*\"},\"vms\":[\"y\"]},"
             "{\"name\":\"abc\",\"match\":{\"unit\":\"abc*\"},\"vms\":[\"*\"]}]}");
    struct policy_subject subject = {.unit = "abc@x.service"};

    assert_int_equal(policy->vmm_index.n_groups, 6);
    assert_int_equal(policy->vmm_index.n_tail, 1);
    assert_string_equal(rule_index_select(&policy->vmm_index, &subject, "v", NULL)->name, "last");
    assert_string_equal(rule_index_select(&policy->vmm_index, &subject, "w", NULL)->name, "a");
    assert_string_equal(rule_index_select(&policy->vmm_index, &subject, "z", NULL)->name, "ab");
    assert_string_equal(rule_index_select(&policy->vmm_index, &subject, "y", NULL)->name, "tail");
    assert_string_equal(rule_index_select(&policy->vmm_index, &subject, "x", NULL)->name, "abc");
    subject.unit = NULL;
    assert_null(rule_index_select(&policy->vmm_index, &subject, "v", NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_naive),
        cmocka_unit_test(test_chain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
