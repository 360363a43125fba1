/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_REGION_MAP_H
#define DAEMON_REGION_MAP_H

/*
 * Which guest addresses are taken, in one VM. Pure: a balanced tree (tsearch(3)) of disjoint ranges, in which two
 * ranges that overlap compare as equal. Every operation is O(log n).
 */

#include <stdint.h>

/* A range of addresses in one space; the last address is inclusive, so that a range may end at 2^64. */
struct range {
    uint32_t space; /* enum ioregion_space */
    uint64_t base, last;
    void *owner; /* the caller's: whose range this is */
};

struct region_map {
    void *root;
};

/*
 * Make a range of a base and a size in bytes. -EINVAL: unknown space or size 0. -ERANGE: it runs past 2^64, or past
 * port 0xffff.
 */
int range_init(struct range *ret_range, uint32_t space, uint64_t base, uint64_t size, void *owner);

/*
 * Add a range; the map points at it until it is removed. -EEXIST when it overlaps: then *ret_conflict is one of the
 * ranges in its way. -ENOMEM.
 */
int region_map_add(struct region_map *map, const struct range *range, const struct range **ret_conflict);

/* Remove a range that was added. */
void region_map_remove(struct region_map *map, const struct range *range);

/* The range that holds an address; NULL for none. */
const struct range *region_map_find(const struct region_map *map, uint32_t space, uint64_t address);

#endif
