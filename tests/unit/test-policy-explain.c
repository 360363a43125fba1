/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions with names of accounts, and the accounts of this system. */

#include <ioregion/wire.h>

#include "policy-test.h"
#include "policy/accounts.h"
#include "policy/explain.h"

static const char text[] =
    "{\"version\":1,"
    "\"vmms\":[{\"name\":\"v\",\"match\":{\"user\":\"root\",\"group\":\"root\"},\"vms\":[\"a\"],\"dispatch\":[\"vmm\"]}],"
    "\"devices\":[{\"name\":\"d\",\"match\":{\"unit\":\"u@*.service\"},\"vms\":[\"${vm}\"],\"features\":[\"replay\",\"state\"],"
    "\"regions\":[{\"space\":\"pio\",\"base\":\"0x3f8\",\"size\":\"8\"}]}]}";

static const struct ioregion_region serial = {.space = IOREGION_PIO, .base = 0x3f8, .size = 8};

static struct explain_answer ask(const struct policy_accounts *accounts, struct explain_question question) {
    _cleanup_(policy_freep) struct policy *policy = load(text);
    struct explain_answer answer;
    const char *unknown;

    assert_int_equal(policy_explain(policy, accounts, &question, &answer, &unknown), 0);
    answer.verdict.rule = NULL; /* gone with the policy */
    return answer;
}

static void test_attach(void **state) {
    struct explain_question q = {.unit = "u@a.service", .vm = "a", .device = "x", .regions = &serial, .n_regions = 1,
                                 .require = IOREGION_FEATURE_REPLAY, .want = IOREGION_FEATURES_ALL};
    struct explain_answer answer = ask(&test_accounts, q);

    assert_true(answer.verdict.allowed);
    assert_int_equal(answer.granted, IOREGION_FEATURE_REPLAY | IOREGION_FEATURE_STATE);
    q.dispatcher = IOREGION_FEATURE_REPLAY;
    assert_int_equal(ask(&test_accounts, q).granted, IOREGION_FEATURE_REPLAY);
    q.ceiling = IOREGION_FEATURE_STATE;
    answer = ask(&test_accounts, q);
    assert_false(answer.verdict.allowed);
    assert_string_equal(answer.verdict.reason, "the feature replay is required, but the VM ceiling lacks it");
    q.require = UINT64_C(1) << 40;
    assert_string_equal(ask(&test_accounts, q).verdict.reason,
                        "the feature (unknown) is required, but the dispatcher lacks it");
    q = (struct explain_question){.unit = "u@a.service", .vm = "a", .device = "x", .require = IOREGION_FEATURE_POSTED_WRITES};
    assert_string_equal(ask(&test_accounts, q).verdict.reason,
                        "the feature posted-writes is required, but the policy lacks it");
    q.vm = "b";
    assert_false(ask(&test_accounts, q).verdict.allowed);
}

static void test_register(void **state) {
    static const char *const groups[] = {"kvm", "root"};
    struct explain_question q = {.vm = "a", .user = "root", .groups = groups, .n_groups = 2};

    assert_true(ask(&test_accounts, q).verdict.allowed);
    q.dispatch = POLICY_DISPATCH_KERNEL;
    assert_false(ask(&test_accounts, q).verdict.allowed);
    q = (struct explain_question){.vm = "a", .user = "root", .groups = groups, .n_groups = 1};
    assert_false(ask(&test_accounts, q).verdict.allowed);
    q = (struct explain_question){.vm = "a", .groups = groups, .n_groups = 2};
    assert_false(ask(&test_accounts, q).verdict.allowed);
    /* With the system's accounts, root is in root's group without a word. */
    q = (struct explain_question){.vm = "a", .user = "root"};
    assert_true(ask(NULL, q).verdict.allowed);
    assert_false(ask(&test_accounts, q).verdict.allowed);
}

static void test_unknown(void **state) {
    static const char *const groups[] = {"root", "no-such-group"};
    _cleanup_(policy_freep) struct policy *policy = load(text);
    struct explain_answer answer;
    const char *unknown = NULL;

    assert_int_equal(policy_explain(policy, NULL, &(struct explain_question){.user = "root"}, &answer, &unknown), -EINVAL);
    assert_int_equal(policy_explain(policy, NULL, &(struct explain_question){.vm = "a", .user = "no-such-user"}, &answer,
                                    &unknown), -ENOENT);
    assert_string_equal(unknown, "no-such-user");
    assert_int_equal(policy_explain(policy, NULL, &(struct explain_question){.vm = "a", .groups = groups, .n_groups = 2},
                                    &answer, &unknown), -ENOENT);
    assert_string_equal(unknown, "no-such-group");
}

static void test_system_accounts(void **state) {
    gid_t *gids = NULL, gid = 1;
    uid_t uid = 1;
    size_t n = 0;

    assert_int_equal(system_accounts.user("root", &uid), 0);
    assert_int_equal(uid, 0);
    assert_int_equal(system_accounts.user("no-such-user", &uid), -ENOENT);
    assert_int_equal(system_accounts.group("root", &gid), 0);
    assert_int_equal(gid, 0);
    assert_int_equal(system_accounts.group("no-such-group", &gid), -ENOENT);
    assert_int_equal(system_groups("root", &gids, &n), 0);
    assert_true(n >= 1);
    assert_int_equal(gids[0], 0);
    assert_int_equal(system_groups("no-such-user", &gids, &n), -ENOENT);
    free(gids);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_register),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_system_accounts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
