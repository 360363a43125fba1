/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGIONCTL_TEXT_H
#define IOREGIONCTL_TEXT_H

/*
 * Text for people. What comes from the bus or from a file may hold anything; nothing reaches a terminal but what
 * takes up columns there, so that no name can move the cursor or pass for another line.
 *
 * Strings that are returned are the caller's to free; NULL means out of memory.
 */

#include <stddef.h>
#include <stdint.h>

/* Control characters, what is not valid in the locale's encoding and what has no width become "\x1b". */
char *text_escape(const char *text);

/* How many columns a text that was escaped takes up. */
size_t text_width(const char *escaped);

/* "4K" where that is exact, else the number of bytes. */
char *text_size(uint64_t bytes);

/* "1s", "250ms", "17us": the largest unit that is exact. */
char *text_usec(uint64_t usec);

/* A moment of CLOCK_REALTIME: local time for people, to the millisecond. */
char *text_time(uint64_t usec);

/* One line on standard error, after the program's name; escaped. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
