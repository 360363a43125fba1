/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The device side over a real socket pair: the test is the dispatcher, and the broker's end of the lease. */

#include <fcntl.h>
#include <signal.h>

#include "played-broker.h"
#include "clock.h"
#include <ioregion/device.h>

#define TOKEN 5

struct memory {
    uint8_t bytes[16];
    unsigned reads, writes, ended;
    unsigned reason;
    uint64_t dirt; /* to read in excess of the size */
    int stop_at;   /* stop in this write */
    struct ioregion_device *device;
};

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    struct memory *memory = userdata;
    uint64_t value = 0;

    memory->reads++;
    memcpy(&value, memory->bytes + offset, size);
    return value | (memory->dirt & ~ioregion_all_ones(size));
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
    struct memory *memory = userdata;

    if (++memory->writes == (unsigned) memory->stop_at)
        ioregion_device_stop(memory->device);
    memcpy(memory->bytes + offset, &value, size);
}

static void on_ended(void *userdata, unsigned reason) {
    struct memory *memory = userdata;

    memory->ended++;
    memory->reason = reason;
}

static const struct ioregion_device_ops ops = {sizeof(ops), on_read, on_write, NULL, on_ended};

struct rig {
    struct memory memory;
    struct ioregion_device *device;
    struct played_thread runner;
    int result;
    int channels[2]; /* the dispatcher's ends */
    int lease;       /* the broker's end */
};

static void *run(void *argument) {
    struct rig *rig = ((struct played_thread *) argument)->argument;

    rig->result = ioregion_device_run(rig->device);
    return NULL;
}

static void start(struct rig *rig, size_t n_channels, bool leased, uint64_t features) {
    static const struct ioregion_region regions[] = {
        {.space = IOREGION_MMIO, .base = 0x1000, .size = 16, .user_data = TOKEN},
        {.space = IOREGION_MMIO, .base = 0x2000, .size = 8, .user_data = TOKEN, .channel = 1},
    };
    int channels[2], pair[2], lease = -1;

    *rig = (struct rig){.lease = -1, .result = 1};
    for (size_t i = 0; i < n_channels; i++) {
        played_pair(pair);
        rig->channels[i] = pair[0];
        channels[i] = pair[1];
        fcntl(pair[1], F_SETFL, O_NONBLOCK); /* 17: must not matter */
    }
    if (leased) {
        played_pair(pair);
        rig->lease = pair[0];
        lease = pair[1];
    }
    assert_int_equal(ioregion_device_from_fds(&rig->device, channels, n_channels, lease, features, regions, n_channels,
                                              &ops, &rig->memory), 0);
    rig->memory.device = rig->device;
}

static void end(struct rig *rig, size_t n_channels) {
    assert_null(ioregion_device_free(rig->device));
    for (size_t i = 0; i < n_channels; i++)
        close(rig->channels[i]);
    if (rig->lease >= 0)
        close(rig->lease);
}

static struct ioregion_response command(int fd, bool write, unsigned size, uint64_t offset, uint64_t data) {
    struct ioregion_command command = {
        .info = ioregion_info(write, size, true), .user_data = TOKEN, .offset = offset, .data = data};
    struct ioregion_response response;

    assert_int_equal(send(fd, &command, sizeof(command), MSG_NOSIGNAL), sizeof(command));
    played_await(fd);
    assert_int_equal(recv(fd, &response, sizeof(response), MSG_TRUNC), sizeof(response));
    assert_true(ioregion_response_valid(&response, &command)); /* 25: not a byte that is not the answer's */
    return response;
}

static void send_revoke(struct rig *rig, uint32_t reason) {
    struct ioregion_lease_revoke message = {{IOREGION_LEASE_REVOKE, sizeof(message)}, .reason = reason};

    played_send(rig->lease, &message, sizeof(message), NULL, 0);
}

