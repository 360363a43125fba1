/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The region map: ranges 1-5, 7-11 of the edge cases, and a random run against an array of all ports. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>

#include <ioregion/wire.h>
#include "daemon/region-map.h"

static struct range make(uint32_t space, uint64_t base, uint64_t size) {
    struct range range;

    assert_int_equal(range_init(&range, space, base, size, NULL), 0);
    return range;
}

/* Does b fit beside a? */
static int beside(struct range a, struct range b) {
    struct region_map map = {0};
    const struct range *conflict = NULL;
    int r;

    assert_int_equal(region_map_add(&map, &a, &conflict), 0);
    r = region_map_add(&map, &b, &conflict);
    if (r == 0)
        region_map_remove(&map, &b);
    else
        assert_ptr_equal(conflict, &a);
    region_map_remove(&map, &a);
    assert_null(map.root);
    return r;
}

static void overlaps(void **state) {
    const uint32_t m = IOREGION_MMIO, p = IOREGION_PIO;

    assert_int_equal(beside(make(m, 5, 1), make(m, 5, 1)), -EEXIST);             /* 1 */
    assert_int_equal(beside(make(m, 0x100, 0x10), make(m, 0x10f, 1)), -EEXIST);  /* 2 */
    assert_int_equal(beside(make(m, 0x100, 0x10), make(m, 0x110, 1)), 0);        /* 3 */
    assert_int_equal(beside(make(m, 0x100, 0x10), make(m, 0xff, 1)), 0);         /* 3 */
    assert_int_equal(beside(make(m, 0x100, 0x10), make(m, 0x104, 4)), -EEXIST);  /* 4 */
    assert_int_equal(beside(make(m, 0x104, 4), make(m, 0x100, 0x10)), -EEXIST);  /* 4 */
    assert_int_equal(beside(make(m, 0x100, 0x10), make(p, 0x100, 0x10)), 0);     /* 5 */
    assert_int_equal(beside(make(m, UINT64_MAX, 1), make(m, 0, UINT64_MAX)), 0); /* 7 */
}

static void bounds(void **state) {
    struct range range;

    assert_int_equal(range_init(&range, IOREGION_MMIO, UINT64_MAX - 0xfff, 0x1000, NULL), 0); /* 7 */
    assert_true(range.last == UINT64_MAX);
    assert_int_equal(range_init(&range, IOREGION_MMIO, UINT64_MAX - 0xfff, 0x1001, NULL), -ERANGE);
    assert_int_equal(range_init(&range, IOREGION_MMIO, 0, UINT64_C(1) << 31, NULL), 0); /* 8 */
    assert_int_equal(range_init(&range, IOREGION_MMIO, 0, UINT64_C(1) << 32, NULL), 0); /* 8 */
    assert_int_equal(range_init(&range, IOREGION_PIO, 0xffff, 1, NULL), 0);
    assert_int_equal(range_init(&range, IOREGION_PIO, 0xffff, 2, NULL), -ERANGE);  /* 9 */
    assert_int_equal(range_init(&range, IOREGION_PIO, 0x10000, 1, NULL), -ERANGE); /* 9 */
    assert_int_equal(range_init(&range, IOREGION_MMIO, 0, 0, NULL), -EINVAL);      /* 10 */
    assert_int_equal(range_init(&range, IOREGION_MMIO, 1, UINT64_MAX, NULL), 0);
    assert_int_equal(range_init(&range, IOREGION_MMIO, 2, UINT64_MAX, NULL), -ERANGE); /* 11 */
    assert_int_equal(range_init(&range, 2, 0, 1, NULL), -EINVAL);
}

#define PORTS 256
#define STEPS 20000

/* What an array of all addresses says, the map says too. */
static void random_walk(void **state) {
    static struct range ranges[PORTS];
    struct range *taken[PORTS] = {0};
    struct region_map map = {0};
    size_t added = 0;

    srand(1);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned base = (unsigned) rand() % PORTS, size = 1 + (unsigned) rand() % 8;
        const struct range *conflict = NULL;
        struct range *expected = NULL;

        assert_ptr_equal(region_map_find(&map, IOREGION_PIO, base), taken[base]);
        assert_null(region_map_find(&map, IOREGION_MMIO, base));
        if (taken[base]) {
            struct range *range = taken[base];

            region_map_remove(&map, range);
            for (uint64_t i = range->base; i <= range->last; i++)
                taken[i] = NULL;
            continue;
        }
        if (base + size > PORTS)
            continue;
        for (unsigned i = base; i < base + size; i++)
            expected = taken[i] ? taken[i] : expected;
        ranges[base] = make(IOREGION_PIO, base, size);
        if (expected) {
            assert_int_equal(region_map_add(&map, &ranges[base], &conflict), -EEXIST);
            assert_true(conflict->base < base + size && conflict->last >= base);
            continue;
        }
        assert_int_equal(region_map_add(&map, &ranges[base], &conflict), 0);
        for (unsigned i = base; i < base + size; i++)
            taken[i] = &ranges[base];
        added++;
    }
    assert_true(added > STEPS / 16);
    for (unsigned i = 0; i < PORTS; i++)
        if (taken[i] && taken[i]->base == i)
            region_map_remove(&map, taken[i]);
    assert_null(map.root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlaps),
        cmocka_unit_test(bounds),
        cmocka_unit_test(random_walk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
