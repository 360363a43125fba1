/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Sends back what it receives on a 16550 at 0x3f8, until the end of transmission was received twice. Argument: the
 * FIFOs' control.
 */

#include "guest.h"

#define UART 0x3f8
#define DATA_READY 0x01
#define OVERRUN 0x02
#define END 0x04

void guest(void) {
    uint32_t bytes = 0, overruns = 0, ends = 0;

    outb(UART + 2, arguments.values[0]); /* which forgets what has come */
    tell("ready\n");
    while (ends < 2) {
        uint8_t status, byte;

        while (!((status = inb(UART + 5)) & DATA_READY))
            ;
        byte = inb(UART);
        outb(UART, byte);
        bytes++;
        overruns += (status & OVERRUN) != 0;
        ends += byte == END;
    }
    tell("%l bytes, %l overruns\n", bytes, overruns);
}
