/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>

#include "internal/cleanup.h"
#include "policy/message.h"

char *printable(char *text) {
    for (char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return text;
}

char *message_at(struct place place, const char *format, va_list arguments) {
    _cleanup_(freep) char *body = NULL;
    char *whole = NULL;

    if (vasprintf(&body, format, arguments) < 0) {
        body = NULL;
        return NULL;
    }
    if (asprintf(&whole, "%s:%u:%u: %s", place.file, place.line, place.column, body) < 0)
        return NULL;
    return printable(whole);
}

int fail_at(char **ret_error, struct place place, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    *ret_error = message_at(place, format, arguments);
    va_end(arguments);
    return *ret_error ? -EBADMSG : -ENOMEM;
}
