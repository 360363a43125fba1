/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_ESCAPE_H
#define DAEMON_ESCAPE_H

/* Text from outside, made fit for one line of a log or a message on the bus. Pure. */

#include <stddef.h>

/*
 * Copy @text, with control characters and bytes that are no UTF-8 written as \xNN. What does not fit is cut between
 * characters. Backslashes stay, since unit names have them. Returns @buffer; NULL gives "".
 */
const char *escape(char *buffer, size_t size, const char *text);

#endif
