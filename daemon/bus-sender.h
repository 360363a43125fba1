/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_SENDER_H
#define DAEMON_BUS_SENDER_H

/*
 * The connections to the bus that have calls here, by their unique names, and the last of those that had: who they are,
 * and whether they have used their rates up.
 *
 * Who a connection is, the bus reads from its socket when it connects, and never again; and no bus gives a unique name
 * twice. (dbus-daemon counts on in two numbers, dbus-broker in one of 64 bits.) So what the bus said once holds for all
 * that comes from that name until our own connection ends: then the bus may be another one, and all is forgotten.
 */

#include "bus-caller.h"
#include "bus.h"

/* Of those that have no calls here so many are remembered. */
#define SENDERS_IDLE_MAX 256

struct call;

struct sender {
    struct bus *bus;
    char *name;
    unsigned n_calls;
    struct caller caller;       /* uid is -1 while not known */
    struct caller_query *query; /* NULL where nobody asks */
    TAILQ_HEAD(, call) asking;  /* calls that wait for the answer, of bus-call.c */
    TAILQ_ENTRY(sender) idle;   /* while it has no calls */
    bool forgotten;             /* the name may be another's by now: it goes with its last call */
    struct spent *spent;        /* its rates that were used up, NULL for none */
};

/* Find or open the sender of a message for one call more; NULL when out of memory. */
struct sender *sender_enter(struct bus *bus, const char *name);
/* The call is over. May free the sender. */
void sender_leave(struct sender *sender);
/* Who sends from now on is somebody else, under whatever name. */
void bus_forget_senders(struct bus *bus);

bool sender_is_known(const struct sender *sender);
/* Takes what @caller has. */
void sender_set_caller(struct sender *sender, struct caller *caller);

/*
 * A request of the sender was refused once it had proven itself, since its unit or user has used a rate up. Until then
 * every other one would be. Whom a lease proves to be the caller is the process that made the connection, so that is
 * whom it holds for; who is refused by it unproven could have got no more. A policy that is loaded meanwhile ends it.
 */
void sender_note_refusal(struct sender *sender, enum spending what, const struct refusal *refusal);
/* That refusal, while it holds; NULL for none. */
const struct refusal *sender_refusal(const struct sender *sender, enum spending what);

#endif
