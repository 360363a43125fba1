/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TESTS_BENCH_FLOOD_H
#define TESTS_BENCH_FLOOD_H

#include <stdbool.h>

/* As many calls of a kind as it can make, until the input ends. Then says what was answered how often. */
void flood(const char *kind, const char *service);

bool flood_is_over(void); /* the input has ended */
void flood_say(const char *line);

#endif
