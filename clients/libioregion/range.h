/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIBIOREGION_RANGE_H
#define LIBIOREGION_RANGE_H

#include <stdbool.h>
#include <ioregion/wire.h>

/* Is this a range of at least one byte that ends within its space? */
static inline bool range_valid(uint32_t space, uint64_t base, uint64_t size) {
    uint64_t last = space == IOREGION_PIO ? UINT64_C(0xffff) : UINT64_MAX;

    return space <= IOREGION_PIO && base <= last && size > 0 && size - 1 <= last - base;
}

#endif
