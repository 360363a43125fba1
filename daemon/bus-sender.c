/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "bus-sender.h"

/* Of each kind the last refusal, and the policy that it was by. */
struct spent {
    struct refusal refusal;
    uint64_t policy_generation;
};

static int sender_compare(const void *left, const void *right) {
    const struct sender *a = left, *b = right;

    return strcmp(a->name, b->name);
}

static struct sender *sender_free(struct sender *sender) {
    caller_query_free(sender->query);
    caller_done(&sender->caller);
    free(sender->spent);
    free(sender->name);
    free(sender);
    return NULL;
}
DEFINE_CLEANUP(sender_free, struct sender *);

static void sender_forget(struct sender *sender) {
    if (!sender->forgotten)
        tdelete(sender, &sender->bus->senders, sender_compare);
    sender_free(sender);
}

static void idle_remove(struct sender *sender) {
    TAILQ_REMOVE(&sender->bus->idle_senders, sender, idle);
    sender->bus->n_idle_senders--;
}

static struct sender *sender_new(struct bus *bus, const char *name) {
    _cleanup_(sender_freep) struct sender *sender = calloc(1, sizeof(*sender));

    if (!sender)
        return NULL;
    TAILQ_INIT(&sender->asking);
    sender->bus = bus;
    sender->caller.uid = (uid_t) -1;
    sender->name = strdup(name);
    if (!sender->name || !tsearch(sender, &bus->senders, sender_compare))
        return NULL;
    return STEAL(sender);
}

struct sender *sender_enter(struct bus *bus, const char *name) {
    const struct sender key = {.name = (char *) name};
    struct sender **node = tfind(&key, &bus->senders, sender_compare);
    struct sender *sender = node ? *node : sender_new(bus, name);

    if (!sender)
        return NULL;
    if (node && sender->n_calls == 0)
        idle_remove(sender);
    sender->n_calls++;
    return sender;
}

/* What is not known is not worth remembering. The one that was idle for the longest time makes room. */
void sender_leave(struct sender *sender) {
    struct bus *bus = sender->bus;

    if (--sender->n_calls > 0)
        return;
    if (!sender_is_known(sender) || sender->forgotten)
        return sender_forget(sender);
    TAILQ_INSERT_TAIL(&bus->idle_senders, sender, idle);
    if (++bus->n_idle_senders <= SENDERS_IDLE_MAX)
        return;
    sender = TAILQ_FIRST(&bus->idle_senders);
    idle_remove(sender);
    sender_forget(sender);
}

static void forget_busy(void *p) {
    struct sender *sender = p;

    sender->forgotten = true;
}

void bus_forget_senders(struct bus *bus) {
    struct sender *sender;

    while ((sender = TAILQ_FIRST(&bus->idle_senders))) {
        idle_remove(sender);
        sender_forget(sender);
    }
    tdestroy(bus->senders, forget_busy);
    bus->senders = NULL;
}

bool sender_is_known(const struct sender *sender) {
    return sender->caller.uid != (uid_t) -1;
}

void sender_set_caller(struct sender *sender, struct caller *caller) {
    sender->caller = *caller;
    *caller = (struct caller){.uid = (uid_t) -1};
}

void sender_note_refusal(struct sender *sender, enum spending what, const struct refusal *refusal) {
    if (!refusal || refusal->until_usec == 0)
        return;
    if (!sender->spent)
        sender->spent = calloc(SPENDINGS, sizeof(*sender->spent));
    if (sender->spent)
        sender->spent[what] = (struct spent){*refusal, sender->bus->broker->policy_generation};
}

const struct refusal *sender_refusal(const struct sender *sender, enum spending what) {
    const struct bus *bus = sender->bus;
    const struct spent *spent = sender->spent ? &sender->spent[what] : NULL;
    uint64_t now;

    if (!spent || spent->policy_generation != bus->broker->policy_generation ||
        sd_event_now(bus->event, CLOCK_MONOTONIC, &now) < 0 || spent->refusal.until_usec <= now)
        return NULL;
    return &spent->refusal;
}
