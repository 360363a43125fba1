/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The ledger: limits are never passed, refunds give back, the rate limit refills, idle accounts are closed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <errno.h>

#include "daemon/ledger.h"

#define SECOND UINT64_C(1000000)

static void owners_have_accounts_of_their_own(void **state) {
    struct ledger ledger = {0};
    struct account *unit = ledger_account(&ledger, "a.service", 1000, 0);

    assert_ptr_equal(ledger_account(&ledger, "a.service", 2000, 0), unit); /* the unit counts, not its user */
    assert_ptr_not_equal(ledger_account(&ledger, "b.service", 1000, 0), unit);
    assert_ptr_not_equal(ledger_account(&ledger, NULL, 1000, 0), unit);
    assert_ptr_not_equal(ledger_account(&ledger, NULL, 1000, 0), ledger_account(&ledger, NULL, 1001, 0));
    assert_int_equal(ledger.n_accounts, 4);
    ledger_done(&ledger);
}

static void limits_hold(void **state) {
    struct ledger ledger = {0};
    struct account *account = ledger_account(&ledger, NULL, 1, 0);

    assert_int_equal(account_charge(account, CHARGE_VM, 0), -EDQUOT);
    assert_int_equal(account_charge(account, CHARGE_VM, 1), 0);
    assert_int_equal(account_charge(account, CHARGE_VM, 1), -EDQUOT);
    assert_int_equal(account_charge(account, CHARGE_DEVICE, 1), 0);
    account_refund(account, CHARGE_VM);
    assert_int_equal(account_charge(account, CHARGE_VM, 1), 0);
    assert_int_equal(account_charge(account, CHARGE_DEVICE, 1), -EDQUOT);
    ledger_done(&ledger);
}

static int attach(struct account *account, uint64_t rate, uint64_t now) {
    return account_spend(account, SPEND_ATTACH, 1, rate, now);
}

static void rate_refills(void **state) {
    struct ledger ledger = {0};
    struct account *account = ledger_account(&ledger, NULL, 1, 5 * SECOND);
    uint64_t now = 5 * SECOND;

    for (unsigned i = 0; i < 600; i++)
        assert_int_equal(attach(account, 10, now), 0);
    assert_int_equal(attach(account, 10, now), -EDQUOT);
    assert_int_equal(account_spend(account, SPEND_REGISTER, 1, 10, now), 0); /* is counted elsewhere */
    assert_int_equal(account_spent_until_usec(account, SPEND_ATTACH, 10), now + SECOND / 10);
    assert_int_equal(account_spent_until_usec(account, SPEND_ATTACH, 0), UINT64_MAX);
    assert_int_equal(attach(account, 10, now + SECOND / 10 - 1), -EDQUOT);
    assert_int_equal(attach(account, 10, now + SECOND / 10), 0);
    assert_int_equal(attach(account, 10, now + SECOND / 10), -EDQUOT);
    now += 1000 * SECOND;
    for (unsigned i = 0; i < 600; i++)
        assert_int_equal(attach(account, 10, now), 0);
    assert_int_equal(attach(account, 10, now), -EDQUOT); /* a burst is a minute's worth */
    assert_int_equal(attach(account, 0, now + 1000 * SECOND), -EDQUOT);
    assert_int_equal(attach(account, UINT64_MAX, now), 0);
    ledger_done(&ledger);
}

/* More than there is, at once: what was too much is waited for, and the account is remembered so long. */
static void debts_are_paid(void **state) {
    struct ledger ledger = {0};
    struct account *account = ledger_account(&ledger, NULL, 1, 0);

    assert_int_equal(account_spend(account, SPEND_LIST, 99, 100, 0), 0);
    assert_int_equal(account_spend(account, SPEND_LIST, 500, 100, 0), 0);
    assert_int_equal(account_spend(account, SPEND_LIST, 1, 100, 0), -EDQUOT);
    for (unsigned i = 0; i < 200; i++)
        assert_non_null(ledger_account(&ledger, NULL, 1000 + i, 4 * SECOND));
    account = ledger_account(&ledger, NULL, 1, 4 * SECOND);
    assert_int_equal(account_spend(account, SPEND_LIST, 1, 100, 4 * SECOND), -EDQUOT);
    assert_int_equal(account_spend(account, SPEND_LIST, 1, 100, 5 * SECOND), 0);
    assert_int_equal(account_spend(account, SPEND_LIST, UINT32_MAX, 1, 100 * SECOND), 0);
    assert_int_equal(account_spend(account, SPEND_LIST, 1, 1, 1000000 * SECOND), -EDQUOT);
    ledger_done(&ledger);
}

static void idle_accounts_are_closed(void **state) {
    struct ledger ledger = {0};
    struct account *held = ledger_account(&ledger, "held.service", 0, 0);
    char unit[32];

    assert_int_equal(account_charge(held, CHARGE_DEVICE, 1), 0);
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(unit, sizeof(unit), "%u.service", i);
        assert_non_null(ledger_account(&ledger, unit, 0, i * SECOND));
    }
    assert_true(ledger.n_accounts < 200);
    assert_ptr_equal(ledger_account(&ledger, "held.service", 0, 20000 * SECOND), held);
    assert_int_equal(account_charge(held, CHARGE_DEVICE, 1), -EDQUOT);
    ledger_done(&ledger);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners_have_accounts_of_their_own),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(rate_refills),
        cmocka_unit_test(debts_are_paid),
        cmocka_unit_test(idle_accounts_are_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
