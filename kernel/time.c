// SPDX-License-Identifier: GPL-2.0-only
/*
 * Deadlines: points of the monotonic clock, KTIME_MAX for never.
 */

#include <linux/jiffies.h>
#include <linux/sched.h>

#include "internal.h"

/* A century: what is longer never ends, and what is shorter can be added. */
#define FOREVER_USEC (100ULL * 365 * 86400 * USEC_PER_SEC)

ktime_t ioregion_after(ktime_t from, u64 usec)
{
	return usec < FOREVER_USEC ? ktime_add_us(from, usec) : KTIME_MAX;
}

bool ioregion_passed(ktime_t when)
{
	return ktime_compare(ktime_get(), when) >= 0;
}

/* For a wait that may end early; rounded up, so that it never ends early for the clock's sake. */
unsigned long ioregion_jiffies_until(ktime_t when)
{
	s64 left;

	if (when == KTIME_MAX)
		return MAX_SCHEDULE_TIMEOUT;
	left = ktime_to_ns(ktime_sub(when, ktime_get()));
	if (left <= 0)
		return 0;
	return min_t(u64, nsecs_to_jiffies64(left) + 1, MAX_SCHEDULE_TIMEOUT - 1);
}
