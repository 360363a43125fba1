// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exchanges on a channel: whose turn it is, what is sent, who is answered.
 *
 * One queue a channel, served in the order of arrival. A command that wants a
 * response is sent when none is owed; a posted write when there is room. Both
 * go through one ring, which keeps the order. The device's progress (a read
 * makes room, a write settles what is owed) sends what can be sent next.
 *
 * The clock is the channel's: "due" is set while a response is owed, or while
 * the ring is full and the queue is not empty. Whoever waits first finds it
 * passed, and cuts the device off. For the clock to be watched at all times,
 * one who leaves early wakes the head of the queue, which then looks at it.
 */

#include <linux/poll.h>
#include <linux/sched/signal.h>

#include "internal.h"
#include "trace.h"

static bool wants_response(const struct ioregionfd_cmd *cmd)
{
	return cmd->info & IOREGIONFD_CMD_RESP;
}

static ktime_t due_for(const struct ioregion_exchange *ex)
{
	return ioregion_after(ktime_get(), ex->region->desc.timeout_usec);
}

static bool ring_full(const struct ioregion_channel *channel)
{
	return channel->head - channel->tail == IOREGION_RING;
}

static void put(struct ioregion_channel *channel, const struct ioregionfd_cmd *cmd)
{
	channel->ring[channel->head % IOREGION_RING] = *cmd;
	WRITE_ONCE(channel->head, channel->head + 1);
	trace_ioregionfd_command(cmd);
}

static void wake_reader(struct ioregion_channel *channel, bool was_empty)
{
	/* Readers sleep only when they have queued, and then seen the ring empty, with the lock. */
	if (was_empty && channel->head != channel->tail && waitqueue_active(&channel->device))
		wake_up_poll(&channel->device, EPOLLIN);
}

static void send(struct ioregion_channel *channel, struct ioregion_exchange *ex)
{
	list_del_init(&ex->queued);
	put(channel, &ex->cmd);
	if (wants_response(&ex->cmd)) {
		channel->owed = true;
		channel->owner = ex;
		channel->taken = false;
		channel->info = ex->cmd.info;
		channel->due = due_for(ex);
	} else {
		ex->done = true;
	}
}

/* Send all that can be sent; wake those it concerns, but for the caller's own exchange. */
static void pump(struct ioregion_channel *channel, struct ioregion_exchange *self)
{
	bool empty = channel->head == channel->tail;
	struct ioregion_exchange *ex;

	while (!list_empty(&channel->queue)) {
		ex = list_first_entry(&channel->queue, struct ioregion_exchange, queued);
		if (READ_ONCE(ex->region->dead)) { /* knows, and may be long in leaving */
			list_del_init(&ex->queued);
			continue;
		}
		if (channel->owed && wants_response(&ex->cmd))
			break;
		if (!ring_full(channel))
			send(channel, ex);
		else if (!channel->due)
			channel->due = due_for(ex);
		else
			break;
		if (ex != self)
			complete(&ex->wake);
	}
	wake_reader(channel, empty);
}

/*
 * A posted write that nothing is in the way of: no turn to wait for, so nobody waits. With the
 * region's lock, under which it is neither dead nor swapped. False: it takes ioregion_exchange().
 */
bool ioregion_channel_post(struct ioregion_channel *channel, const struct ioregionfd_cmd *cmd)
{
	bool sent, empty;

	spin_lock(&channel->lock);
	empty = channel->head == channel->tail;
	sent = !channel->loss && list_empty(&channel->queue) && !ring_full(channel);
	if (sent) {
		put(channel, cmd);
		wake_reader(channel, empty);
	}
	spin_unlock(&channel->lock);
	return sent;
}

void ioregion_channel_cut_locked(struct ioregion_channel *channel, u32 loss)
{
	struct ioregion_exchange *ex;

	lockdep_assert_held(&channel->lock);
	if (channel->loss)
		return;
	trace_ioregionfd_loss(loss);
	channel->lost_at = ktime_get();
	WRITE_ONCE(channel->loss, loss);
	if (channel->owner)
		complete(&channel->owner->wake);
	list_for_each_entry(ex, &channel->queue, queued)
		complete(&ex->wake);
	wake_up_all(&channel->device);
	if (channel->vm)
		wake_up_poll(&channel->vm->wait, EPOLLIN);
}

