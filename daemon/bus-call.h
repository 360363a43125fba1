/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_CALL_H
#define DAEMON_BUS_CALL_H

/*
 * A method call that is answered later. It ends in exactly one of call_reply(), call_reply_message() and
 * call_refuse(), which free it; refusals are audited here and nowhere else.
 */

#include "bus-caller.h"
#include "bus.h"

/*
 * Calls that wait for something: of one connection to the bus, and of all together. One more is answered with Busy,
 * and waits for no more than its turn.
 * A user has some hundreds of connections at most.
 */
#define CALLS_OF_SENDER_MAX 32
#define CALLS_MAX 16384

struct call;
struct sender;
typedef void (*call_function_t)(struct call *call);

struct call {
    struct bus *bus;
    TAILQ_ENTRY(call) entry;
    sd_bus_message *message;
    struct sender *sender;
    TAILQ_ENTRY(call) asking_entry;
    bool asking;                 /* who the caller is */
    const struct caller *caller; /* the sender's; uid is -1 while not known */
    call_function_t next;        /* when the caller is known */
    sd_event_source *turn;       /* it is, or need not be, and the handler has returned */
    bool operators_only;
    struct admission *admission;
    char *vm, *device;    /* what it is about, for the audit; NULL for not known */
    sd_bus_error failure; /* a refusal that waits for the caller to be known */
};

/* A call that any caller may make. 1, to be returned from the method handler: it is one too many, and refused. */
int call_new(struct call **ret_call, struct bus *bus, sd_bus_message *message);
/*
 * The same, and ask who the caller is, where that is not known; then @next. When that fails, a pending admission is
 * cancelled, and refused.
 */
int call_new_known(struct call **ret_call, struct bus *bus, sd_bus_message *message, call_function_t next);
/*
 * What the handler had to do first is done: once it has returned, and the caller is known, @next comes. To be returned
 * from a method handler; after an error the call is gone.
 */
int call_begin(struct call *call);
/* For operators: everyone else is refused. To be returned from a method handler. */
int call_new_operator(struct bus *bus, sd_bus_message *message, call_function_t next);

void call_reply(struct call *call, const char *types, ...);
void call_reply_message(struct call *call, sd_bus_message *reply);
/* @error is taken; where it is not set, @r makes it. Sent when the caller is known, so that the audit can name it. */
void call_refuse(struct call *call, int r, sd_bus_error *error);

/* Without a reply. */
struct call *call_free(struct call *call);
/* The daemon ends: who is refused is told so, whether it is known who that is or not; the others hear nothing. */
void bus_end_calls(struct bus *bus);

#endif
