/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reads a register of one byte for ever, tells when it reads something new, and now and then that it is still alive.
 * Before that it counts its starts in the next register. Arguments: the address, and whether it is in memory.
 */

#include "guest.h"

#define READS_PER_TICK 256

static uint8_t get(uint32_t at) {
    return arguments.values[1] ? *(volatile uint8_t *) at : inb(at);
}

static void put(uint32_t at, uint8_t value) {
    if (arguments.values[1])
        *(volatile uint8_t *) at = value;
    else
        outb(at, value);
}

void guest(void) {
    uint32_t at = arguments.values[0];
    uint8_t last = get(at), now;

    put(at + 1, get(at + 1) + 1);
    tell("start %b reads %b\n", get(at + 1), last);
    for (uint32_t i = 1;; i++) {
        now = get(at);
        if (now != last)
            tell("reads %b\n", now);
        if (i % READS_PER_TICK == 0)
            tell("tick\n");
        last = now;
    }
}
