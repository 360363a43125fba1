/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void say(const char *format, ...) {
    char text[512];
    int saved = errno;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    dprintf(2, "ioregion-run: %s\n", text);
    errno = saved;
}