/* 25: all sizes, both directions; what a callback returns too much is cut. */
static void test_sizes(void **state) {
    for (size_t n_channels = 1; n_channels <= 2; n_channels++) {
        struct rig rig;

        start(&rig, n_channels, false, 0);
        rig.memory.dirt = UINT64_MAX;
        played_thread_start(&rig.runner, run, -1, &rig);
        for (unsigned size = 1; size <= 8; size *= 2) {
            uint64_t value = UINT64_C(0x8877665544332211) & ioregion_all_ones(size);
            int channel = rig.channels[n_channels - 1];

            assert_int_equal(command(channel, true, size, 0, value).data, 0);
            assert_true(command(channel, false, size, 0, 0).data == value);
        }
        close(rig.channels[0]);
        played_thread_end(&rig.runner);
        assert_int_equal(rig.result, -ECONNRESET);
        assert_int_equal(rig.memory.ended, 1);
        assert_int_equal(rig.memory.reason, 0);
        rig.channels[0] = dup(0);
        end(&rig, n_channels);
    }
}

/* 26, 30, 33: commands that the protocol does not allow; the device cuts the channel and runs no callback. */
static void test_invalid_commands(void **state) {
    struct ioregion_command valid = {.info = 0x40, .user_data = TOKEN}, cases[6];

    for (size_t i = 0; i < 6; i++)
        cases[i] = valid;
    cases[0].user_data = TOKEN + 1;
    cases[1].offset = 16;
    cases[2].info = 0x42;
    cases[3].padding = 1;
    cases[4].info = 0x01; /* posted, not agreed */
    cases[5].data = 1;
    for (size_t i = 0; i < 10; i++) {
        static const size_t lengths[] = {25, 31, 33, 0};
        char longer[40] = {0};
        struct rig rig;
        char byte;

        start(&rig, 1, false, 0);
        if (i < 6)
            send(rig.channels[0], cases + i, sizeof(*cases), 0);
        else
            send(rig.channels[0], memcpy(longer, &valid, sizeof(valid)), lengths[i - 6], 0);
        if (i % 2) {
            assert_int_equal(ioregion_device_run(rig.device), -EPROTO);
        } else {
            played_await(ioregion_device_fd(rig.device));
            assert_int_equal(ioregion_device_process(rig.device), -EPROTO);
        }
        assert_int_equal(ioregion_device_run(rig.device), -EPROTO); /* and stays so */
        assert_string_equal(ioregion_last_error(), "the dispatcher broke the protocol");
        assert_int_equal(recv(rig.channels[0], &byte, 1, 0), 0);
        assert_int_equal(rig.memory.reads + rig.memory.writes, 0);
        end(&rig, 1);
    }
}

/* Posted writes get no answer, and the read behind them sees them (32). */
static void test_posted(void **state) {
    struct ioregion_command posted = {.info = 0x01, .user_data = TOKEN, .offset = 3, .data = 0x7e};
    struct rig rig;

    start(&rig, 1, false, IOREGION_FEATURE_POSTED_WRITES);
    assert_true(ioregion_device_features(rig.device) == IOREGION_FEATURE_POSTED_WRITES);
    played_thread_start(&rig.runner, run, -1, &rig);
    for (int i = 0; i < 500; i++)
        assert_int_equal(send(rig.channels[0], &posted, sizeof(posted), 0), sizeof(posted));
    assert_int_equal(command(rig.channels[0], false, 1, 3, 0).data, 0x7e);
    assert_int_equal(rig.memory.writes, 500);
    shutdown(rig.channels[0], SHUT_RDWR);
    played_thread_end(&rig.runner);
    end(&rig, 1);
}

/* Answers that nobody takes must not block run(), which could then not be stopped. */
static void test_answers_pile_up(void **state) {
    struct ioregion_command command = {.info = 0x40, .user_data = TOKEN};

    for (size_t n_channels = 1; n_channels <= 2; n_channels++) {
        struct pollfd room = {.events = POLLOUT};
        struct rig rig;

        start(&rig, n_channels, false, 0);
        room.fd = rig.channels[0];
        played_thread_start(&rig.runner, run, -1, &rig);
        while (send(room.fd, &command, sizeof(command), MSG_NOSIGNAL | MSG_DONTWAIT) > 0 || errno == EAGAIN)
            assert_int_equal(poll(&room, 1, 5000), 1);
        assert_int_equal(errno, EPIPE);
        played_thread_end(&rig.runner);
        assert_int_equal(rig.result, -EPROTO);
        end(&rig, n_channels);
    }
}

