// SPDX-License-Identifier: GPL-2.0-only
/*
 * A region: a device on one of the VM's buses.
 *
 * References: one of the bus, given back by the destructor, which KVM calls when
 * the VM ends, or by sweep.c when it has taken the region out; one of the list
 * vm->regions; and one of each vCPU inside. A region dies once, by whoever comes
 * first; from then on no vCPU enters, those inside leave without the device, and
 * no command of theirs is sent.
 */

#include <linux/slab.h>

#include "internal.h"

static void region_destructor(struct kvm_io_device *dev)
{
	struct ioregion *region = ioregion_of(dev);

	ioregion_kill(region);
	ioregion_put(region);
}

static const struct kvm_io_device_ops region_ops = {
	.read		= ioregion_read,
	.write		= ioregion_write,
	.destructor	= region_destructor,
};

bool ioregion_dev_is_ours(const struct kvm_io_device *dev)
{
	return dev->ops == &region_ops;
}

/* The caller has claimed the channel, and gives its reference to the region. */
struct ioregion *ioregion_new(struct ioregion_vm *vm, const struct kvm_ioregion *desc,
			      struct ioregion_channel *channel)
{
	struct ioregion *region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);

	if (!region)
		return NULL;
	__module_get(THIS_MODULE);
	kvm_iodevice_init(&region->dev, &region_ops);
	kref_init(&region->ref);
	kref_get(&vm->ref);
	region->vm = vm;
	region->desc = *desc;
	region->channel = channel;
	spin_lock_init(&region->lock);
	INIT_LIST_HEAD(&region->inside);
	return region;
}

/* The module may go once the last reference is given back; see ioregionfd_exit(). */
static void region_free(struct kref *ref)
{
	struct ioregion *region = container_of(ref, struct ioregion, ref);

	ioregion_channel_put(region->channel);
	ioregion_vm_put(region->vm);
	kfree(region);
	module_put(THIS_MODULE);
}

void ioregion_put(struct ioregion *region)
{
	kref_put(&region->ref, region_free);
}

static void wake_inside(struct ioregion *region)
{
	struct ioregion_exchange *ex;

	list_for_each_entry(ex, &region->inside, inside)
		complete(&ex->wake);
}

/* A dead region's channel is not swapped any more, so it may be read without the lock. */
void ioregion_kill(struct ioregion *region)
{
	bool first;

	spin_lock(&region->lock);
	first = !region->dead;
	WRITE_ONCE(region->dead, true);
	wake_inside(region);
	spin_unlock(&region->lock);
	if (first)
		ioregion_channel_unclaim(region->channel, true);
}

/*
 * Another channel, which the caller has claimed, and gives its reference of;
 * the former one ends. With vm->lock. False, and nothing given, if the region
 * is dead.
 */
bool ioregion_swap(struct ioregion *region, struct ioregion_channel *channel)
{
	bool dead;

	spin_lock(&region->lock);
	dead = region->dead;
	if (!dead) {
		swap(region->channel, channel);
		wake_inside(region);
	}
	spin_unlock(&region->lock);
	if (dead)
		return false;
	region->told = false;
	ioregion_channel_cut(channel, IOREGIONFD_LOSS_EOF);
	ioregion_channel_unclaim(channel, true);
	ioregion_channel_put(channel);
	return true;
}

static u32 state_after(const struct ioregion *region, u32 loss, ktime_t lost_at)
{
	u32 flags = region->desc.flags;

	if (!loss)
		return IOREGIONFD_STATE_ATTACHED;
	if (loss == IOREGIONFD_LOSS_EOF && flags & IOREGIONFD_REGION_REMOVE)
		return IOREGIONFD_STATE_GONE;
	if (loss != IOREGIONFD_LOSS_VIOLATION && flags & IOREGIONFD_REGION_HOLD &&
	    !ioregion_passed(ioregion_after(lost_at, region->desc.grace_usec)))
		return IOREGIONFD_STATE_HELD;
	return IOREGIONFD_STATE_FAILED;
}

/* With vm->lock, which keeps the channel. For brokers; accesses decide for themselves. */
u32 ioregion_state(struct ioregion *region, u32 *loss)
{
	struct ioregion_channel *channel = region->channel;
	ktime_t lost_at;

	spin_lock(&channel->lock);
	*loss = channel->loss;
	lost_at = channel->lost_at;
	spin_unlock(&channel->lock);
	return state_after(region, *loss, lost_at);
}
