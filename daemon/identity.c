/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "identity.h"

struct identity *identity_free(struct identity *identity) {
    if (!identity)
        return NULL;
    free(identity->gids);
    free(identity->unit);
    fd_close(identity->pidfd);
    free(identity);
    return NULL;
}

int identity_same_owner(const struct identity *a, const struct identity *b) {
    if (a->unit && b->unit)
        return strcmp(a->unit, b->unit) == 0;
    return !a->unit && !b->unit && a->uid == b->uid;
}

bool identity_exited(const struct identity *identity) {
    struct pollfd p = {.fd = identity->pidfd, .events = POLLIN};

    return poll(&p, 1, 0) != 0;
}

int identity_open_pidfd(pid_t pid) {
    int fd = (int) syscall(SYS_pidfd_open, pid, 0);

    if (fd < 0)
        return errno == EINVAL ? -ESRCH : -errno;
    return fd;
}
