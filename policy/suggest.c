/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "policy/suggest.h"

#define WORD_MAX 32
#define CLOSE 2

static unsigned least(unsigned a, unsigned b, unsigned c) {
    unsigned d = a < b ? a : b;

    return d < c ? d : c;
}

/* How many letters to insert, drop or change to get from one word to the other; many for long words. */
static unsigned distance(const char *a, const char *b) {
    size_t n = strnlen(b, WORD_MAX + 1);
    unsigned row[WORD_MAX + 1];

    if (n > WORD_MAX || strnlen(a, WORD_MAX + 1) > WORD_MAX)
        return WORD_MAX;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 0; a[i]; i++) {
        unsigned diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 1; j <= n; j++) {
            unsigned cost = diagonal + (a[i] != b[j - 1]);

            diagonal = row[j];
            row[j] = least(cost, row[j] + 1, row[j - 1] + 1);
        }
    }
    return row[n];
}

const char *suggest(const char *text, const char *const *words, char *buffer) {
    const char *nearest = NULL;
    unsigned best = CLOSE + 1;
    size_t used = 0;

    for (size_t i = 0; words[i]; i++)
        if (distance(text, words[i]) < best) {
            best = distance(text, words[i]);
            nearest = words[i];
        }
    if (nearest)
        used += (size_t) snprintf(buffer, SUGGESTION_SIZE, "did you mean \"%s\"? ", nearest);
    used += (size_t) snprintf(buffer + used, SUGGESTION_SIZE - used, "known:");
    for (size_t i = 0; words[i] && used < SUGGESTION_SIZE; i++)
        used += (size_t) snprintf(buffer + used, SUGGESTION_SIZE - used, "%s %s", i ? "," : "", words[i]);
    return buffer;
}
