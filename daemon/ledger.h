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

/* What comes at a rate. */
enum spending { SPEND_REGISTER, SPEND_ATTACH, SPEND_LIST, SPENDINGS };

struct account {
    char *unit; /* NULL: by user */
    uid_t uid;
    unsigned users; /* charges that are not refunded yet */
    uint64_t vms, devices;
    uint64_t settled_nsec[SPENDINGS]; /* when the rate limit will have nothing to remember */
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

/*
 * Spend @n, at @rate a second, with bursts of a minute's worth, of lists of a second's. -EDQUOT when not even one is
 * left. Who asks for more than is left gets it, and has less the next time: a list can't be given in part.
 */
int account_spend(struct account *account, enum spending what, uint32_t n, uint64_t rate, uint64_t now_usec);
/* After -EDQUOT: before that it comes again, at this rate, whatever else is spent. UINT64_MAX for ever. */
uint64_t account_spent_until_usec(const struct account *account, enum spending what, uint64_t rate);

/* Close all accounts. */
void ledger_done(struct ledger *ledger);

#endif
