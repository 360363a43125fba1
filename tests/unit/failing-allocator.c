/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Allocations that fail on demand: linked with --wrap=malloc and so on, so that our own code sees them alone. */

#include <search.h>
#include <string.h>

#include "broker-rig.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
char *__wrap_strdup(const char *text);
void *__real_tsearch(const void *key, void **root, int (*compare)(const void *, const void *));
void *__wrap_tsearch(const void *key, void **root, int (*compare)(const void *, const void *));

static unsigned countdown;
static bool failed, paused;

void fail_allocation(unsigned nth) {
    countdown = nth;
    failed = false;
}

bool allocation_failed(void) {
    return failed;
}

void fail_pause(bool pause) {
    paused = pause;
}

static bool fail_now(void) {
    if (paused || countdown == 0 || --countdown > 0)
        return false;
    failed = true;
    return true;
}

void *__wrap_malloc(size_t size) {
    return fail_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fail_now() ? NULL : __real_calloc(n, size);
}

char *__wrap_strdup(const char *text) {
    return fail_now() ? NULL : __real_strdup(text);
}

/* It allocates its node inside the C library. */
void *__wrap_tsearch(const void *key, void **root, int (*compare)(const void *, const void *)) {
    return fail_now() ? NULL : __real_tsearch(key, root, compare);
}
