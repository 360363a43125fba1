/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One exchange over a real socket pair, with devices that behave badly in every way (edges 24, 29-32, 35, 37, 47-49). */

#include <signal.h>
#include <sys/time.h>

#include "played-broker.h"
#include "clock.h"
#include "vmm-internal.h"

static const struct ioregion_command read_4 = {.info = 0x60, .user_data = 7, .offset = 4};
static const struct ioregion_command posted_4 = {.info = 0x21, .user_data = 7, .data = 1};

/* A socket as channel.c would have prepared it. */
static void channel_pair(int pair[2], uint64_t timeout_usec) {
    struct timeval timeout = {.tv_sec = (time_t) (timeout_usec / 1000000),
                              .tv_usec = (suseconds_t) (timeout_usec % 1000000)};

    played_pair(pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
}

/* After a command, answer with these packets, then perhaps close. */
struct answer {
    uint8_t bytes[2][40];
    size_t size[2];
    int n;
    bool close;
};

static void *answer_once(void *argument) {
    struct played_thread *thread = argument;
    const struct answer *answer = thread->argument;
    struct ioregion_command command;

    assert_int_equal(recv(thread->fd, &command, sizeof(command), 0), sizeof(command));
    for (int i = 0; i < answer->n; i++)
        send(thread->fd, answer->bytes[i], answer->size[i], MSG_NOSIGNAL);
    if (answer->close)
        close(thread->fd);
    return NULL;
}

static uint32_t exchange_with(const struct answer *answer, uint64_t *ret_value) {
    struct played_thread device;
    bool sent = false;
    uint32_t loss;
    int pair[2];

    channel_pair(pair, PLAYED_TIMEOUT);
    played_thread_start(&device, answer_once, pair[1], (void *) answer);
    loss = exchange(pair[0], &read_4, PLAYED_TIMEOUT, &sent, ret_value);
    played_thread_end(&device);
    assert_true(sent);
    close(pair[0]);
    if (!answer->close)
        close(pair[1]);
    return loss;
}

static void test_answers(void **state) {
    static const struct {
        struct answer answer;
        uint32_t loss;
        uint64_t value;
    } cases[] = {
        {{.n = 1, .size = {32}, .bytes = {{0xef, 0xbe, 0xad, 0xde}}}, 0, 0xdeadbeef},
        {{.n = 1, .size = {32}, .bytes = {{0xff}}, .close = true}, 0, 0xff}, /* 47: crash after the answer */
        {{.n = 0, .close = true}, IOREGION_EVENT_EOF, 0},                    /* 47: crash before the answer */
        {{.n = 1, .size = {31}}, IOREGION_EVENT_VIOLATION, 0},               /* 29: short */
        {{.n = 1, .size = {33}}, IOREGION_EVENT_VIOLATION, 0},               /* 29: long */
        {{.n = 1, .size = {0}}, IOREGION_EVENT_VIOLATION, 0},                /* 29: empty, which is not the end */
        {{.n = 1, .size = {32}, .bytes = {{[4] = 1}}}, IOREGION_EVENT_VIOLATION, 0},  /* 25: high bytes */
        {{.n = 1, .size = {32}, .bytes = {{[8] = 1}}}, IOREGION_EVENT_VIOLATION, 0},  /* 30: pad */
        {{.n = 1, .size = {32}, .bytes = {{[31] = 1}}}, IOREGION_EVENT_VIOLATION, 0}, /* 30: pad's end */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        uint64_t value = 0;

        assert_int_equal(exchange_with(&cases[i].answer, &value), cases[i].loss);
        assert_int_equal(value, cases[i].value);
    }
}

/* 29: early, duplicate and unsolicited are one thing: a response is there before the command is sent. */
static void test_unsolicited(void **state) {
    struct ioregion_response response = {.data = 1};
    uint64_t value = 0;
    bool sent = false;
    int pair[2];

    channel_pair(pair, PLAYED_TIMEOUT);
    send(pair[1], &response, sizeof(response), 0);
    assert_int_equal(exchange(pair[0], &read_4, PLAYED_TIMEOUT, &sent, &value), IOREGION_EVENT_VIOLATION);
    assert_false(sent);
    send(pair[1], &response, sizeof(response), 0);
    assert_int_equal(exchange(pair[0], &posted_4, PLAYED_TIMEOUT, &sent, &value), IOREGION_EVENT_VIOLATION);
    send(pair[1], NULL, 0, 0);
    assert_int_equal(exchange(pair[0], &read_4, PLAYED_TIMEOUT, &sent, &value), IOREGION_EVENT_VIOLATION);
    assert_false(sent);
    close(pair[0]);
    close(pair[1]);
}

/* 24, 47: a device that is gone, with and without commands that it never read: no SIGPIPE, end of file. */
static void test_gone(void **state) {
    for (int unread = 0; unread < 2; unread++) {
        uint64_t value;
        bool sent = false;
        int pair[2];

        channel_pair(pair, PLAYED_TIMEOUT);
        if (unread)
            assert_int_equal(exchange(pair[0], &posted_4, PLAYED_TIMEOUT, &sent, &value), 0);
        close(pair[1]);
        sent = false;
        assert_int_equal(exchange(pair[0], &read_4, PLAYED_TIMEOUT, &sent, &value), IOREGION_EVENT_EOF);
        assert_false(sent);
        close(pair[0]);
    }
}

/* A device that stopped reading, but did not close: the look finds nothing, the send fails. */
static void test_half_closed(void **state) {
    uint64_t value;
    bool sent = false;
    int pair[2];

    channel_pair(pair, PLAYED_TIMEOUT);
    shutdown(pair[1], SHUT_RD);
    assert_int_equal(exchange(pair[0], &read_4, PLAYED_TIMEOUT, &sent, &value), IOREGION_EVENT_EOF);
    assert_false(sent);
    close(pair[0]);
    close(pair[1]);
}

static uint64_t timed_exchange(int fd, const struct ioregion_command *command, uint64_t timeout, uint32_t *ret_loss) {
    uint64_t start = clock_now_usec(), value;
    bool sent = false;

    *ret_loss = exchange(fd, command, timeout, &sent, &value);
    return clock_now_usec() - start;
}

/* 48: never answers. The deadline holds also for a socket that does not block. */
static void test_deadline(void **state) {
    for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
        uint64_t took;
        uint32_t loss;
        int pair[2];

        channel_pair(pair, 50000);
        if (nonblocking)
            assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_usec = 1},
                                        sizeof(struct timeval)), 0);
        took = timed_exchange(pair[0], &read_4, 50000, &loss);
        assert_int_equal(loss, IOREGION_EVENT_DEADLINE);
        assert_in_range(took, 50000, 2000000);
        close(pair[0]);
        close(pair[1]);
    }
}

