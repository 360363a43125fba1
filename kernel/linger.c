// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a reader waits for commands: awake for a moment, if that paid lately.
 *
 * To wake the device is the dearest part of a posted write, and the only part
 * in which the guest waits for it. So a reader that has read a posted write
 * stays awake for linger_usec once its next command has come as soon as that,
 * and until one has not: whoever is written to now and then sleeps at once.
 * It keeps only a CPU that nobody else wants.
 */

#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>

#include "internal.h"

static unsigned int linger_usec = 100;
module_param(linger_usec, uint, 0644);
MODULE_PARM_DESC(linger_usec, "how long a reader of posted writes stays awake at most; 0: never");

/* A look without the lock: who is told that there is something takes it, and looks again. */
static bool something_there(const struct ioregion_channel *channel)
{
	return READ_ONCE(channel->loss) || READ_ONCE(channel->closing) ||
	       READ_ONCE(channel->head) != READ_ONCE(channel->tail);
}

static bool cpu_is_wanted(void)
{
	return need_resched() || !single_task_running() || signal_pending(current);
}

static bool linger(const struct ioregion_channel *channel, u64 start, u64 limit)
{
	do {
		if (something_there(channel))
			return true;
		cpu_relax();
	} while (!cpu_is_wanted() && local_clock() - start < limit);
	return false;
}

static bool readable(struct ioregion_channel *channel)
{
	bool ret;

	spin_lock(&channel->lock);
	ret = something_there(channel);
	spin_unlock(&channel->lock);
	return ret;
}

/* Until there is a command, or no more will come; or -ERESTARTSYS. */
int ioregion_channel_wait(struct ioregion_channel *channel)
{
	u64 start = local_clock(), limit = (u64)READ_ONCE(linger_usec) * NSEC_PER_USEC;
	int ret;

	if (!READ_ONCE(channel->posted))
		return wait_event_interruptible(channel->device, readable(channel));
	if (READ_ONCE(channel->linger) && linger(channel, start, limit))
		return 0;
	ret = wait_event_interruptible(channel->device, readable(channel));
	WRITE_ONCE(channel->linger, local_clock() - start < limit);
	return ret;
}
