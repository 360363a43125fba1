/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Look-up without a lock.
 *
 * Each space has two buffers. Readers use the current one; the writer fills the other, makes it current and waits
 * until nobody can still be reading the old one, which is then the spare of the next change. So removing needs no
 * memory and can't fail: a spare is never smaller than what is left after a removal. The spare differs from the
 * current one only from the last change on: what is before need not be copied again.
 *
 * Readers count themselves in one of two counters, which the epoch chooses. After making a table current the writer
 * turns the epoch over and waits for the other counter to run down: it can't starve, since new readers use the new
 * counter. Readers stay for the length of a search; who found a region is counted in the region itself.
 */

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "vmm-internal.h"

static unsigned readers_enter(struct tables *tables) {
    for (;;) {
        unsigned epoch = atomic_load(&tables->epoch);

        atomic_fetch_add(&tables->readers[epoch & 1], 1);
        if (atomic_load(&tables->epoch) == epoch)
            return epoch & 1;
        /* The writer may have looked at the counter before we were in it. */
        atomic_fetch_sub(&tables->readers[epoch & 1], 1);
    }
}

static void readers_wait(struct tables *tables) {
    unsigned old = atomic_fetch_add(&tables->epoch, 1) & 1;

    while (atomic_load(&tables->readers[old]))
        sched_yield();
}

/* How many bases are at or below @address. */
static size_t count_up_to(const struct table *table, uint64_t address) {
    size_t low = 0, n = table->n;

    while (n > 0) {
        size_t half = n / 2;

        if (table->bases[low + half] <= address) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return low;
}

struct region *tables_enter(struct tables *tables, uint32_t space, uint64_t address, uint64_t size) {
    unsigned counter = readers_enter(tables);
    const struct table *table = atomic_load(&tables->spaces[space].current);
    size_t position = table ? count_up_to(table, address) : 0;
    struct region *region = position ? table->regions[position - 1] : NULL;

    if (region && (size > region->size || address - region->base > region->size - size))
        region = NULL;
    if (region)
        atomic_fetch_add(&region->users, REGION_USER);
    atomic_fetch_sub(&tables->readers[counter], 1);
    return region;
}

bool tables_leave(struct region *region) {
    return atomic_fetch_sub(&region->users, REGION_USER) == (REGION_USER | REGION_REMOVED);
}

static int table_reserve(struct table *table, size_t n) {
    size_t capacity = n < 16 ? 16 : n + n / 2;
    struct region **regions;
    uint64_t *bases;

    if (n <= table->capacity)
        return 0;
    regions = reallocarray(table->regions, capacity, sizeof(*regions));
    if (!regions)
        return -ENOMEM;
    table->regions = regions;
    bases = reallocarray(table->bases, capacity, sizeof(*bases));
    if (!bases)
        return -ENOMEM;
    table->bases = bases;
    table->capacity = capacity;
    return 0;
}

/* The buffer that no reader sees. */
static struct table *spare(struct tables *tables, uint32_t space) {
    struct table *buffers = tables->spaces[space].buffers;

    return atomic_load(&tables->spaces[space].current) == buffers ? buffers + 1 : buffers;
}

/* Append entries [@from, @to) of @source to @table. */
static void append(struct table *table, const struct table *source, size_t from, size_t to) {
    memcpy(table->regions + table->n, source->regions + from, (to - from) * sizeof(*table->regions));
    memcpy(table->bases + table->n, source->bases + from, (to - from) * sizeof(*table->bases));
    table->n += to - from;
}

/* Let @table, the spare, hold what @source has before @position. */
static void begin_as(struct tables *tables, uint32_t space, struct table *table, const struct table *source,
                     size_t position) {
    size_t same = tables->spaces[space].same;

    table->n = same < position ? same : position;
    if (table->n < position)
        append(table, source, table->n, position);
    tables->spaces[space].same = position;
}

static void publish(struct tables *tables, uint32_t space, struct table *table) {
    atomic_store(&tables->spaces[space].current, table);
    readers_wait(tables);
}

int tables_add(struct tables *tables, struct region *region) {
    const struct table *old = atomic_load(&tables->spaces[region->space].current);
    size_t n = old ? old->n : 0, position = old ? count_up_to(old, region->base) : 0;
    struct table *table = spare(tables, region->space);
    int r;

    if (position > 0 && region->base - old->bases[position - 1] < old->regions[position - 1]->size)
        return -EEXIST;
    if (position < n && old->bases[position] - region->base < region->size)
        return -EEXIST;
    r = table_reserve(table, n + 1);
    if (r < 0)
        return r;
    begin_as(tables, region->space, table, old, position);
    table->regions[table->n] = region;
    table->bases[table->n++] = region->base;
    if (position < n)
        append(table, old, position, n);
    publish(tables, region->space, table);
    return 0;
}

void tables_remove(struct tables *tables, const struct region *region) {
    const struct table *old = atomic_load(&tables->spaces[region->space].current);
    size_t position = count_up_to(old, region->base);
    struct table *table = spare(tables, region->space);

    begin_as(tables, region->space, table, old, position - 1);
    if (position < old->n)
        append(table, old, position, old->n);
    publish(tables, region->space, table);
}

struct region *tables_overlap(struct tables *tables, uint32_t space, uint64_t base, uint64_t size) {
    const struct table *table = atomic_load(&tables->spaces[space].current);
    size_t position = table ? count_up_to(table, base) : 0;

    if (position > 0 && base - table->bases[position - 1] < table->regions[position - 1]->size)
        return table->regions[position - 1];
    if (table && position < table->n && table->bases[position] - base < size)
        return table->regions[position];
    return NULL;
}

void tables_release(struct tables *tables) {
    for (int space = 0; space < 2; space++)
        for (int i = 0; i < 2; i++) {
            free(tables->spaces[space].buffers[i].regions);
            free(tables->spaces[space].buffers[i].bases);
        }
}
