/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes so many accesses to one address, and tells when it starts and when it is done. Arguments: kind, address, count.
 */

#include "guest.h"

enum { READ_PORT, WRITE_PORT, READ_MEMORY, WRITE_MEMORY };

static void access(uint32_t kind, uint32_t address, uint32_t value) {
    switch (kind) {
    case READ_PORT:
        inb(address);
        break;
    case WRITE_PORT:
        outb(address, value);
        break;
    case READ_MEMORY:
        *(const volatile uint32_t *) address;
        break;
    default:
        *(volatile uint32_t *) address = value;
    }
}

void guest(void) {
    uint32_t kind = arguments.values[0], address = arguments.values[1], count = arguments.values[2];

    tell("start\n");
    for (uint32_t i = 0; i < count; i++)
        access(kind, address, i);
    tell("done\n");
}
