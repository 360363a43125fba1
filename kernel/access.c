// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU's access to a region.
 *
 * KVM calls in here with kvm->srcu read-locked, from the vCPU's thread. Whether
 * the access is the region's is decided first: once the lock was dropped the
 * bus may be another, and "not mine" can't be said any more. Then the lock is
 * dropped for as long as the device takes, so that memory slots and the bus
 * can be changed meanwhile. The region may have left the bus when the vCPU
 * comes back, and be its own alone.
 */

#include <linux/log2.h>

#include "internal.h"

/* The device is gone and asked for its accesses to go to the VMM then. */
static bool is_gone(const struct ioregion *region)
{
	return region->desc.flags & IOREGIONFD_REGION_REMOVE &&
	       READ_ONCE(region->channel->loss) == IOREGIONFD_LOSS_EOF;
}

static bool enter(struct ioregion *region, struct ioregion_exchange *ex)
{
	bool ours;

	spin_lock(&region->lock);
	ours = !region->dead && !is_gone(region);
	if (ours) {
		kref_get(&region->ref);
		ex->region = region;
		INIT_LIST_HEAD(&ex->queued);
		init_completion(&ex->wake);
		list_add(&ex->inside, &region->inside);
	}
	spin_unlock(&region->lock);
	return ours;
}

static void leave(struct ioregion *region, struct ioregion_exchange *ex)
{
	spin_lock(&region->lock);
	list_del(&ex->inside);
	spin_unlock(&region->lock);
	ioregion_put(region);
}

/* When waiting for another channel is over: at once, unless the region is to be held. */
static ktime_t held_until(const struct ioregion *region, struct ioregion_channel *channel)
{
	if (channel->loss == IOREGIONFD_LOSS_VIOLATION ||
	    !(region->desc.flags & IOREGIONFD_REGION_HOLD))
		return 0;
	return ioregion_after(channel->lost_at, region->desc.grace_usec);
}

/* A reference to the region's channel, if that works; waits under hold. NULL: the access fails. */
static struct ioregion_channel *settle(struct ioregion *region, struct ioregion_exchange *ex)
{
	struct ioregion_channel *channel;
	ktime_t until;
	bool lost;

	for (;;) {
		spin_lock(&region->lock);
		channel = region->channel;
		kref_get(&channel->ref);
		spin_unlock(&region->lock);

		spin_lock(&channel->lock);
		lost = channel->loss;
		until = held_until(region, channel);
		spin_unlock(&channel->lock);
		if (!lost && !ioregion_abandoned(region))
			return channel;
		ioregion_channel_put(channel);
		if (ioregion_abandoned(region) || ioregion_passed(until))
			return NULL;
		wait_for_completion_killable_timeout(&ex->wake, ioregion_jiffies_until(until));
	}
}

/*
 * One command until it is answered. It is sent again only if nobody has read
 * it, or under replay.
 */
static bool deliver(struct ioregion *region, struct ioregion_exchange *ex)
{
	struct ioregion_channel *channel;
	bool again = true, done = false;

	while (!done) {
		channel = settle(region, ex);
		if (!channel)
			return false;
		if (again)
			done = ioregion_exchange(channel, ex);
		ioregion_channel_put(channel);
		if (!again || (!done && ioregion_abandoned(region)))
			return false;
		again = !ex->taken || region->desc.flags & IOREGIONFD_REGION_REPLAY;
	}
	return true;
}

static void account(struct ioregion *region, const struct ioregionfd_cmd *cmd, bool done)
{
	bool write = cmd->info & IOREGIONFD_CMD_WRITE;

	atomic64_inc(write ? &region->writes : &region->reads);
	if (!(cmd->info & IOREGIONFD_CMD_RESP))
		atomic64_inc(&region->posted);
	if (!done)
		atomic64_inc(&region->failures);
}

static u32 info_for(const struct ioregion *region, unsigned int size, bool write)
{
	u32 info = ilog2(size) << IOREGIONFD_CMD_SIZE_SHIFT;

	if (write)
		info |= IOREGIONFD_CMD_WRITE;
	if (!write || !(region->desc.flags & KVM_IOREGION_POSTED_WRITES))
		info |= IOREGIONFD_CMD_RESP;
	return info;
}

/* KVM cuts accesses at page borders: what is left may have any size up to 8. */
static void exchange_parts(struct ioregion *region, struct ioregion_exchange *ex, u64 offset,
			   int len, void *val, bool write)
{
	unsigned int size;
	bool done;

	for (; len; len -= size, val += size, offset += size) {
		size = rounddown_pow_of_two(len);
		ex->cmd = (struct ioregionfd_cmd) {
			.info		= info_for(region, size, write),
			.user_data	= region->desc.user_data,
			.offset		= offset,
		};
		if (write)
			memcpy(&ex->cmd.data, val, size);
		done = deliver(region, ex);
		account(region, &ex->cmd, done);
		if (!write && done)
			memcpy(val, &ex->data, size);
		else if (!write)
			memset(val, 0xff, size);
	}
}

/* Nobody waits, so srcu stays locked, and the vCPU need not be known to be inside. */
static bool post(struct ioregion *region, u64 offset, int len, const void *val)
{
	struct ioregionfd_cmd cmd = { .user_data = region->desc.user_data, .offset = offset };
	bool sent;

	if (!(region->desc.flags & KVM_IOREGION_POSTED_WRITES) || !is_power_of_2(len))
		return false;
	cmd.info = info_for(region, len, true);
	memcpy(&cmd.data, val, len);
	spin_lock(&region->lock);
	sent = !region->dead && ioregion_channel_post(region->channel, &cmd);
	spin_unlock(&region->lock);
	if (sent)
		account(region, &cmd, true);
	return sent;
}

static int do_access(struct kvm_vcpu *vcpu, struct kvm_io_device *dev, gpa_t addr, int len,
		     void *val, bool write)
{
	struct ioregion *region = ioregion_of(dev);
	struct ioregion_exchange ex;

	if (len < 1 || len > 8)
		return -EOPNOTSUPP;
	if (write && post(region, addr - region->desc.guest_paddr, len, val))
		return 0;
	if (!enter(region, &ex))
		return -EOPNOTSUPP;
	kvm_vcpu_srcu_read_unlock(vcpu);
	exchange_parts(region, &ex, addr - region->desc.guest_paddr, len, val, write);
	kvm_vcpu_srcu_read_lock(vcpu);
	leave(region, &ex);
	return 0;
}

int ioregion_read(struct kvm_vcpu *vcpu, struct kvm_io_device *dev, gpa_t addr, int len, void *val)
{
	return do_access(vcpu, dev, addr, len, val, false);
}

int ioregion_write(struct kvm_vcpu *vcpu, struct kvm_io_device *dev, gpa_t addr, int len,
		   const void *val)
{
	return do_access(vcpu, dev, addr, len, (void *)val, true);
}
