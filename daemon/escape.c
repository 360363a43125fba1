/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "escape.h"

/* How many bytes the UTF-8 character at @s has, 0 where there is none; overlong forms and surrogates are none. */
static size_t character(const unsigned char *s, uint32_t *ret_code) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = *s < 0x80 ? 1 : *s >= 0xf0 && *s < 0xf8 ? 4 : *s >= 0xe0 ? 3 : *s >= 0xc0 ? 2 : 0;
    uint32_t code = n == 1 ? *s : n ? *s & (0x7fu >> n) : 0;

    if (*s >= 0xf8)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    if (n && (code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)))
        return 0;
    *ret_code = code;
    return n;
}

/* C0, DEL, C1, line and paragraph separators, and what turns the direction of the text around. */
static bool is_harmful(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

const char *escape(char *buffer, size_t size, const char *text) {
    const unsigned char *s = (const unsigned char *) (text ? text : "");
    size_t used = 0;

    while (*s) {
        uint32_t code = 0;
        size_t n = character(s, &code);
        bool raw = n && !is_harmful(code);
        size_t step = n ? n : 1, needs = raw ? n : 4 * step;

        if (used + needs >= size)
            break;
        if (raw)
            memcpy(buffer + used, s, n);
        else
            for (size_t i = 0; i < step; i++)
                snprintf(buffer + used + 4 * i, 5, "\\x%02x", s[i]);
        used += needs;
        s += step;
    }
    buffer[used] = 0;
    return buffer;
}