/* The hold ends: with a word before the channel's end, after it, and without one. */
static void test_ends(void **state) {
    for (int i = 0; i < 8; i++) {
        bool many = i & 1, word = i & 2, word_first = i & 4;
        struct rig rig;

        start(&rig, 1 + many, true, 0);
        played_thread_start(&rig.runner, run, -1, &rig);
        command(rig.channels[0], true, 1, 0, 1);
        if (word && word_first)
            send_revoke(&rig, IOREGION_REVOKE_VM_GONE);
        for (int j = 0; j <= many; j++)
            shutdown(rig.channels[j], SHUT_RDWR);
        if (word && !word_first)
            send_revoke(&rig, IOREGION_REVOKE_VM_GONE);
        shutdown(rig.lease, SHUT_RDWR);
        played_thread_end(&rig.runner);
        assert_int_equal(rig.result, word ? 0 : -ECONNRESET);
        assert_int_equal(rig.memory.ended, 1);
        assert_int_equal(rig.memory.reason, word ? IOREGION_REVOKE_VM_GONE : 0);
        end(&rig, 1 + many);
    }
}

/* 51: the broker is gone, the dispatcher is not: the guest is served on. */
static void test_broker_gone(void **state) {
    for (size_t n_channels = 1; n_channels <= 2; n_channels++) {
        uint64_t start_time;
        struct rig rig;

        start(&rig, n_channels, true, 0);
        shutdown(rig.lease, SHUT_RDWR);
        assert_int_equal(ioregion_device_process(rig.device), 0);
        played_thread_start(&rig.runner, run, -1, &rig);
        command(rig.channels[0], true, 1, 0, 1);
        start_time = clock_now_usec();
        shutdown(rig.channels[0], SHUT_RDWR);
        played_thread_end(&rig.runner);
        assert_true(clock_now_usec() - start_time < 2500000); /* nobody is left to wait for */
        assert_int_equal(rig.result, -ECONNRESET);
        end(&rig, n_channels);
    }
}

/* A broker that says what it must not say to a device, or nothing at all in time. */
static void test_broken_broker(void **state) {
    struct ioregion_lease_stats stats = {{IOREGION_LEASE_STATS, sizeof(stats)}};
    struct ioregion_lease_revoke zero = {{IOREGION_LEASE_REVOKE, sizeof(zero)}, .zero = 1};
    uint64_t start_time;
    struct rig rig;

    for (int i = 0; i < 3; i++) {
        start(&rig, 1, true, 0);
        if (i == 0)
            played_send(rig.lease, &stats, sizeof(stats), NULL, 0);
        else
            played_send(rig.lease, &zero, sizeof(zero) - (i == 1), NULL, 0);
        shutdown(rig.channels[0], SHUT_RDWR);
        assert_int_equal(ioregion_device_run(rig.device), -ECONNRESET);
        end(&rig, 1);
    }
    start(&rig, 1, true, 0);
    shutdown(rig.channels[0], SHUT_RDWR);
    start_time = clock_now_usec();
    assert_int_equal(ioregion_device_run(rig.device), -ECONNRESET);
    assert_in_range(clock_now_usec() - start_time, 2900000, 10000000);
    end(&rig, 1);
}

