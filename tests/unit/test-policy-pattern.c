/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which VM does a unit stand for? At most one, whatever is asked. */

#include "policy-test.h"
#include "policy/pattern.h"

static const struct {
    const char *pattern, *unit, *vm, *device; /* vm NULL: no match */
} units[] = {
    {"a.service", "a.service", "", ""},
    {"a.service", "b.service", NULL, NULL},
    {"*", "anything@at:all.service", "at", "all"},
    {"a@*.service", "a@vm.service", "vm", ""},
    {"a@*.service", "a@vm:dev.service", "vm", "dev"},
    {"a@*.service", "b@vm.service", NULL, NULL},
    {"a@*.service", "a@vm1.2.service", "vm1.2", ""},
    {"a@*.service", "a@web\\x2d1.service", "web-1", ""},
    {"a@*.service", "a@web-1.service", "web-1", ""},
    {"a@*.service", "a@web\\x2d1:uart\\x2d0.service", "web-1", "uart-0"},
    /* What gives no valid name stands for nothing. */
    {"a@*.service", "a@web\\x2f1.service", "", ""},
    {"a@*.service", "a@web\\x3aone.service", "", ""},
    {"a@*.service", "a@web\\x00.service", "", ""},
    {"a@*.service", "a@web\\x2.service", "", ""},
    {"a@*.service", "a@web\\X2d1.service", "", ""},
    {"a@*.service", "a@web\\x2D1.service", "", ""},
    {"a@*.service", "a@web\\xg01.service", "", ""},
    {"a@*.service", "a@-web.service", "", ""},
    {"a@*.service", "a@.service", "", ""},
    {"a@*.service", "a@vm:.service", "", ""},
    {"a@*.service", "a@vm:d:e.service", "", ""},
    {"a@*.service", "a@v@w.service", "", ""},
    {"a@*", "a@novm", "", ""},
    {"a.b@*", "a.b@novm", "", ""},
    {"a@*.service", "a@0123456789012345678901234567890123456789012345678901234567890123.service",
     "0123456789012345678901234567890123456789012345678901234567890123", ""},
    {"a@*.service", "a@01234567890123456789012345678901234567890123456789012345678901234.service", "", ""},
    /* The name is what stands in the placeholder's place, all of it. */
    {"vm-${vm}.service", "vm-a.service", "a", ""},
    {"vm-${vm}.service", "vm-a-b.service", "a-b", ""},
    {"vm-${vm}.service", "vm-a\\x2db.service", "a-b", ""},
    {"vm-${vm}.service", "vm-.service", NULL, NULL},
    {"vm-${vm}.service", "vm-a.scope", NULL, NULL},
    {"vm-${vm}.service", "xvm-a.service", NULL, NULL},
    {"vm-${vm}.service", "vm-.servic", NULL, NULL},
    {"vm-${vm}.service", "vm-a@b.service", NULL, NULL},
    {"vm-${vm}.service", "vm-a.service@b.service", NULL, NULL},
    {"${vm}@x.service", "a", NULL, NULL},
    {"vm@${vm}.service", "vm@a.service", "a", ""},
    {"vm@${vm}.service", "vm@a:d.service", NULL, NULL},
    {"vm@${vm}.service", "vm@a@b.service", NULL, NULL},
    {"vm@${vm}.service", "vm.service", NULL, NULL},
    {"d-*@${vm}.service", "d-x-y@a.service", "a", ""},
    {"d-*@${vm}.service", "d-x@y@a.service", NULL, NULL},
    {"d@${vm}:${device}.service", "d@a:u.service", "a", "u"},
    {"d@${vm}:${device}.service", "d@a.service", NULL, NULL},
    {"d@${vm}:${device}.service", "d@a:u:v.service", NULL, NULL},
    {"d@${vm}-x:${device}.service", "d@a-x-x:u.service", "a-x", "u"},
    {"d@${vm}-x:${device}.service", "d@a:b-x:u.service", NULL, NULL},
    {"d@${device}:${vm}.service", "d@u:a.service", "a", "u"},
    {"${device}@${vm}.service", "u\\x2d0@a.service", "a", "u-0"},
    {"${vm}@${vm}.service", "a@a.service", "a", ""},
    {"${vm}@${vm}.service", "a@b.service", NULL, NULL},
    {"${device}@*.service", "u@a.service", "a", "u"},
    {"${device}@*.service", "u@a:other.service", "a", "u"},
    {"machine\\x2d${vm}.scope", "machine\\x2da.scope", "a", ""},
    {"a\\x2d*.service", "a\\x2db.service", "", ""},
    {"a\\x2d*.service", "ax2db.service", NULL, NULL},
    {"a?.service", "ab.service", "", ""},
    {"a[b-d].service", "ac.service", "", ""},
    {"a[b-d].service", "ae.service", NULL, NULL},
    {"$a.service", "$a.service", "", ""},
};

static void test_units(void **state) {
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        struct pool pool = {0};
        struct unit_pattern pattern;
        struct binding binding = {0};
        const char *problem;
        bool matches;

        assert_int_equal(unit_pattern_compile(&pool, units[i].pattern, &pattern, &problem), 0);
        matches = unit_pattern_match(&pattern, units[i].unit, &binding);
        if (matches != !!units[i].vm)
            fail_msg("%s, %s: %d", units[i].pattern, units[i].unit, matches);
        assert_string_equal(binding.vm, units[i].vm ?: "");
        assert_string_equal(binding.device, units[i].device ?: "");
        if (matches)
            assert_memory_equal(units[i].unit, units[i].pattern, pattern.prefix);
        pool_clear(&pool);
    }
}

