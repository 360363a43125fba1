/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GUEST_TAP_H
#define GUEST_TAP_H

/*
 * The tests' frame: each test runs in a process of its own, with a time limit, and becomes a line of TAP.
 *
 * CHECK tells and goes on, REQUIRE tells and ends the test.
 */

#include <stddef.h>

struct test {
    const char *name;
    void (*run)(void);
    unsigned seconds; /* 0: 30 */
};

#define TEST(function, ...) {#function, function, ##__VA_ARGS__}

/* Every theme has one; all are listed in init.c. A zeroed test ends it. */
extern const struct test tests_errors[], tests_ranges[], tests_wire[], tests_deadline[], tests_disconnect[],
    tests_swap[], tests_shutdown[], tests_concurrency[], tests_vcpus[], tests_kill[], tests_hostile[], tests_fuzz[],
    tests_observe[], tests_linger[], tests_stuck[], tests_lifetime[], tests_memory[], benches[];

void tap_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void tap_end(void); /* the test is over, with what was found */
_Noreturn void tap_skip(void); /* the kernel has not got what it takes */

#define CHECK(condition)                                                                                             \
    do {                                                                                                             \
        if (!(condition))                                                                                            \
            tap_fail(__FILE__, __LINE__, "%s", #condition);                                                          \
    } while (0)

#define CHECK_EQ(a, b)                                                                                               \
    do {                                                                                                             \
        long long a_ = (long long) (a), b_ = (long long) (b);                                                        \
        if (a_ != b_)                                                                                                \
            tap_fail(__FILE__, __LINE__, "%s is %lld (0x%llx), not %s (0x%llx)", #a, a_, a_, #b, b_);                \
    } while (0)

#define FAIL(...)                                                                                                    \
    do {                                                                                                             \
        tap_fail(__FILE__, __LINE__, __VA_ARGS__);                                                                   \
        tap_end();                                                                                                   \
    } while (0)

#define REQUIRE(condition)                                                                                           \
    do {                                                                                                             \
        if (!(condition))                                                                                            \
            FAIL("%s (errno %d)", #condition, errno);                                                                \
    } while (0)

#endif
