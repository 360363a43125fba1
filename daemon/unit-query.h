/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_UNIT_QUERY_H
#define DAEMON_UNIT_QUERY_H

/*
 * Which unit does a process run in? The service manager says so, where there is one to ask; where there is none, the
 * process's cgroup does. A service manager that does not answer is no reason to look elsewhere.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "identity.h"
#include "refusal.h"

struct unit_question;

/* @error 0: @text is the unit, NULL for none. -ENXIO: there is nobody to ask. Else @text says what is wrong. */
typedef void (*unit_told_t)(void *userdata, int error, const char *text);

struct unit_source_type {
    /*
     * told() is called from the event loop, once, and the question is gone then. -ENXIO: there is nobody to ask, which
     * is known already.
     */
    int (*ask)(void *userdata, pid_t pid, unit_told_t told, void *told_userdata, struct unit_question **ret_question);
    void (*cancel)(struct unit_question *question);
};

struct unit_source {
    const struct unit_source_type *type; /* NULL: there is nobody to ask */
    void *userdata;
};

struct unit_query;

/*
 * Begin. @identity is the caller's, has the pid, and its pidfd is open: its process, if it lives still when
 * unit_query_take() is called, is the one whose unit that gives. known() is called from the event loop, at most once,
 * within UNIT_QUERY_USEC; if unit_query_known() is true before, then never.
 */
#define UNIT_QUERY_USEC UINT64_C(1000000)
int unit_query_new(struct unit_query **ret_query, const struct unit_source *source, sd_event *event,
                   const struct identity *identity, void (*known)(void *userdata), void *userdata);
/* Also cancels. May be called from within known(). */
struct unit_query *unit_query_free(struct unit_query *query);
DEFINE_CLEANUP(unit_query_free, struct unit_query *);

bool unit_query_known(const struct unit_query *query);

/* Once it is known: put the unit into @identity. -ESRCH: the process has exited. */
int unit_query_take(struct unit_query *query, struct identity *identity, struct refusal *ret_refusal);

#endif