static void test_refused_units(void **state) {
    static const struct {
        const char *pattern, *part;
    } cases[] = {
        {"", "empty"},
        {"a-${foo}.service", "unknown placeholder"},
        {"a-${vm.service", "unknown placeholder"},
        {"a-${vm}", "ends in its type"},
        {"a@${vm}", "ends in its type"},
        {"*-${vm}.service", "wildcard beside"},
        {"a@${vm}*.service", "wildcard beside"},
        {"a@*${vm}.service", "wildcard beside"},
        {"a@?:${vm}.service", "wildcard beside"},
        {"a[b]${vm}.service", "wildcard beside"},
        {"a@${vm}:${device}*.service", "wildcard beside"},
        {"a@${vm}-${device}.service", "':' between"},
        {"a@${vm}${device}.service", "':' between"},
        {"a@${vm}:${vm}.service", "once on either side"},
        {"a@${vm}:${device}:${vm}.service", "once on either side"},
    };
    char text[PATTERN_MAX + 2];
    struct pool pool = {0};
    struct unit_pattern pattern;
    const char *problem;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (unit_pattern_compile(&pool, cases[i].pattern, &pattern, &problem) != -EINVAL)
            fail_msg("%s", cases[i].pattern);
        assert_non_null(strstr(problem, cases[i].part));
    }
    memset(text, 'a', sizeof(text));
    text[PATTERN_MAX + 1] = '\0';
    assert_int_equal(unit_pattern_compile(&pool, text, &pattern, &problem), -EINVAL);
    text[PATTERN_MAX] = '\0';
    assert_int_equal(unit_pattern_compile(&pool, text, &pattern, &problem), 0);
    assert_int_equal(pattern.prefix, PATTERN_MAX);
    pool_clear(&pool);
}

static void test_long_unit(void **state) {
    char unit[PATTERN_MAX + 2];
    struct pool pool = {0};
    struct unit_pattern pattern;
    struct binding binding;
    const char *problem;

    memset(unit, 'a', sizeof(unit));
    unit[PATTERN_MAX + 1] = '\0';
    assert_int_equal(unit_pattern_compile(&pool, "*", &pattern, &problem), 0);
    assert_false(unit_pattern_match(&pattern, unit, &binding));
    unit[PATTERN_MAX] = '\0';
    assert_true(unit_pattern_match(&pattern, unit, &binding));
    pool_clear(&pool);
}

/* 66: a glob of many wildcards costs no exponential time; the test's time limit would tell. */
static void test_66_many_wildcards(void **state) {
    char text[PATTERN_MAX + 1], unit[PATTERN_MAX + 1];
    struct pool pool = {0};
    struct unit_pattern pattern;
    struct binding binding;
    const char *problem;

    for (size_t i = 0; i < PATTERN_MAX; i++)
        text[i] = "*a"[i % 2];
    text[PATTERN_MAX - 1] = 'b';
    text[PATTERN_MAX] = '\0';
    memset(unit, 'a', sizeof(unit));
    unit[PATTERN_MAX] = '\0';
    assert_int_equal(unit_pattern_compile(&pool, text, &pattern, &problem), 0);
    assert_false(unit_pattern_match(&pattern, unit, &binding));
    pool_clear(&pool);
}

static void test_vms(void **state) {
    static const struct {
        const char *pattern, *vm;
        bool matches;
    } cases[] = {
        {"*", "x", true},           {"a*", "ab", true},         {"a*", "ba", false},
        {"web", "web", true},       {"web", "web2", false},     {"${vm}", "web", true},
        {"${vm}", "web2", false},   {"${vm}", "we", false},     {"${vm}-x", "web-x", true},
        {"${vm}-x", "web-y", false}, {"x-${vm}", "x-web", true}, {"${vm}.${device}", "web.u", true},
        {"${vm}${device}", "webu", true}, {"${device}", "u", true}, {"${vm}${device}", "web", false},
    };
    struct binding binding = {"web", "u"}, nothing = {"", ""};
    struct vm_pattern pattern;
    const char *problem;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(vm_pattern_compile(cases[i].pattern, &pattern, &problem), 0);
        if (vm_pattern_match(&pattern, &binding, cases[i].vm) != cases[i].matches)
            fail_msg("%s, %s", cases[i].pattern, cases[i].vm);
    }
    /* A unit that stands for nothing reaches nothing through a placeholder. */
    assert_int_equal(vm_pattern_compile("x${vm}", &pattern, &problem), 0);
    assert_false(vm_pattern_match(&pattern, &nothing, "x"));
    assert_int_equal(vm_pattern_compile("${vm}*", &pattern, &problem), -EINVAL);
    assert_int_equal(vm_pattern_compile("", &pattern, &problem), -EINVAL);
    assert_int_equal(vm_pattern_compile("${x}", &pattern, &problem), -EINVAL);
    assert_true(glob_is_open("**"));
    assert_false(glob_is_open("*a"));
    assert_false(glob_is_open(""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_refused_units),
        cmocka_unit_test(test_long_unit),
        cmocka_unit_test(test_66_many_wildcards),
        cmocka_unit_test(test_vms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