static void on_alarm(int signal) {
}

/* A signal each millisecond. */
static void storm(bool start) {
    struct sigaction action = {.sa_handler = start ? on_alarm : SIG_DFL, .sa_flags = SA_RESTART};
    struct itimerval each = {{0, start ? 1000 : 0}, {0, start ? 1000 : 0}};

    if (start)
        sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &each, NULL);
    if (!start)
        sigaction(SIGALRM, &action, NULL);
}

static void *answer_late(void *argument) {
    struct played_thread *thread = argument;
    struct ioregion_response response = {.data = 3};
    struct ioregion_command command;
    struct pollfd nothing = {.fd = -1};
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    assert_int_equal(recv(thread->fd, &command, sizeof(command), 0), sizeof(command));
    poll(&nothing, 1, 30); /* so that signals arrive while the other side waits */
    send(thread->fd, &response, sizeof(response), MSG_NOSIGNAL);
    return NULL;
}

/* 35, 37: signals during the exchange change nothing, neither the answer nor the deadline. */
static void test_signal_storm(void **state) {
    struct played_thread device;
    uint64_t value = 0, took;
    bool sent = false;
    uint32_t loss;
    int pair[2];

    channel_pair(pair, PLAYED_TIMEOUT);
    storm(true);
    played_thread_start(&device, answer_late, pair[1], NULL);
    loss = exchange(pair[0], &read_4, PLAYED_TIMEOUT, &sent, &value);
    storm(false);
    played_thread_end(&device);
    assert_int_equal(loss, 0);
    assert_int_equal(value, 3);

    storm(true);
    took = timed_exchange(pair[0], &read_4, 50000, &loss);
    storm(false);
    assert_int_equal(loss, IOREGION_EVENT_DEADLINE);
    assert_in_range(took, 50000, 2000000);
    close(pair[0]);
    close(pair[1]);
}

/* 31: posted writes into a full buffer wait for room, and miss the deadline when none comes. */
static void test_posted_full(void **state) {
    struct ioregion_command command;
    uint64_t took, value;
    uint32_t loss = 0;
    bool sent;
    unsigned n = 0, received = 0;
    int pair[2];

    channel_pair(pair, 50000);
    do
        took = timed_exchange(pair[0], &posted_4, 50000, &loss);
    while (!loss && ++n < 100000);
    assert_int_equal(loss, IOREGION_EVENT_DEADLINE);
    assert_in_range(took, 45000, 2000000);
    while (recv(pair[1], &command, sizeof(command), MSG_DONTWAIT) == sizeof(command))
        received++;
    assert_int_equal(received, n);
    assert_int_equal(exchange(pair[0], &posted_4, 50000, &sent, &value), 0);
    close(pair[0]);
    close(pair[1]);
}

static void *log_order(void *argument) {
    struct played_thread *thread = argument;
    uint64_t *n_posted = thread->argument;
    struct ioregion_response response = {.data = 0};
    struct ioregion_command command;

    while (recv(thread->fd, &command, sizeof(command), 0) == sizeof(command)) {
        if (ioregion_info_wants_response(command.info)) {
            response.data = *n_posted;
            send(thread->fd, &response, sizeof(response), MSG_NOSIGNAL);
        } else if (command.data == *n_posted) {
            (*n_posted)++;
        }
    }
    return NULL;
}

/* 32: a read sees all posted writes before it, in their order; far more of them than the buffer holds. */
static void test_posted_order(void **state) {
    struct played_thread device;
    uint64_t n_posted = 0, value = 0;
    bool sent;
    int pair[2];

    channel_pair(pair, PLAYED_TIMEOUT);
    played_thread_start(&device, log_order, pair[1], &n_posted);
    for (uint64_t i = 0; i < 2000; i++) {
        struct ioregion_command posted = {.info = 0x21, .user_data = 7, .data = i};

        assert_int_equal(exchange(pair[0], &posted, PLAYED_TIMEOUT, &sent, &value), 0);
    }
    assert_int_equal(exchange(pair[0], &read_4, PLAYED_TIMEOUT, &sent, &value), 0);
    assert_int_equal(value, 2000);
    close(pair[0]);
    played_thread_end(&device);
    close(pair[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),     cmocka_unit_test(test_unsolicited),  cmocka_unit_test(test_gone),
        cmocka_unit_test(test_half_closed), cmocka_unit_test(test_deadline),     cmocka_unit_test(test_signal_storm),
        cmocka_unit_test(test_posted_full), cmocka_unit_test(test_posted_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
