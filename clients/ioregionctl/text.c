/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "internal/cleanup.h"
#include "text.h"

/* Bytes and columns of the next character; 0 bytes where it may not be printed. */
static size_t next_character(const char *text, int *ret_columns) {
    mbstate_t state = {0};
    wchar_t c;
    size_t n = mbrtowc(&c, text, strlen(text), &state);

    if (n == (size_t) -1 || n == (size_t) -2)
        return 0;
    *ret_columns = wcwidth(c);
    return *ret_columns > 0 ? n : 0;
}

char *text_escape(const char *text) {
    char *escaped = malloc(strlen(text) * 4 + 1), *out = escaped;
    int columns;

    if (!escaped)
        return NULL;
    while (*text) {
        size_t n = next_character(text, &columns);

        if (n > 0)
            out = mempcpy(out, text, n);
        else
            out += sprintf(out, "\\x%02x", (unsigned char) *text);
        text += n > 0 ? n : 1;
    }
    *out = '\0';
    return escaped;
}

size_t text_width(const char *escaped) {
    size_t width = 0;
    int columns;

    while (*escaped) {
        size_t n = next_character(escaped, &columns);

        width += n > 0 ? (size_t) columns : 1;
        escaped += n > 0 ? n : 1;
    }
    return width;
}

static char *format_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *format_text(const char *format, ...) {
    va_list arguments;
    char *text;
    int r;

    va_start(arguments, format);
    r = vasprintf(&text, format, arguments);
    va_end(arguments);
    return r < 0 ? NULL : text;
}

char *text_size(uint64_t bytes) {
    static const char suffixes[] = "\0KMGTPE";
    unsigned power = 0;

    while (bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        power++;
    }
    return power ? format_text("%ju%c", (uintmax_t) bytes, suffixes[power]) : format_text("%ju", (uintmax_t) bytes);
}

char *text_usec(uint64_t usec) {
    if (usec == UINT64_MAX)
        return strdup("infinity");
    if (usec % 1000000 == 0)
        return format_text("%jus", (uintmax_t) (usec / 1000000));
    if (usec % 1000 == 0)
        return format_text("%jums", (uintmax_t) (usec / 1000));
    return format_text("%juus", (uintmax_t) usec);
}

char *text_time(uint64_t usec) {
    time_t seconds = (time_t) (usec / 1000000);
    struct tm local;
    char buffer[64];

    if (!localtime_r(&seconds, &local) || strftime(buffer, sizeof(buffer), "%F %T", &local) == 0)
        return strdup("?");
    return format_text("%s.%03u", buffer, (unsigned) (usec / 1000 % 1000));
}

void complain(const char *format, ...) {
    _cleanup_(freep) char *text = NULL, *escaped = NULL;
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    if (text)
        escaped = text_escape(text);
    fprintf(stderr, "ioregionctl: %s\n", escaped ? escaped : "out of memory");
}
