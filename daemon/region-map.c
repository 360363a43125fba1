/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <search.h>
#include <stddef.h>

#include <ioregion/wire.h>
#include "region-map.h"

#define PIO_LAST UINT64_C(0xffff)

int range_init(struct range *ret_range, uint32_t space, uint64_t base, uint64_t size, void *owner) {
    uint64_t last;

    if ((space != IOREGION_MMIO && space != IOREGION_PIO) || size == 0)
        return -EINVAL;
    if (__builtin_add_overflow(base, size - 1, &last))
        return -ERANGE;
    if (space == IOREGION_PIO && last > PIO_LAST)
        return -ERANGE;

    *ret_range = (struct range){.space = space, .base = base, .last = last, .owner = owner};
    return 0;
}

static int range_compare(const void *left, const void *right) {
    const struct range *a = left, *b = right;

    if (a->space != b->space)
        return a->space < b->space ? -1 : 1;
    if (a->last < b->base)
        return -1;
    return a->base > b->last ? 1 : 0;
}

int region_map_add(struct region_map *map, const struct range *range, const struct range **ret_conflict) {
    const struct range **node = tsearch(range, &map->root, range_compare);

    if (!node)
        return -ENOMEM;
    if (*node != range) {
        *ret_conflict = *node;
        return -EEXIST;
    }
    return 0;
}

void region_map_remove(struct region_map *map, const struct range *range) {
    tdelete(range, &map->root, range_compare);
}

const struct range *region_map_find(const struct region_map *map, uint32_t space, uint64_t address) {
    const struct range key = {.space = space, .base = address, .last = address};
    const struct range **node = tfind(&key, &map->root, range_compare);

    return node ? *node : NULL;
}
