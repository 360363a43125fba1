/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_POOL_H
#define POLICY_POOL_H

/*
 * Memory that lives and dies together: a policy is built of many small pieces, never changes, and goes as a whole.
 * Initialise both structs with zeros.
 */

#include <stddef.h>

struct pool_chunk;

struct pool {
    struct pool_chunk *chunks;
};

/* Zeroed memory, NULL when there is none left. */
void *pool_alloc(struct pool *pool, size_t n, size_t size);
char *pool_strndup(struct pool *pool, const char *text, size_t size);
void pool_clear(struct pool *pool);

/* A growing list of pointers into a pool. */
struct list {
    void **items;
    size_t n, room;
};

/* 0 or -ENOMEM. */
int list_append(struct list *list, void *item);
void list_clear(struct list *list);

#endif
