/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TESTS_POLICY_TEST_H
#define TESTS_POLICY_TEST_H

/* What the policy tests share: cmocka, accounts that every machine has, loading that must or must not work. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "policy/policy.h"

static inline int test_account(const char *name, unsigned *ret_id) {
    static const struct {
        const char *name;
        unsigned id;
    } accounts[] = {{"root", 0}, {"qemu", 64055}, {"uart", 990}, {"kvm", 106}, {"sudo", 27}};

    for (size_t i = 0; i < sizeof(accounts) / sizeof(accounts[0]); i++)
        if (!strcmp(name, accounts[i].name)) {
            *ret_id = accounts[i].id;
            return 0;
        }
    return -ENOENT;
}

static const struct policy_accounts test_accounts = {.user = test_account, .group = test_account};

__attribute__((unused)) static struct policy *load(const char *text) {
    struct policy *policy = NULL;
    char *error = NULL;

    if (policy_load_text("p.json", text, strlen(text), &test_accounts, &policy, &error) < 0)
        fail_msg("%s\n%s", error, text);
    assert_null(error);
    return policy;
}

/* The load must fail, with a message that begins with "p.json:" and @begin and has @part in it. */
__attribute__((unused)) static void load_fails(const char *text, size_t size, const char *begin, const char *part) {
    struct policy *policy = NULL;
    char *error = NULL, start[64];
    int r = policy_load_text("p.json", text, size, &test_accounts, &policy, &error);

    snprintf(start, sizeof(start), "p.json:%s: ", begin);
    if (r != -EBADMSG || !error || strncmp(error, start, strlen(start)) || !strstr(error, part))
        fail_msg("%.200s\n gave %d \"%s\"\n not %s... %s", text, r, error ?: "", start, part);
    assert_null(policy);
    free(error);
}

#endif
