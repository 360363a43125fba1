/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reads a port for ever, tells when it reads something new, and now and then that it is still alive. Before that it
 * counts its starts in the next port. Argument: the port.
 */

#include "guest.h"

#define READS_PER_TICK 256

void guest(void) {
    uint32_t port = arguments.values[0];
    uint8_t last = inb(port), now;

    outb(port + 1, inb(port + 1) + 1);
    tell("start %b reads %b\n", inb(port + 1), last);
    for (uint32_t i = 1;; i++) {
        now = inb(port);
        if (now != last)
            tell("reads %b\n", now);
        if (i % READS_PER_TICK == 0)
            tell("tick\n");
        last = now;
    }
}
