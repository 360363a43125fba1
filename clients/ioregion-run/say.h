/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RUN_SAY_H
#define RUN_SAY_H

/* One line for people on standard error, "ioregion-run: ...", at once and past the VMM's own buffers; keeps errno. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
