/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_MESSAGE_H
#define POLICY_MESSAGE_H

/* Messages about a place in a text that people wrote: "FILE:LINE:COLUMN: ...", one printable line each. */

#include <stdarg.h>
#include <stdint.h>

/* Both count from 1; columns are bytes, as compilers count them. */
struct place {
    const char *file;
    uint32_t line, column;
};

/* Replace what could forge a line or break a bus message: everything but printable ASCII becomes '?'. */
char *printable(char *text);

/* The message, for the caller to free; NULL when memory is short. */
char *message_at(struct place place, const char *format, va_list arguments) __attribute__((format(printf, 2, 0)));

/* Make it the error: *ret_error is set (NULL when memory is short), the result is -EBADMSG or -ENOMEM. */
int fail_at(char **ret_error, struct place place, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
