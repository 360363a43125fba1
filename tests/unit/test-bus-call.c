/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * When a method call is answered: never from within its handler, whatever becomes of it, so that the descriptors that
 * came with it are closed before its caller hears. The caller and the bus are played by the test, over a socket: it
 * says who the caller is when it likes, and takes the loop's turns one by one.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/bus-call.h"
#include "daemon/bus-error.h"
#include "daemon/bus-sender.h"

#define ME ":1.7"

/* A call, from where it was sent. */
struct asked {
    int pipe; /* ends when the other end of it, which went along, is closed everywhere */
    unsigned replies;
    char error[64], text[128]; /* of the reply; empty for none */
};

struct rig {
    sd_event *event;
    struct bus *bus;
    sd_bus *client;
    int fd;               /* the client's */
    bool refuse;          /* what calls come to, at once */
    unsigned handled;     /* calls that the handler has seen */
    unsigned questions;   /* for the caller */
    bool silent;          /* about it */
    struct call *waiting; /* the last call that went on, and has no answer yet */
};

int __real_sd_event_add_defer(sd_event *event, sd_event_source **ret_source, sd_event_handler_t handler,
                              void *userdata);
int __wrap_sd_event_add_defer(sd_event *event, sd_event_source **ret_source, sd_event_handler_t handler,
                              void *userdata);

static bool out_of_memory;

int __wrap_sd_event_add_defer(sd_event *event, sd_event_source **ret_source, sd_event_handler_t handler,
                              void *userdata) {
    return out_of_memory ? -ENOMEM : __real_sd_event_add_defer(event, ret_source, handler, userdata);
}

int __real_sd_bus_send(sd_bus *bus, sd_bus_message *message, uint64_t *ret_cookie);
int __wrap_sd_bus_send(sd_bus *bus, sd_bus_message *message, uint64_t *ret_cookie);

static bool ended(int pipe) {
    struct pollfd end = {.fd = pipe};

    return poll(&end, 1, 0) == 1 && end.revents & POLLHUP;
}

static int hurried = -1; /* when the daemon answers, this has ended */

int __wrap_sd_bus_send(sd_bus *bus, sd_bus_message *message, uint64_t *ret_cookie) {
    assert_true(hurried < 0 || ended(hurried));
    return __real_sd_bus_send(bus, message, ret_cookie);
}

/* The daemon's side */

static void on_known(struct call *call) {
    struct rig *rig = (struct rig *) call->bus->userdata;

    rig->waiting = call;
}

static int on_call(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    _cleanup_(sd_bus_error_free) sd_bus_error failure = SD_BUS_ERROR_NULL;
    struct rig *rig = userdata;
    struct call *call;
    int r;

    rig->handled++;
    r = call_new_known(&call, rig->bus, message, on_known);
    if (r != 0)
        return r;
    if (rig->refuse) {
        r = bus_error_refuse(&failure, REFUSAL_NO_SUCH_VM, "there is no VM like this");
        call_refuse(call, r, &failure);
    }
    return call_begin(call);
}

/* The client's, and the bus's */

static int on_question(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    struct rig *rig = userdata;

    if (!sd_bus_message_is_method_call(message, NULL, "GetConnectionCredentials"))
        return 0;
    rig->questions++;
    if (rig->silent)
        return 1;
    return sd_bus_reply_method_return(message, "a{sv}", 2, "ProcessID", "u", (uint32_t) getpid(), "UnixUserID", "u",
                                      (uint32_t) getuid());
}

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const sd_bus_error *error = sd_bus_message_get_error(reply);
    struct asked *asked = userdata;

    asked->replies++;
    if (error) {
        snprintf(asked->error, sizeof(asked->error), "%s", error->name);
        snprintf(asked->text, sizeof(asked->text), "%s", error->message);
    }
    return 1;
}

