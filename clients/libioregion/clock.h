/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIBIOREGION_CLOCK_H
#define LIBIOREGION_CLOCK_H

/* Deadlines: microseconds of CLOCK_MONOTONIC. */

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_now_usec(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * UINT64_C(1000000) + (uint64_t) now.tv_nsec / 1000;
}

/* @usec from @now, or never when that is beyond the end of time. */
static inline uint64_t clock_after(uint64_t now, uint64_t usec) {
    return usec > UINT64_MAX - now ? UINT64_MAX : now + usec;
}

/* What is left until @deadline, 0 when it has passed. */
static inline uint64_t clock_left(uint64_t deadline) {
    uint64_t now = clock_now_usec();

    return deadline > now ? deadline - now : 0;
}

static inline struct timespec clock_timespec(uint64_t usec) {
    return (struct timespec){.tv_sec = (time_t) (usec / 1000000), .tv_nsec = (long) (usec % 1000000) * 1000};
}

#endif
