/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The look-up tables against an array of all addresses, over many random changes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>

#include "clients/libioregion/vmm-internal.h"

#define ADDRESSES 300
#define STEPS     30000

static struct region *look_up(struct tables *tables, uint64_t address) {
    struct region *region = tables_enter(tables, IOREGION_MMIO, address, 1);

    if (region)
        tables_leave(region);
    return region;
}

static void fill(struct region **taken, const struct region *region, struct region *with) {
    for (uint64_t i = 0; i < region->size; i++)
        taken[region->base + i] = with;
}

static void test_random_changes(void **state) {
    static struct region regions[ADDRESSES];
    struct region *taken[ADDRESSES + 8] = {0};
    struct tables tables = {0};
    unsigned added = 0, refused = 0;

    srand(1);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned base = (unsigned) rand() % ADDRESSES, probe = (unsigned) rand() % ADDRESSES;
        struct region *region = &regions[base];
        bool fits = true;

        assert_ptr_equal(look_up(&tables, probe), taken[probe]);
        assert_null(tables_enter(&tables, IOREGION_PIO, probe, 1));
        if (taken[base]) {
            region = taken[base];
            tables_remove(&tables, region);
            fill(taken, region, NULL);
            continue;
        }
        *region = (struct region){.base = base, .size = 1 + (unsigned) rand() % 4};
        for (uint64_t i = 0; i < region->size; i++)
            fits = fits && !taken[base + i];
        assert_int_equal(tables_add(&tables, region), fits ? 0 : -EEXIST);
        if (fits)
            fill(taken, region, region);
        added += fits;
        refused += !fits;
    }
    assert_true(added > STEPS / 8 && refused > STEPS / 64);
    for (unsigned i = 0; i < ADDRESSES; i++)
        assert_ptr_equal(look_up(&tables, i), taken[i]);
    tables_release(&tables);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_changes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