static void ask(struct rig *rig, struct asked *asked, const char *sender) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    int ends[2];

    *asked = (struct asked){0};
    assert_return_code(pipe2(ends, O_CLOEXEC), errno);
    asked->pipe = ends[0];
    assert_true(sd_bus_message_new_method_call(rig->client, &message, BUS_NAME, "/call", "org.example", "Call") >= 0);
    assert_true(sd_bus_message_set_sender(message, sender) >= 0);
    assert_true(sd_bus_message_append(message, "h", ends[1]) >= 0);
    assert_true(sd_bus_call_async(rig->client, NULL, message, on_reply, asked, 0) >= 0);
    message = sd_bus_message_unref(message);
    close(ends[1]);
    hurried = ends[0];
}

/* The client takes all that there is to take. */
static void listen_to_the_daemon(const struct rig *rig) {
    while (sd_bus_process(rig->client, NULL) > 0)
        ;
}

static bool daemon_has_spoken(const struct rig *rig) {
    return poll(&(struct pollfd){.fd = rig->fd, .events = POLLIN}, 1, 0) == 1;
}

static void take_a_turn(const struct rig *rig) {
    assert_true(sd_event_run(rig->event, 0) > 0);
}

/* Until the handler has seen the call, and not a turn more. */
static void hand_over(const struct rig *rig) {
    unsigned before = rig->handled;

    while (rig->handled == before)
        take_a_turn(rig);
    assert_int_equal(rig->handled, before + 1);
}

static void settle(const struct rig *rig) {
    do
        listen_to_the_daemon(rig);
    while (sd_event_run(rig->event, 0) > 0 || daemon_has_spoken(rig));
}

/* So that the next call of this sender waits for nobody. */
static void make_known(struct rig *rig, const char *sender) {
    struct asked asked;

    ask(rig, &asked, sender);
    settle(rig);
    hurried = -1;
    assert_non_null(rig->waiting);
    call_reply(STEAL(rig->waiting), "");
    settle(rig);
    assert_int_equal(asked.replies, 1);
    assert_string_equal(asked.error, "");
    close(asked.pipe);
}

static sd_bus *connection_new(int fd, bool server) {
    sd_id128_t id = {};
    sd_bus *connection;

    assert_return_code(sd_bus_new(&connection), 0);
    assert_true(sd_bus_set_fd(connection, fd, fd) >= 0);
    assert_true(!server || sd_bus_set_server(connection, true, id) >= 0);
    assert_true(sd_bus_start(connection) >= 0);
    return connection;
}

static struct rig *rig_new(void) {
    struct rig *rig = calloc(1, sizeof(*rig));
    int pair[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), errno);
    assert_true(sd_event_new(&rig->event) >= 0);
    assert_return_code(bus_new(&rig->bus, rig->event, "/nowhere"), 0);
    rig->bus->userdata = rig;
    rig->bus->connection = connection_new(pair[0], true);
    assert_true(sd_bus_attach_event(rig->bus->connection, rig->event, SD_EVENT_PRIORITY_NORMAL) >= 0);
    assert_true(sd_bus_add_object(rig->bus->connection, NULL, "/call", on_call, rig) >= 0);
    rig->fd = pair[1];
    rig->client = connection_new(rig->fd, false);
    assert_true(sd_bus_add_object(rig->client, NULL, "/org/freedesktop/DBus", on_question, rig) >= 0);
    while (sd_bus_is_ready(rig->client) == 0 || sd_bus_is_ready(rig->bus->connection) == 0)
        settle(rig);
    hurried = -1;
    return rig;
}

static void rig_free(struct rig *rig) {
    hurried = -1;
    bus_free(rig->bus);
    sd_bus_close_unref(rig->client);
    sd_event_unref(rig->event);
    free(rig);
}

static void expect_error(const struct asked *asked, const char *error, const char *text) {
    assert_int_equal(asked->replies, 1);
    assert_string_equal(asked->error, error);
    assert_non_null(strstr(asked->text, text));
    assert_true(ended(asked->pipe));
    close(asked->pipe);
}

/* The handler has returned without an answer; that comes a turn later. */
static void expect_error_in_its_turn(struct rig *rig, struct asked *asked, const char *error, const char *text) {
    ask(rig, asked, ME);
    hand_over(rig);
    assert_false(daemon_has_spoken(rig));
    assert_false(ended(asked->pipe));
    take_a_turn(rig);
    assert_true(daemon_has_spoken(rig));
    listen_to_the_daemon(rig);
    expect_error(asked, error, text);
}

