/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_SANDBOX_CALLS_H
#define DAEMON_SANDBOX_CALLS_H

#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

/* gcc says it by a macro, clang by a feature */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/*
 * A system call that is allowed, or refused with @error where that is not 0; where there are arguments, only with
 * these. Several lines are several ways.
 */
struct sandbox_call {
    int number;
    unsigned n_arguments;
    struct scmp_arg_cmp arguments[2];
    uint16_t error;
};

extern const struct sandbox_call sandbox_calls[];
extern const size_t sandbox_n_calls;

#endif
