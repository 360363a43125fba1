/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Policy texts: whatever they say, they load or give one printable line; what loads can be asked. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/explain.h"

/* Accounts that need no file. */
static int account(const char *name, unsigned *ret_id) {
    *ret_id = (unsigned) strlen(name);
    return *name == 'x' ? -ENOENT : 0;
}

static const struct policy_accounts accounts = {.user = account, .group = account};

static void require(bool holds) {
    if (!holds)
        abort();
}

static void ask(const struct policy *policy, const char *unit, const char *device) {
    static const struct ioregion_region regions[] = {
        {.space = IOREGION_PIO, .base = 0x3f8, .size = 8},
        {.space = IOREGION_MMIO, .base = 0xd0000000, .size = 0x1000, .user_data = 1}};
    static const uint32_t interrupts[] = {4};
    static const char *const groups[] = {"kvm"};
    struct explain_question question = {.unit = unit,
                                        .user = "root",
                                        .groups = groups,
                                        .n_groups = 1,
                                        .vm = "web-1",
                                        .device = device,
                                        .regions = regions,
                                        .n_regions = 2,
                                        .interrupts = interrupts,
                                        .n_interrupts = 1,
                                        .require = 1,
                                        .want = 0x1f};
    struct explain_answer answer;
    const char *unknown;

    require(policy_explain(policy, &accounts, &question, &answer, &unknown) == 0);
    require(answer.verdict.rule && *answer.verdict.reason);
    for (const char *c = answer.verdict.reason; *c; c++)
        require(*c >= ' ' && *c <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const units[] = {NULL, "uart@web-1.service", "vm-web\\x2d1.service", "d@web-1:com.service"};
    struct policy *policy = NULL;
    char *error = NULL;
    int r = policy_load_text("p", (const char *) data, size, &accounts, &policy, &error);

    require(r == 0 || r == -EBADMSG);
    require(!policy == !!r && !error == !r);
    for (const char *c = error ?: ""; *c; c++)
        require(*c >= ' ' && *c <= '~');
    for (size_t i = 0; policy && i < sizeof(units) / sizeof(units[0]); i++) {
        ask(policy, units[i], "com");
        ask(policy, units[i], NULL);
    }
    for (size_t i = 0; policy && policy_warning(policy, i); i++)
        require(strlen(policy_warning(policy, i)) > 0);
    free(error);
    policy_free(policy);
    return 0;
}
