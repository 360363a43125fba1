/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_IDENTITY_H
#define DAEMON_IDENTITY_H

/* Who somebody is, to policy and accounts: a process that lived when this was found out, its user, and its unit. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "internal/cleanup.h"

struct identity {
    pid_t pid;
    uid_t uid;
    gid_t *gids; /* supplementary groups and the primary one */
    size_t n_gids;
    char *unit; /* NULL: it runs in none */
    int pidfd;
};

struct identity *identity_free(struct identity *identity);
DEFINE_CLEANUP(identity_free, struct identity *);

/* As long as it has not, its pid is no other process's. */
bool identity_exited(const struct identity *identity);

/* The same unit; where neither has one, the same user. */
int identity_same_owner(const struct identity *a, const struct identity *b);

/* -ESRCH: there is no such process. */
int identity_open_pidfd(pid_t pid);

#endif