static void a_refusal_has_its_turn(void **state) {
    struct rig *rig = rig_new();
    struct asked asked;

    make_known(rig, ME);
    rig->refuse = true;
    expect_error_in_its_turn(rig, &asked, "org.ioregion1.Error.NoSuchVM", "no VM like this");
    assert_int_equal(rig->bus->n_calls, 0);
    rig_free(rig);
}

/* The one call too many of a sender; those that wait, and other senders, go on. */
static void busy_has_its_turn(void **state) {
    struct asked waiting[CALLS_OF_SENDER_MAX], asked;
    struct rig *rig = rig_new();

    make_known(rig, ME);
    for (size_t i = 0; i < CALLS_OF_SENDER_MAX; i++)
        ask(rig, &waiting[i], ME);
    settle(rig);
    for (unsigned i = 0; i < 3; i++) {
        expect_error_in_its_turn(rig, &asked, "org.ioregion1.Error.Busy", "32 calls of yours");
        assert_int_equal(rig->bus->n_calls, CALLS_OF_SENDER_MAX);
    }
    make_known(rig, ":1.8");
    for (size_t i = 0; i < CALLS_OF_SENDER_MAX; i++)
        assert_int_equal(waiting[i].replies, 0);
    rig_free(rig);
    for (size_t i = 0; i < CALLS_OF_SENDER_MAX; i++)
        close(waiting[i].pipe);
}

/* The one too many of all, whoever it is: of a stranger nothing is asked first. */
static void busy_with_everybody_has_its_turn(void **state) {
    struct rig *rig = rig_new();
    struct asked asked;

    rig->bus->n_calls += CALLS_MAX;
    expect_error_in_its_turn(rig, &asked, "org.ioregion1.Error.Busy", "16384 calls wait");
    assert_int_equal(rig->questions, 0);
    assert_int_equal(rig->bus->n_calls, CALLS_MAX);
    rig->bus->n_calls -= CALLS_MAX;
    make_known(rig, ME);
    rig_free(rig);
}

/* No memory for a turn: the call is told so at once, and nothing of it is left. */
static void memory_runs_out(void **state) {
    struct rig *rig = rig_new();
    struct asked asked;

    make_known(rig, ME);
    for (unsigned i = 0; i < 2; i++) {
        rig->refuse = i > 0;
        out_of_memory = true;
        ask(rig, &asked, ME);
        hand_over(rig);
        out_of_memory = false;
        assert_int_equal(rig->bus->n_calls, 0);
        settle(rig);
        expect_error(&asked, "org.freedesktop.DBus.Error.NoMemory", "");
    }
    rig->refuse = false;
    make_known(rig, ME);
    rig_free(rig);
}

/* A daemon that ends in between: who is refused hears of it, be it in the next turn or once it is known who it is. */
static void the_end_comes_first(void **state) {
    struct asked stranger, known, waiting;
    struct rig *rig = rig_new();

    make_known(rig, ME);
    ask(rig, &waiting, ME);
    settle(rig);
    assert_non_null(rig->waiting);
    rig->refuse = rig->silent = true;
    ask(rig, &stranger, ":1.8");
    settle(rig);
    ask(rig, &known, ME);
    hand_over(rig);
    assert_int_equal(stranger.replies + known.replies, 0);
    assert_int_equal(rig->bus->n_calls, 3);

    hurried = -1;
    rig->bus = bus_free(rig->bus);
    listen_to_the_daemon(rig);
    expect_error(&stranger, "org.ioregion1.Error.NoSuchVM", "no VM like this");
    expect_error(&known, "org.ioregion1.Error.NoSuchVM", "no VM like this");
    expect_error(&waiting, SD_BUS_ERROR_NO_REPLY, "");
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_has_its_turn),
        cmocka_unit_test(busy_has_its_turn),
        cmocka_unit_test(busy_with_everybody_has_its_turn),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(the_end_comes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
