/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <ioregion/ioregionfd.h>
#include "device-channel.h"

int channel_kind(int fd) {
    struct stat status;

    if (fstat(fd, &status) < 0)
        return -errno;
    return S_ISSOCK(status.st_mode) ? CHANNEL_SOCKET : CHANNEL_IOREGIONFD;
}

/* A receive of nothing: end of file, or an empty packet? */
static int end_or_empty(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN | POLLRDHUP};

    poll(&poll_fd, 1, 0);
    return poll_fd.revents & (POLLHUP | POLLRDHUP) ? -ECONNRESET : -EPROTO;
}

static ssize_t receive(enum channel_kind kind, int fd, struct ioregion_command *command, bool wait) {
    struct iovec vector = {command, sizeof(*command)};

    if (kind == CHANNEL_SOCKET)
        return recv(fd, command, sizeof(*command), MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT));
    return wait ? read(fd, command, sizeof(*command)) : preadv2(fd, &vector, 1, -1, RWF_NOWAIT);
}

int channel_receive(enum channel_kind kind, int fd, struct ioregion_command *ret_command, bool wait) {
    ssize_t n = receive(kind, fd, ret_command, wait);

    if (n == sizeof(*ret_command))
        return 1;
    if (n > 0)
        return -EPROTO;
    if (n == 0)
        return end_or_empty(fd);
    if (errno == EAGAIN)
        return 0;
    return errno == EINTR ? -EINTR : -ECONNRESET;
}

int channel_respond(enum channel_kind kind, int fd, const struct ioregion_response *response) {
    ssize_t n;

    do {
        n = kind == CHANNEL_SOCKET ? send(fd, response, sizeof(*response), MSG_NOSIGNAL | MSG_DONTWAIT)
                                   : write(fd, response, sizeof(*response));
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? -EPROTO : -ECONNRESET;
    return 1;
}

void channel_stop(enum channel_kind kind, int fd) {
    if (kind == CHANNEL_SOCKET)
        shutdown(fd, SHUT_RD);
    else
        ioctl(fd, IOREGIONFD_SHUTDOWN, IOREGIONFD_SHUTDOWN_READ);
}

void channel_end(enum channel_kind kind, int fd) {
    if (kind == CHANNEL_SOCKET)
        shutdown(fd, SHUT_RDWR);
    else
        ioctl(fd, IOREGIONFD_SHUTDOWN, IOREGIONFD_SHUTDOWN_BOTH);
}
