/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIBIOREGION_VERSIONED_H
#define LIBIOREGION_VERSIONED_H

/* Structs whose first member is their size, from callers of earlier and later versions. */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Copy what both sides know into the zeroed @to. False if @from has something set that only its side knows. */
static inline bool versioned_copy(void *to, size_t size, const void *from, size_t from_size) {
    const char *bytes = from;

    memcpy(to, from, from_size < size ? from_size : size);
    for (size_t i = size; i < from_size; i++)
        if (bytes[i])
            return false;
    return true;
}

#endif
