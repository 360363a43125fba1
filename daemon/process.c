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

static int mount_of(int fd, uint64_t *ret_mount) {
    struct statx status;

    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &status) < 0)
        return -errno;
    *ret_mount = status.stx_mnt_id;
    return status.stx_mask & STATX_MNT_ID ? 0 : -EOPNOTSUPP;
}

/*
 * A path alone, of the folder's own mount: whoever opened that may have mounted over any name in it what lies, or keeps
 * us waiting. openat2() would say this in a word, but units with RestrictSUIDSGID= don't have it.
 */
static int find_there(int folder, const char *name) {
    _cleanup_(fd_closep) int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    uint64_t mount = 0, other = 0;
    int r;

    if (fd < 0)
        return -errno;
    r = mount_of(folder, &mount);
    if (r >= 0)
        r = mount_of(fd, &other);
    if (r < 0)
        return r;
    return mount == other ? STEAL_FD(fd) : -EXDEV;
}

/* What a path leads to, and nothing that is put in its place meanwhile. */
static int open_found(int fd) {
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Pids are counted as ours are where "self" is us. */
static int check_namespace(int folder) {
    _cleanup_(fd_closep) int above = find_there(folder, "..");
    _cleanup_(fd_closep) int self = above < 0 ? above : find_there(above, "self");
    char target[16] = "";

    if (self < 0)
        return self;
    if (readlinkat(self, "", target, sizeof(target) - 1) < 0)
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
    _cleanup_(fd_closep) int found = find_there(folder, "status");
    int fd = found < 0 ? found : open_found(found), r = 0;
    _cleanup_(freep) char *line = NULL;
    gid_t primary = (gid_t) -1;
    size_t size = 0;
    FILE *status;

    if (fd < 0)
        return fd;
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