/* One's own loop: the descriptor tells of commands, of the last word, and process() never blocks. */
static void test_process(void **state) {
    struct ioregion_command read = {.info = 0x40, .user_data = TOKEN};
    struct ioregion_response response;
    struct rig rig;

    start(&rig, 2, true, 0);
    assert_int_equal(ioregion_device_process(rig.device), 0);
    for (int i = 0; i < 10; i++)
        send(rig.channels[i % 2], &read, sizeof(read), 0);
    played_await(ioregion_device_fd(rig.device));
    assert_int_equal(ioregion_device_process(rig.device), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(recv(rig.channels[i % 2], &response, sizeof(response), MSG_DONTWAIT), sizeof(response));
    shutdown(rig.channels[1], SHUT_RDWR);
    played_await(ioregion_device_fd(rig.device));
    assert_int_equal(ioregion_device_process(rig.device), 0); /* waits for the word */
    send_revoke(&rig, IOREGION_REVOKE_OPERATOR);
    played_await(ioregion_device_fd(rig.device));
    assert_int_equal(ioregion_device_process(rig.device), 1);
    assert_int_equal(rig.memory.reason, IOREGION_REVOKE_OPERATOR);
    assert_int_equal(ioregion_device_process(rig.device), 1);
    end(&rig, 2);
}

/* A dispatcher that takes no answers does not block a device that must not block. */
static void test_deaf_dispatcher(void **state) {
    struct ioregion_command read = {.info = 0x40, .user_data = TOKEN};
    struct rig rig;
    int r = 0;

    start(&rig, 1, false, 0);
    for (int i = 0; i < 100000 && r == 0; i++) {
        send(rig.channels[0], &read, sizeof(read), MSG_DONTWAIT);
        r = ioregion_device_process(rig.device);
    }
    assert_int_equal(r, -EPROTO);
    end(&rig, 1);
}

/* stop(): before, from another thread, from a callback, and while waiting for the last word. */
static void test_stop(void **state) {
    for (int i = 0; i < 10; i++) {
        size_t n_channels = 1 + i % 2;
        struct rig rig;

        start(&rig, n_channels, true, 0);
        if (i / 2 == 0) {
            ioregion_device_stop(rig.device);
            assert_int_equal(ioregion_device_process(rig.device), -EINTR);
        }
        if (i / 2 == 3)
            rig.memory.stop_at = 2;
        played_thread_start(&rig.runner, run, -1, &rig);
        if (i / 2 == 1 || i / 2 == 3)
            command(rig.channels[0], true, 1, 0, 1);
        if (i / 2 == 1 || i / 2 == 2)
            ioregion_device_stop(rig.device);
        if (i / 2 == 3)
            command(rig.channels[0], true, 1, 0, 2); /* the command in hand is answered */
        if (i / 2 == 4) {
            shutdown(rig.channels[0], SHUT_RDWR);
            ioregion_device_stop(rig.device);
        }
        played_thread_end(&rig.runner);
        assert_int_equal(rig.result, -EINTR);
        assert_int_equal(rig.memory.ended, 0);
        end(&rig, n_channels);
    }
}

static bool channel_has_ended(const struct rig *rig) {
    struct pollfd poll_fd = {.fd = rig->channels[0], .events = POLLRDHUP};

    assert_true(poll(&poll_fd, 1, 0) >= 0);
    return poll_fd.revents & (POLLHUP | POLLRDHUP);
}

/* Who is stopped and freed has released the device before anybody hears of the channel's end. */
static void test_stop_and_free(void **state) {
    for (size_t n_channels = 1; n_channels <= 2; n_channels++) {
        struct ioregion_lease_release message;
        struct rig rig;

        start(&rig, n_channels, true, 0);
        ioregion_device_stop(rig.device);
        assert_int_equal(ioregion_device_run(rig.device), -EINTR);
        assert_false(channel_has_ended(&rig));
        rig.device = ioregion_device_free(rig.device);
        assert_int_equal(recv(rig.lease, &message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC), sizeof(message));
        assert_int_equal(message.header.type, IOREGION_LEASE_RELEASE);
        assert_true(channel_has_ended(&rig));
        end(&rig, n_channels);
    }
}

/* Who keeps the descriptors after that has no guest any more that it could answer. */
static void test_stop_and_take(void **state) {
    int lease, channel;
    struct rig rig;

    start(&rig, 1, true, 0);
    ioregion_device_stop(rig.device);
    assert_int_equal(ioregion_device_run(rig.device), -EINTR);
    assert_int_equal(ioregion_device_take_fds(rig.device, &lease, &channel, 1), 0);
    assert_true(channel_has_ended(&rig));
    end(&rig, 1);
    close(lease);
    close(channel);
}

static struct ioregion_device *stop_me;

static void on_signal(int signal) {
    ioregion_device_stop(stop_me);
}

static void test_stop_by_signal(void **state) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct rig rig;

    start(&rig, 1, false, 0);
    stop_me = rig.device;
    sigaction(SIGALRM, &action, NULL);
    ualarm(20000, 0);
    assert_int_equal(ioregion_device_run(rig.device), -EINTR);
    assert_string_equal(ioregion_last_error(), "the hold ended: Interrupted system call");
    end(&rig, 1);
}

