/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_LEDGER_H
#define DAEMON_LEDGER_H

/*
 * Who holds how much. An account is opened for an owner (its unit; its user where it has none), charged before
 * something is made and refunded when it is gone, so that no limit is passed, not even for a moment. Pure: the clock
 * is handed in.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct account {
    char *unit; /* NULL: by user */
    uid_t uid;
    unsigned users; /* charges that are not refunded yet */
    uint64_t vms, devices;
    uint64_t tokens; /* of the rate limit, in millionths of an attach */
    uint64_t filled_usec;
};

struct ledger {
    void *root;
    size_t n_accounts, prune_at;
};

/* What an account is charged for. */
enum charge { CHARGE_VM, CHARGE_DEVICE };

/* Find or open the account of an owner. NULL when out of memory. Valid until the next call, or while charged. */
struct account *ledger_account(struct ledger *ledger, const char *unit, uid_t uid, uint64_t now_usec);

/* Charge one. -EDQUOT when that would pass @limit. */
int account_charge(struct account *account, enum charge what, uint64_t limit);
void account_refund(struct account *account, enum charge what);

/* May one more attach begin now, at @rate a second, with bursts of one second's worth? -EDQUOT when not. */
int account_attach(struct account *account, uint64_t rate, uint64_t now_usec);

/* Close all accounts. */
void ledger_done(struct ledger *ledger);

#endif
