/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_CALLER_H
#define DAEMON_BUS_CALLER_H

/*
 * Who sent a message, as the bus daemon saw it when that connection was made. Asked without waiting: sd-bus's own
 * sd_bus_query_sender_creds() would block on the bus.
 */

#include <systemd/sd-bus.h>

#include "policy/policy.h"

struct caller {
    pid_t pid;
    uid_t uid;
    gid_t *gids; /* may be none: not every bus tells them */
    size_t n_gids;
};

void caller_done(struct caller *caller);

/* @caller is NULL on failure (the caller left, the bus is gone); else it is the callee's to take or to be done with. */
typedef void (*caller_known_t)(void *userdata, int error, struct caller *caller);

struct caller_query;

int caller_query_new(struct caller_query **ret_query, sd_bus_message *message, caller_known_t known, void *userdata);
/* Also cancels. May be called from within known(). */
struct caller_query *caller_query_free(struct caller_query *query);

/* The rule that makes a caller an operator, NULL for none. */
const char *caller_operator(const struct caller *caller, const struct policy *policy);

#endif
