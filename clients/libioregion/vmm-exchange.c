/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * One exchange: a look, a send, a receive.
 *
 * The look is a receive that does not wait, before the send. In-order responses carry nothing that ties them to a
 * command, so a response that lies there beforehand would be taken for the answer of the next command, and every
 * later answer would be one late. Promised is therefore: no response that arrived before a command was sent is ever
 * taken for its answer; it is a violation. (One that arrives between look and send passes. The device gains nothing
 * that it could not have by answering without reading; and then its real answer is what the next look finds.)
 *
 * The calls block, bounded by the socket's own timeouts; there is no poll() unless a signal or an early
 * timeout cuts one short: then the rest of the deadline is waited for, however many signals come.
 */

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "clock.h"
#include "vmm-internal.h"

/* False once the deadline has passed. Signals return early, and the caller tries again. */
static bool wait_until(int fd, short events, uint64_t deadline) {
    struct pollfd poll_fd = {.fd = fd, .events = events};
    uint64_t left = clock_left(deadline);
    struct timespec timeout = clock_timespec(left);

    if (!left)
        return false;
    ppoll(&poll_fd, 1, &timeout, NULL);
    return true;
}

/* A receive of nothing: the end, or an empty packet? */
static uint32_t end_or_empty(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN | POLLRDHUP};

    poll(&poll_fd, 1, 0);
    return poll_fd.revents & (POLLHUP | POLLRDHUP) ? IOREGION_EVENT_EOF : IOREGION_EVENT_VIOLATION;
}

static uint32_t refuse_unsolicited(int fd) {
    struct ioregion_response response;
    ssize_t n = recv(fd, &response, sizeof(response), MSG_DONTWAIT | MSG_TRUNC);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : IOREGION_EVENT_EOF;
    return n > 0 ? IOREGION_EVENT_VIOLATION : end_or_empty(fd);
}

static uint32_t send_command(int fd, const struct ioregion_command *command, uint64_t deadline) {
    ssize_t n = send(fd, command, sizeof(*command), MSG_NOSIGNAL);

    while (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (!wait_until(fd, POLLOUT, deadline))
            return IOREGION_EVENT_DEADLINE;
        n = send(fd, command, sizeof(*command), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    return n < 0 ? IOREGION_EVENT_EOF : 0;
}

static uint32_t receive_response(int fd, const struct ioregion_command *command, uint64_t deadline,
                                 uint64_t *ret_value) {
    struct ioregion_response response;
    ssize_t n = recv(fd, &response, sizeof(response), MSG_TRUNC);

    while (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (!wait_until(fd, POLLIN, deadline))
            return IOREGION_EVENT_DEADLINE;
        n = recv(fd, &response, sizeof(response), MSG_TRUNC | MSG_DONTWAIT);
    }
    if (n < 0)
        return IOREGION_EVENT_EOF;
    if (n == 0)
        return end_or_empty(fd);
    if (n != sizeof(response) || !ioregion_response_valid(&response, command))
        return IOREGION_EVENT_VIOLATION;
    *ret_value = response.data;
    return 0;
}

uint32_t exchange(int fd, const struct ioregion_command *command, uint64_t timeout_usec, bool *ret_sent,
                  uint64_t *ret_value) {
    uint64_t deadline = clock_after(clock_now_usec(), timeout_usec);
    uint32_t loss = refuse_unsolicited(fd);

    if (!loss)
        loss = send_command(fd, command, deadline);
    if (loss)
        return loss;
    *ret_sent = true;
    return ioregion_info_wants_response(command->info) ? receive_response(fd, command, deadline, ret_value) : 0;
}
