/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-login.h>

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

/*
 * Of the process that pidfd holds: if it lives once its unit was read by pid, then the pid was never free in between,
 * and the unit is its. Only "it runs in none" makes it one without a unit: others own different things, and are
 * counted elsewhere.
 */
int identity_read_unit(struct identity *identity) {
    int r = sd_pid_get_unit(identity->pid, &identity->unit);

    if (r < 0 && r != -ENODATA && r != -ENOMEDIUM)
        return r;
    return identity_exited(identity) ? -ESRCH : 0;
}

static int read_account(struct identity *identity) {
    const uint64_t mask = SD_BUS_CREDS_EUID | SD_BUS_CREDS_EGID | SD_BUS_CREDS_SUPPLEMENTARY_GIDS;
    _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
    const gid_t *gids;
    gid_t gid;
    int r, n;

    r = sd_bus_creds_new_from_pid(&creds, identity->pid, mask);
    if (r < 0)
        return r;
    r = sd_bus_creds_get_euid(creds, &identity->uid);
    if (r >= 0)
        r = sd_bus_creds_get_egid(creds, &gid);
    if (r < 0)
        return r;
    n = sd_bus_creds_get_supplementary_gids(creds, &gids);
    if (n < 0)
        return n;
    identity->gids = malloc(((size_t) n + 1) * sizeof(gid_t));
    if (!identity->gids)
        return -ENOMEM;
    for (int i = 0; i < n; i++)
        identity->gids[i] = gids[i];
    identity->gids[n] = gid;
    identity->n_gids = (size_t) n + 1;
    return 0;
}

int identity_open_pidfd(pid_t pid) {
    int fd = (int) syscall(SYS_pidfd_open, pid, 0);

    if (fd < 0)
        return errno == EINVAL ? -ESRCH : -errno;
    return fd;
}

int identity_of_process(pid_t pid, struct identity **ret_identity) {
    _cleanup_(identity_freep) struct identity *identity = calloc(1, sizeof(*identity));
    int r;

    if (!identity)
        return -ENOMEM;
    identity->pid = pid;
    identity->pidfd = identity_open_pidfd(pid);
    r = identity->pidfd < 0 ? identity->pidfd : read_account(identity);
    if (r >= 0)
        r = identity_read_unit(identity);
    if (r < 0)
        return r;
    *ret_identity = STEAL(identity);
    return 0;
}
