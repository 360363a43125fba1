/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stddef.h>
#include <string.h>

#include "policy/quantity.h"

#define DAY_USEC (UINT64_C(24) * 3600 * 1000000)

/* Digits from @text on; returns what follows them, NULL when there are none or too many. Knows no locale. */
static const char *digits(const char *text, unsigned base, uint64_t *ret_value) {
    static const char all[] = "0123456789abcdef";
    uint64_t value = 0;
    const char *c = text;

    for (;; c++) {
        const char *digit = *c >= '0' ? memchr(all, *c >= 'A' && *c <= 'F' ? *c | 0x20 : *c, base) : NULL;

        if (!digit)
            break;
        if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit - all, &value))
            return NULL;
    }
    if (c == text)
        return NULL;
    *ret_value = value;
    return c;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* A number and one of @units; the list ends with a NULL name. */
static bool with_unit(const char *text, unsigned base, const struct unit *units, uint64_t *ret_value) {
    uint64_t value;
    const char *rest = digits(text, base, &value);

    for (; rest && units->name; units++)
        if (!strcmp(rest, units->name))
            return !__builtin_mul_overflow(value, units->factor, ret_value);
    return false;
}

bool parse_quantity(const char *text, uint64_t *ret_value) {
    static const struct unit units[] = {{"", 1},        {"K", 1 << 10},           {"M", 1 << 20},
                                        {"G", 1 << 30}, {"T", UINT64_C(1) << 40}, {NULL}};
    bool hexadecimal = text[0] == '0' && text[1] == 'x';
    uint64_t value;

    if (!with_unit(text + (hexadecimal ? 2 : 0), hexadecimal ? 16 : 10, units, &value))
        return false;
    *ret_value = value;
    return true;
}

bool parse_duration(const char *text, uint64_t *ret_usec) {
    static const struct unit units[] = {
        {"us", 1}, {"ms", 1000}, {"s", 1000000}, {"min", 60000000}, {"h", UINT64_C(3600000000)}, {NULL}};
    uint64_t value;

    if (!with_unit(text, 10, units, &value) || value > DAY_USEC)
        return false;
    *ret_usec = value;
    return true;
}

bool parse_rate(const char *text, uint64_t *ret_per_second) {
    static const struct unit units[] = {{"/s", 1}, {NULL}};
    uint64_t value;

    if (!with_unit(text, 10, units, &value))
        return false;
    *ret_per_second = value;
    return true;
}
