/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <ioregion/region.h>
#include "error.h"

static _Thread_local char last_error[512];

int last_error_set(int error, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(last_error, sizeof(last_error), format, arguments);
    va_end(arguments);
    return error;
}

int last_error_step(int error, const char *step) {
    return last_error_set(error, "%s: %s", step, strerrordesc_np(-error) ?: "unknown error");
}

const char *ioregion_last_error(void) {
    return last_error;
}
