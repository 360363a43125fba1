/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "bus-error.h"
#include "escape.h"

/* Long enough for a refusal in which every byte had to be escaped. */
#define TEXT_MAX (4 * sizeof(((struct refusal *) NULL)->text))

int bus_error_register(void) {
    static sd_bus_error_map map[REFUSAL_KINDS];

    for (int kind = REFUSAL_NONE + 1; kind < REFUSAL_KINDS; kind++)
        map[kind - 1] = (sd_bus_error_map) SD_BUS_ERROR_MAP(refusal_name(kind), -refusal_errno(kind));
    map[REFUSAL_KINDS - 1] = (sd_bus_error_map) SD_BUS_ERROR_MAP_END;
    return sd_bus_error_add_map(map);
}

/* Text that quotes a caller goes back to callers and into the journal: nothing raw may be in it. */
static void set_escaped(sd_bus_error *ret_error, const char *name, const char *text) {
    char escaped[TEXT_MAX];

    sd_bus_error_set(ret_error, name, escape(escaped, sizeof(escaped), text));
}

int bus_error_refuse(sd_bus_error *ret_error, enum refusal_kind kind, const char *format, ...) {
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    set_escaped(ret_error, refusal_name(kind), text);
    return refusal_errno(kind);
}

int bus_error_invalid(sd_bus_error *ret_error, const char *format, ...) {
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    set_escaped(ret_error, SD_BUS_ERROR_INVALID_ARGS, text);
    return -EINVAL;
}

int bus_error_from_refusal(sd_bus_error *ret_error, int error, const struct refusal *refusal) {
    if (!refusal || refusal->kind == REFUSAL_NONE) {
        sd_bus_error_set_errno(ret_error, error);
        return error;
    }
    set_escaped(ret_error, refusal_name(refusal->kind), refusal->text);
    return refusal_errno(refusal->kind);
}
