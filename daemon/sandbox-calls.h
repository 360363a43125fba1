/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_SANDBOX_CALLS_H
#define DAEMON_SANDBOX_CALLS_H

#include <seccomp.h>
#include <stddef.h>

/* A system call that is allowed; where there are arguments, only with these. Several lines are several ways. */
struct sandbox_call {
    int number;
    unsigned n_arguments;
    struct scmp_arg_cmp arguments[2];
};

extern const struct sandbox_call sandbox_calls[];
extern const size_t sandbox_n_calls;

#endif