/* The device takes no more commands; the response that it owes, it may still give. */
void ioregion_channel_shutdown(struct ioregion_channel *channel)
{
	spin_lock(&channel->lock);
	channel->closing = true;
	wake_up_all(&channel->device);
	spin_unlock(&channel->lock);
}

/* The next command for the device. */
bool ioregion_channel_pop(struct ioregion_channel *channel, struct ioregionfd_cmd *cmd)
{
	lockdep_assert_held(&channel->lock);
	if (channel->loss || channel->closing || channel->head == channel->tail)
		return false;
	*cmd = channel->ring[channel->tail % IOREGION_RING];
	WRITE_ONCE(channel->tail, channel->tail + 1);
	WRITE_ONCE(channel->posted, !wants_response(cmd));
	if (wants_response(cmd)) {
		channel->taken = true;
		if (channel->owner)
			channel->owner->taken = true;
	}
	if (!channel->owed)
		channel->due = 0;
	pump(channel, NULL);
	return true;
}

static bool response_fits(const struct ioregionfd_resp *resp, u32 info)
{
	unsigned int size = 1 << (info >> IOREGIONFD_CMD_SIZE_SHIFT & 3);
	u64 mask = info & IOREGIONFD_CMD_WRITE ? 0 : GENMASK_ULL(8 * size - 1, 0);

	return !(resp->data & ~mask) && !memchr_inv(resp->pad, 0, sizeof(resp->pad));
}

/* The device's response; false if it is none that it may give. */
bool ioregion_channel_answer(struct ioregion_channel *channel, const struct ioregionfd_resp *resp)
{
	lockdep_assert_held(&channel->lock);
	if (!channel->owed || !channel->taken || !response_fits(resp, channel->info))
		return false;
	trace_ioregionfd_response(resp->data);
	if (channel->owner) {
		channel->owner->data = resp->data;
		channel->owner->done = true;
		complete(&channel->owner->wake);
	}
	channel->owner = NULL;
	channel->owed = false;
	channel->due = 0;
	pump(channel, NULL);
	return true;
}

/* No reason to wait any more. */
bool ioregion_abandoned(const struct ioregion *region)
{
	return READ_ONCE(region->dead) || fatal_signal_pending(current);
}

/* The deadline belongs to the one whose command is out, if he is still there. */
static void miss_deadline(struct ioregion_channel *channel, struct ioregion_exchange *ex)
{
	struct ioregion_exchange *late = channel->owner ?: ex;

	atomic64_inc(&late->region->timeouts);
	ioregion_channel_cut_locked(channel, IOREGIONFD_LOSS_DEADLINE);
}

/* Leave without an answer. One that comes later is still owed, and goes to nobody. */
static void withdraw(struct ioregion_channel *channel, struct ioregion_exchange *ex)
{
	list_del_init(&ex->queued);
	if (channel->owner == ex)
		channel->owner = NULL;
	if (!channel->loss)
		pump(channel, ex);
	if (!list_empty(&channel->queue)) {
		ex = list_first_entry(&channel->queue, struct ioregion_exchange, queued);
		complete(&ex->wake);
	}
}

/**
 * ioregion_exchange() - send a command, and wait for its answer if it wants one
 * @channel: where to
 * @ex: the command, and where the answer goes
 *
 * The wait is killable, and bounded by the deadline; signals that do not kill
 * leave it alone. Returns true once sent (posted) or answered, false when the
 * channel is or was lost, the region is dead, or the task is being killed.
 */
bool ioregion_exchange(struct ioregion_channel *channel, struct ioregion_exchange *ex)
{
	ktime_t until;

	ex->done = false;
	ex->taken = false;
	spin_lock(&channel->lock);
	if (!channel->loss) {
		list_add_tail(&ex->queued, &channel->queue);
		pump(channel, ex);
	}
	while (!ex->done && !channel->loss && !ioregion_abandoned(ex->region)) {
		until = channel->due ?: KTIME_MAX;
		if (ioregion_passed(until)) {
			miss_deadline(channel, ex);
			break;
		}
		spin_unlock(&channel->lock);
		wait_for_completion_killable_timeout(&ex->wake, ioregion_jiffies_until(until));
		spin_lock(&channel->lock);
	}
	if (!ex->done)
		withdraw(channel, ex);
	spin_unlock(&channel->lock);
	return ex->done;
}
