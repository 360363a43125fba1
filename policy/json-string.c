/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdint.h>
#include <string.h>

#include "policy/json-string.h"

/* The bytes of the well-formed UTF-8 sequence at @text, 0 when there is none. */
static size_t utf8_length(const unsigned char *text, size_t size) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = text[0] < 0x80 ? 1 : (text[0] & 0xe0) == 0xc0 ? 2 : (text[0] & 0xf0) == 0xe0 ? 3 : 4;
    uint32_t c = text[0] & (0xffu >> (length + 1));

    if (length == 1)
        return 1;
    if (length > size || (length == 4 && (text[0] & 0xf8) != 0xf0))
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (text[i] & 0x3f);
    }
    return c < smallest[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : length;
}

/* The value of a \uXXXX escape, -1 when there is none at @text. */
static int32_t escape_value(const char *text, size_t size) {
    int32_t value = 0;

    if (size < 6 || text[0] != '\\' || text[1] != 'u')
        return -1;
    for (size_t i = 2; i < 6; i++) {
        const char *digits = "0123456789abcdef", *digit = memchr(digits, text[i] | 0x20, 16);

        if (!digit || text[i] < '0')
            return -1;
        value = value << 4 | (int32_t) (digit - digits);
    }
    return value;
}

/* json-c misreads some surrogate pairs (those of U+1D800 to U+1DBFF), so none is let through to it. */
static const char *unicode_escape(const char *text, size_t size, size_t *length, size_t *decoded) {
    int32_t value = escape_value(text, size);

    if (value < 0)
        return "\\u must be followed by four hexadecimal digits";
    if (value == 0)
        return "\\u0000 would cut the string; leave it out";
    if (value >= 0xd800 && value <= 0xdfff)
        return "surrogates are not known; write the character itself, in UTF-8";
    *length = 6;
    *decoded += value < 0x80 ? 1 : value < 0x800 ? 2 : 3;
    return NULL;
}

/* What is wrong with the character or escape at @text, NULL when nothing is: then *length and *decoded are set. */
static const char *character(const char *text, size_t size, size_t *length, size_t *decoded) {
    if (*text == '\\') {
        if (size > 1 && text[1] == 'u')
            return unicode_escape(text, size, length, decoded);
        if (size < 2 || !text[1] || !strchr("\"\\/bfnrt", text[1]))
            return "unknown escape; JSON knows \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX";
        *length = 2;
        *decoded += 1;
        return NULL;
    }
    if ((unsigned char) *text < ' ')
        return "control character in a string; write an escape such as \\n, or close the string with a double quote";
    *length = utf8_length((const unsigned char *) text, size);
    *decoded += *length;
    return *length ? NULL : "not valid UTF-8";
}

size_t json_string_length(const char *text, size_t size, size_t *ret_decoded, const char **ret_problem) {
    size_t decoded = 0, length = 0;

    for (size_t at = 1; at < size; at += length) {
        if (text[at] == '"') {
            *ret_decoded = decoded;
            return at + 1;
        }
        *ret_problem = character(text + at, size - at, &length, &decoded);
        if (*ret_problem)
            return at;
    }
    *ret_problem = "the string has no end; close it with a double quote";
    return size;
}