static void test_release(void **state) {
    struct ioregion_lease_release release;
    struct rig rig;
    char byte;

    start(&rig, 1, true, 0);
    rig.device = ioregion_device_free(rig.device);
    assert_int_equal(recv(rig.lease, &release, sizeof(release), 0), sizeof(release));
    assert_int_equal(release.header.type, IOREGION_LEASE_RELEASE);
    assert_int_equal(recv(rig.lease, &byte, 1, 0), 0);
    assert_int_equal(recv(rig.channels[0], &byte, 1, 0), 0);
    end(&rig, 1);
}

/* Descriptors given away stay open, and the broker hears nothing. */
static void test_take_fds(void **state) {
    int lease, channels[2];
    struct rig rig;
    char byte;

    start(&rig, 2, true, 0);
    assert_int_equal(ioregion_device_take_fds(rig.device, &lease, channels, 1), -EINVAL);
    assert_int_equal(ioregion_device_take_fds(rig.device, &lease, channels, 2), 0);
    assert_int_equal(ioregion_device_take_fds(rig.device, &lease, channels, 2), -EINVAL);
    assert_int_equal(ioregion_device_process(rig.device), -ECONNRESET);
    rig.device = ioregion_device_free(rig.device);
    assert_int_equal(recv(rig.lease, &byte, 1, MSG_DONTWAIT), -1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(send(channels[i], "x", 1, MSG_NOSIGNAL), 1);
        assert_int_equal(recv(rig.channels[i], &byte, 1, MSG_DONTWAIT), 1);
        close(channels[i]);
    }
    close(lease);
    end(&rig, 2);
}

static void test_from_fds_fails(void **state) {
    static const struct ioregion_region region = {.size = 1};
    struct ioregion_device *device;
    int closed = -1, pair[2];

    played_pair(pair);
    assert_int_equal(ioregion_device_from_fds(&device, &closed, 1, -1, 0, &region, 1, &ops, NULL), -EBADF);
    assert_int_equal(ioregion_device_from_fds(&device, pair, 1, closed, 0, &region, 0, &ops, NULL), -EINVAL);
    assert_int_equal(ioregion_device_from_fds(&device, pair, 1, closed, 0, &region, 1, &ops, NULL), 0);
    assert_int_equal(ioregion_device_resume(device), -EOPNOTSUPP);
    ioregion_device_free(device);
    close(pair[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),           cmocka_unit_test(test_invalid_commands),
        cmocka_unit_test(test_posted),          cmocka_unit_test(test_ends),
        cmocka_unit_test(test_broker_gone),     cmocka_unit_test(test_broken_broker),
        cmocka_unit_test(test_process),         cmocka_unit_test(test_deaf_dispatcher),
        cmocka_unit_test(test_stop),            cmocka_unit_test(test_stop_and_free),
        cmocka_unit_test(test_stop_and_take),   cmocka_unit_test(test_stop_by_signal),
        cmocka_unit_test(test_answers_pile_up), cmocka_unit_test(test_release),
        cmocka_unit_test(test_take_fds),        cmocka_unit_test(test_from_fds_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
