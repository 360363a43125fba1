/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "process.h"

/*
 * Only the folder of a process will do for a signal, and none is sent: that it is another user's is known after the
 * folder is. Nothing else is done with a descriptor before, since another file system might keep us waiting.
 */
static int check_alive(int folder) {
    if (syscall(SYS_pidfd_send_signal, folder, 0, NULL, 0) == 0 || errno == EPERM)
        return 0;
    return -errno;
}

/*
 * Pids are counted as ours are where "self" is us. A folder may be mounted elsewhere, below another "self", and maybe
 * on a file system that would keep us waiting: all names in /proc are the kernel's own.
 */
static int check_namespace(int folder) {
    _cleanup_(fd_closep) int above = openat(folder, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct statx of_folder, of_above;
    char target[16] = "";

    if (above < 0 || statx(folder, "", AT_EMPTY_PATH, 0, &of_folder) < 0 ||
        statx(above, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &of_above) < 0)
        return -errno;
    if (of_folder.stx_dev_major != of_above.stx_dev_major || of_folder.stx_dev_minor != of_above.stx_dev_minor)
        return -EXDEV;
    if (readlinkat(above, "self", target, sizeof(target) - 1) < 0)
        return -errno;
    return atoi(target) == getpid() ? 0 : -EINVAL;
}

/* Behind them goes the primary one. */
static int read_groups(const char *line, gid_t primary, struct identity *identity) {
    char *end;

    identity->gids = malloc((strlen(line) / 2 + 2) * sizeof(gid_t)); /* a digit and a space each */
    if (!identity->gids)
        return -ENOMEM;
    for (unsigned long gid; gid = strtoul(line, &end, 10), end != line; line = end)
        identity->gids[identity->n_gids++] = (gid_t) gid;
    identity->gids[identity->n_gids++] = primary;
    return 0;
}

/* Pid, Uid, Gid, Groups, in this order; of four ids the second is the effective one. */
static int read_line(const char *line, gid_t *primary, struct identity *identity) {
    if (strncmp(line, "Groups:", strlen("Groups:")) == 0)
        return read_groups(line + strlen("Groups:"), *primary, identity);
    if (sscanf(line, "Pid: %d", &identity->pid) < 1 && sscanf(line, "Uid: %*u %u", &identity->uid) < 1)
        sscanf(line, "Gid: %*u %u", primary);
    return 0;
}

static int read_status(int folder, struct identity *identity) {
    int fd = openat(folder, "status", O_RDONLY | O_CLOEXEC), r = 0;
    _cleanup_(freep) char *line = NULL;
    gid_t primary = (gid_t) -1;
    size_t size = 0;
    FILE *status;

    if (fd < 0)
        return -errno;
    status = fdopen(fd, "r");
    if (!status) {
        fd_close(fd);
        return -ENOMEM;
    }
    while (r >= 0 && !identity->n_gids && getline(&line, &size, status) > 0)
        r = read_line(line, &primary, identity);
    fclose(status);
    return r < 0 || identity->n_gids ? r : -ESRCH; /* it ends in the middle where the process does */
}

static int identify(int folder, struct identity *identity) {
    int r;

    r = check_alive(folder);
    if (r >= 0)
        r = check_namespace(folder);
    if (r >= 0)
        r = read_status(folder, identity);
    if (r < 0)
        return r;
    r = identity->pidfd = identity_open_pidfd(identity->pid);
    return r < 0 ? r : check_alive(folder); /* then the pid was its all the while, and the pidfd is of it */
}

int process_identify(int folder, struct identity **ret_identity, struct refusal *ret_refusal) {
    _cleanup_(identity_freep) struct identity *identity = calloc(1, sizeof(*identity));
    int r;

    if (!identity)
        return -ENOMEM;
    identity->pidfd = -1;
    r = identify(folder, identity);
    switch (r) {
    case 0:
        *ret_identity = STEAL(identity);
        return 0;
    case -ENOMEM:
    case -EMFILE:
    case -ENFILE:
        return r;
    case -ESRCH:
        return refuse(ret_refusal, REFUSAL_NOT_A_VM, "the process has exited");
    default:
        return refuse(ret_refusal, REFUSAL_NOT_A_VM,
                      "'process' is not the folder of a process in the broker's /proc (%s)", strerrordesc_np(-r));
    }
}
