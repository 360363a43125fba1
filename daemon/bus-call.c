/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bus-call.h"
#include "bus-error.h"
#include "bus-sender.h"
#include "journal.h"

struct call *call_free(struct call *call) {
    if (!call)
        return NULL;
    TAILQ_REMOVE(&call->bus->calls, call, entry);
    call->bus->n_calls--;
    if (call->asking)
        TAILQ_REMOVE(&call->sender->asking, call, asking_entry);
    sender_leave(call->sender);
    if (call->admission)
        admission_cancel(call->admission);
    sd_event_source_disable_unref(call->turn);
    sd_bus_error_free(&call->failure);
    sd_bus_message_unref(call->message);
    free(call->vm);
    free(call->device);
    free(call);
    return NULL;
}

static void fail(struct call *call) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    const struct audit_record record = {
        .vm = call->vm,
        .device = call->device,
        .error = call->failure.name,
        .reason = call->failure.message,
        .pid = call->caller->pid,
        .uid = call->caller->uid,
    };

    audit(AUDIT_DENY, &record);
    if (sd_bus_message_new_method_error(call->message, &reply, &call->failure) >= 0) {
        call_reply_message(call, reply);
        return;
    }
    sd_bus_reply_method_errno(call->message, -ENOMEM, NULL); /* nobody is to wait for what does not come */
    call_free(call);
}

void call_refuse(struct call *call, int r, sd_bus_error *error) {
    if (error && sd_bus_error_is_set(error))
        sd_bus_error_move(&call->failure, error);
    else
        sd_bus_error_set_errno(&call->failure, r);
    if (!call->asking)
        fail(call);
}

/* Once it is known who calls, or that nobody says (@error). */
static void proceed(struct call *call, int error) {
    if (sd_bus_error_is_set(&call->failure)) {
        fail(call);
        return;
    }
    if (error < 0) {
        if (call->admission)
            admission_cancel(call->admission);
        call->admission = NULL;
        bus_error_refuse(&call->failure, REFUSAL_IDENTITY_UNPROVEN, "the bus does not tell who the caller is (%s)",
                         strerrordesc_np(-error));
        fail(call);
    } else if (call->operators_only && !caller_operator(call->caller, call->bus->broker->policy)) {
        bus_error_refuse(&call->failure, REFUSAL_POLICY_DENIED,
                         "%s is for operators: the users and groups that \"operators\" in the policy names, and uid %u "
                         "is none of them",
                         sd_bus_message_get_member(call->message), call->caller->uid);
        fail(call);
    } else {
        call->next(call);
    }
}

static void go_on(struct call *call, int error) {
    if (call->asking)
        TAILQ_REMOVE(&call->sender->asking, call, asking_entry);
    call->asking = false;
    proceed(call, error);
}

static int on_turn(sd_event_source *source, void *userdata) {
    go_on(userdata, 0);
    return 0;
}

/*
 * Not from within the handler: there the message, and its descriptors, are still the bus's. On failure the call is
 * gone.
 */
static int wait_for_turn(struct call *call) {
    int r = sd_event_add_defer(call->bus->event, &call->turn, on_turn, call);

    if (r < 0)
        call_free(call);
    return r < 0 ? r : 1;
}

static void on_caller(void *userdata, int error, struct caller *caller) {
    struct sender *sender = userdata;
    struct call *call;

    sender->query = caller_query_free(sender->query);
    if (caller)
        sender_set_caller(sender, caller);
    sender->n_calls++; /* it stays, whatever becomes of its calls */
    while ((call = TAILQ_FIRST(&sender->asking)))
        go_on(call, error);
    sender_leave(sender);
}

static bool is_one_too_many(struct call *call) {
    if (call->bus->n_calls > CALLS_MAX)
        bus_error_refuse(&call->failure, REFUSAL_BUSY, "%d calls wait for their answers; try again", CALLS_MAX);
    else if (call->sender->n_calls > CALLS_OF_SENDER_MAX)
        bus_error_refuse(&call->failure, REFUSAL_BUSY, "%d calls of yours wait for their answers; try again",
                         CALLS_OF_SENDER_MAX);
    return sd_bus_error_is_set(&call->failure);
}

int call_new(struct call **ret_call, struct bus *bus, sd_bus_message *message) {
    struct sender *sender = sender_enter(bus, sd_bus_message_get_sender(message));
    struct call *call;

    if (!sender)
        return -ENOMEM;
    call = calloc(1, sizeof(*call));
    if (!call) {
        sender_leave(sender);
        return -ENOMEM;
    }
    call->bus = bus;
    call->sender = sender;
    call->caller = &sender->caller;
    call->message = sd_bus_message_ref(message);
    TAILQ_INSERT_TAIL(&bus->calls, call, entry);
    bus->n_calls++;
    if (is_one_too_many(call))
        return wait_for_turn(call);
    *ret_call = call;
    return 0;
}

int call_new_known(struct call **ret_call, struct bus *bus, sd_bus_message *message, call_function_t next) {
    struct call *call;
    int r;

    r = call_new(&call, bus, message);
    if (r != 0)
        return r;
    call->next = next;
    if (!sender_is_known(call->sender) && !call->sender->query)
        r = caller_query_new(&call->sender->query, message, on_caller, call->sender);
    if (r < 0) {
        call_free(call);
        return r;
    }
    TAILQ_INSERT_TAIL(&call->sender->asking, call, asking_entry);
    call->asking = true;
    *ret_call = call;
    return 0;
}

int call_begin(struct call *call) {
    return sender_is_known(call->sender) ? wait_for_turn(call) : 1;
}

int call_new_operator(struct bus *bus, sd_bus_message *message, call_function_t next) {
    struct call *call;
    int r;

    r = call_new_known(&call, bus, message, next);
    if (r != 0)
        return r;
    call->operators_only = true;
    return call_begin(call);
}

void call_reply(struct call *call, const char *types, ...) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    va_list arguments;
    int r;

    r = sd_bus_message_new_method_return(call->message, &reply);
    if (r >= 0) {
        va_start(arguments, types);
        r = sd_bus_message_appendv(reply, types, arguments);
        va_end(arguments);
    }
    if (r >= 0)
        call_reply_message(call, reply);
    else
        call_refuse(call, r, NULL);
}

/* The call goes first, and with it the descriptors that came with it: who has the reply sees none of them left. */
void call_reply_message(struct call *call, sd_bus_message *reply) {
    call_free(call);
    sd_bus_send(NULL, reply, NULL); /* nobody there to read it: no matter */
}

void bus_end_calls(struct bus *bus) {
    struct call *call;

    while ((call = TAILQ_FIRST(&bus->calls)))
        if (sd_bus_error_is_set(&call->failure))
            fail(call);
        else
            call_free(call);
}
