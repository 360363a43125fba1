/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"
#include "internal/cleanup.h"

#define SECOND_NSEC UINT64_C(1000000000)
#define PRUNE_MIN 64

/* What may come at once: so many seconds' worth. Who starts, or comes back after a crash, brings much. */
static const uint64_t burst_nsec[SPENDINGS] = {
    [SPEND_REGISTER] = 60 * SECOND_NSEC,
    [SPEND_ATTACH] = 60 * SECOND_NSEC,
    [SPEND_LIST] = SECOND_NSEC,
};

static int account_compare(const void *left, const void *right) {
    const struct account *a = left, *b = right;

    if (!a->unit != !b->unit)
        return a->unit ? 1 : -1;
    if (a->unit)
        return strcmp(a->unit, b->unit);
    return a->uid < b->uid ? -1 : a->uid > b->uid;
}

static void account_free(void *p) {
    struct account *account = p;

    free(account->unit);
    free(account);
}

/* An account that holds nothing is remembered until its rate limits have nothing to remember. */
static bool account_is_idle(const struct account *account, uint64_t now_usec) {
    for (unsigned i = 0; i < SPENDINGS; i++)
        if (account->settled_nsec[i] > now_usec * 1000)
            return false;
    return account->users == 0;
}

struct idle_walk {
    uint64_t now_usec;
    struct account *idle[PRUNE_MIN];
    size_t n_idle;
};

static void collect_idle(const void *node, VISIT visit, void *userdata) {
    struct account *account = *(struct account *const *) node;
    struct idle_walk *walk = userdata;

    if ((visit == postorder || visit == leaf) && walk->n_idle < PRUNE_MIN && account_is_idle(account, walk->now_usec))
        walk->idle[walk->n_idle++] = account;
}

static void ledger_prune(struct ledger *ledger, uint64_t now_usec) {
    struct idle_walk walk = {.now_usec = now_usec};

    do {
        walk.n_idle = 0;
        twalk_r(ledger->root, collect_idle, &walk);
        for (size_t i = 0; i < walk.n_idle; i++) {
            tdelete(walk.idle[i], &ledger->root, account_compare);
            account_free(walk.idle[i]);
            ledger->n_accounts--;
        }
    } while (walk.n_idle == PRUNE_MIN);

    /* so that pruning costs a constant an account opened */
    ledger->prune_at = ledger->n_accounts < PRUNE_MIN ? PRUNE_MIN : 2 * ledger->n_accounts;
}

struct account *ledger_account(struct ledger *ledger, const char *unit, uid_t uid, uint64_t now_usec) {
    struct account key = {.unit = (char *) unit, .uid = uid};
    struct account **node = tfind(&key, &ledger->root, account_compare);
    struct account *account;

    if (node)
        return *node;
    if (ledger->n_accounts >= ledger->prune_at)
        ledger_prune(ledger, now_usec);

    account = calloc(1, sizeof(*account));
    if (!account)
        return NULL;
    account->uid = uid;
    account->unit = unit ? strdup(unit) : NULL;
    if ((unit && !account->unit) || !tsearch(account, &ledger->root, account_compare)) {
        account_free(account);
        return NULL;
    }
    ledger->n_accounts++;
    return account;
}

static uint64_t *account_counter(struct account *account, enum charge what) {
    return what == CHARGE_VM ? &account->vms : &account->devices;
}

int account_charge(struct account *account, enum charge what, uint64_t limit) {
    uint64_t *counter = account_counter(account, what);

    if (*counter >= limit)
        return -EDQUOT;
    (*counter)++;
    account->users++;
    return 0;
}

void account_refund(struct account *account, enum charge what) {
    (*account_counter(account, what))--;
    account->users--;
}

int account_spend(struct account *account, enum spending what, uint32_t n, uint64_t rate, uint64_t now_usec) {
    uint64_t now = now_usec * 1000, *settled = &account->settled_nsec[what];
    uint64_t from = *settled > now ? *settled : now;

    if (rate == 0 || from + SECOND_NSEC / rate > now + burst_nsec[what])
        return -EDQUOT;
    *settled = from + n * SECOND_NSEC / rate;
    return 0;
}

uint64_t account_spent_until_usec(const struct account *account, enum spending what, uint64_t rate) {
    return rate == 0 ? UINT64_MAX : (account->settled_nsec[what] + SECOND_NSEC / rate - burst_nsec[what]) / 1000;
}

void ledger_done(struct ledger *ledger) {
    tdestroy(ledger->root, account_free);
    *ledger = (struct ledger){0};
}
