/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/pool.h"

struct pool_chunk {
    struct pool_chunk *next;
    max_align_t data[];
};

void *pool_alloc(struct pool *pool, size_t n, size_t size) {
    struct pool_chunk *chunk;
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes) || __builtin_add_overflow(bytes, sizeof(*chunk), &bytes))
        return NULL;
    chunk = calloc(1, bytes);
    if (!chunk)
        return NULL;
    chunk->next = pool->chunks;
    pool->chunks = chunk;
    return chunk->data;
}

char *pool_strndup(struct pool *pool, const char *text, size_t size) {
    char *copy = pool_alloc(pool, size + 1, 1);

    return copy ? memcpy(copy, text, size) : NULL;
}

void pool_clear(struct pool *pool) {
    struct pool_chunk *next;

    for (struct pool_chunk *chunk = pool->chunks; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    pool->chunks = NULL;
}

int list_append(struct list *list, void *item) {
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 8;
        void **items = reallocarray(list->items, room, sizeof(*items));

        if (!items)
            return -ENOMEM;
        list->items = items;
        list->room = room;
    }
    list->items[list->n++] = item;
    return 0;
}

void list_clear(struct list *list) {
    free(list->items);
    *list = (struct list){0};
}
