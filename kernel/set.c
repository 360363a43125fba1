// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_SET_IOREGION: add, swap, delete; and the counts of a region.
 */

#include <linux/string.h>

#include "internal.h"
#include "trace.h"

static u64 last_of_space(const struct kvm_ioregion *desc)
{
	return desc->flags & KVM_IOREGION_PIO ? 0xffff : U64_MAX;
}

/* The bus keeps lengths in an int. */
static bool valid(const struct kvm_ioregion *desc)
{
	u64 last = last_of_space(desc);

	if (desc->flags & ~IOREGIONFD_REGION_FLAGS || memchr_inv(desc->pad, 0, sizeof(desc->pad)))
		return false;
	if (desc->flags & IOREGIONFD_REGION_HOLD ? desc->flags & IOREGIONFD_REGION_REMOVE :
						   desc->grace_usec)
		return false;
	return desc->memory_size && desc->memory_size <= INT_MAX && desc->guest_paddr <= last &&
	       desc->memory_size - 1 <= last - desc->guest_paddr;
}

static bool same_range(const struct kvm_ioregion *a, const struct kvm_ioregion *b)
{
	return a->guest_paddr == b->guest_paddr && a->memory_size == b->memory_size &&
	       ioregion_bus(a) == ioregion_bus(b);
}

static bool same_but_fd(const struct kvm_ioregion *a, const struct kvm_ioregion *b)
{
	return same_range(a, b) && a->user_data == b->user_data && a->flags == b->flags &&
	       a->timeout_usec == b->timeout_usec && a->grace_usec == b->grace_usec;
}

static struct ioregion *find(struct ioregion_vm *vm, const struct kvm_ioregion *desc)
{
	struct ioregion *region;

	list_for_each_entry(region, &vm->regions, list)
		if (!READ_ONCE(region->dead) && same_range(&region->desc, desc))
			return region;
	return NULL;
}

static bool token_taken(struct ioregion_vm *vm, struct ioregion_channel *channel, u64 user_data)
{
	struct ioregion *region;

	list_for_each_entry(region, &vm->regions, list)
		if (!READ_ONCE(region->dead) && region->channel == channel &&
		    region->desc.user_data == user_data)
			return true;
	return false;
}

static bool match_ours(struct kvm_io_device *dev, void *arg)
{
	return ioregion_dev_is_ours(dev);
}

static int insert(struct ioregion *region)
{
	const struct kvm_ioregion *desc = &region->desc;
	enum kvm_bus bus = ioregion_bus(desc);
	struct kvm_io_bus *replaced = NULL;
	struct kvm *kvm;
	int ret = ioregion_change_begin(region->vm, &kvm);

	if (ret)
		return ret;
	kref_get(&region->ref);
	ret = -ENOSPC;
	if (ioregion_bus_count(kvm, bus, match_ours, NULL) < IOREGION_MAX_REGIONS)
		ret = ioregion_bus_insert(kvm, bus, desc->guest_paddr, desc->memory_size,
					  &region->dev, &replaced);
	ioregion_change_end(region->vm, kvm, replaced);
	if (ret)
		ioregion_put(region);
	return ret;
}

/* Takes the reference of the channel when it succeeds; so does swap_channel(). */
static int add(struct ioregion_vm *vm, const struct kvm_ioregion *desc,
	       struct ioregion_channel *channel)
{
	struct ioregion *region;
	int ret;

	if (token_taken(vm, channel, desc->user_data))
		return -EEXIST;
	ret = ioregion_channel_claim(channel, vm);
	if (ret)
		return ret;
	region = ioregion_new(vm, desc, channel);
	ret = region ? insert(region) : -ENOMEM;
	if (ret) {
		ioregion_channel_unclaim(channel, false);
		if (region) {
			kref_get(&channel->ref);
			ioregion_put(region);
		}
		return ret;
	}
	list_add_tail(&region->list, &vm->regions);
	trace_ioregionfd_region("add", desc);
	return 0;
}

static int swap_channel(struct ioregion *region, struct ioregion_channel *channel)
{
	struct ioregion_vm *vm = region->vm;
	int ret;

	if (channel != region->channel && token_taken(vm, channel, region->desc.user_data))
		return -EEXIST;
	ret = ioregion_channel_claim(channel, vm);
	if (ret)
		return ret;
	if (channel == region->channel) {
		ioregion_channel_unclaim(channel, false);
		ioregion_channel_put(channel);
		return 0;
	}
	if (!ioregion_swap(region, channel)) {
		ioregion_channel_unclaim(channel, false);
		return -ESRCH;
	}
	trace_ioregionfd_region("swap", &region->desc);
	return 0;
}

static int add_or_swap(struct ioregion_vm *vm, const struct kvm_ioregion *desc)
{
	struct ioregion_channel *channel = ioregion_channel_from_fd(desc->fd);
	struct ioregion *region = find(vm, desc);
	int ret = -EEXIST;

	if (IS_ERR(channel))
		return PTR_ERR(channel);
	if (!region)
		ret = add(vm, desc, channel);
	else if (same_but_fd(&region->desc, desc))
		ret = swap_channel(region, channel);
	if (ret)
		ioregion_channel_put(channel);
	return ret;
}

long ioregion_cut(struct ioregion_vm *vm, const struct kvm_ioregion *user)
{
	struct ioregion *region;
	long ret = -ENOENT;

	if (!valid(user))
		return -EINVAL;
	mutex_lock(&vm->lock);
	region = find(vm, user);
	if (region) {
		trace_ioregionfd_region("cut", &region->desc);
		ioregion_channel_cut(region->channel, IOREGIONFD_LOSS_EOF);
		ret = 0;
	}
	mutex_unlock(&vm->lock);
	return ret;
}

/* Dead regions leave the list, with vm->lock; the buses' references keep them for the sweep. */
void ioregion_vm_forget_dead(struct ioregion_vm *vm)
{
	struct ioregion *region, *next;

	list_for_each_entry_safe(region, next, &vm->regions, list) {
		if (!READ_ONCE(region->dead))
			continue;
		list_del(&region->list);
		ioregion_put(region);
	}
}

static int delete(struct ioregion_vm *vm, const struct kvm_ioregion *desc)
{
	struct ioregion *region = find(vm, desc);

	if (!region)
		return -ENOENT;
	trace_ioregionfd_region("delete", desc);
	ioregion_kill(region);
	ioregion_vm_forget_dead(vm);
	ioregion_vm_sweep(vm);
	return 0;
}

long ioregion_set(struct ioregion_vm *vm, const struct kvm_ioregion *user)
{
	struct kvm_ioregion desc = *user;
	long ret;

	if (!valid(&desc))
		return -EINVAL;
	desc.timeout_usec = desc.timeout_usec ?: IOREGION_TIMEOUT_USEC;
	mutex_lock(&vm->lock);
	ret = desc.fd == -1 ? delete(vm, &desc) : add_or_swap(vm, &desc);
	mutex_unlock(&vm->lock);
	return ret;
}

static void fill(struct ioregion *region, struct ioregionfd_stats *stats)
{
	stats->state = ioregion_state(region, &stats->loss);
	stats->reads = atomic64_read(&region->reads);
	stats->writes = atomic64_read(&region->writes);
	stats->posted = atomic64_read(&region->posted);
	stats->failures = atomic64_read(&region->failures);
	stats->timeouts = atomic64_read(&region->timeouts);
}

long ioregion_get_stats(struct ioregion_vm *vm, struct ioregionfd_stats *stats)
{
	const struct kvm_ioregion desc = {
		.guest_paddr = stats->guest_paddr,
		.memory_size = stats->memory_size,
		.flags = stats->flags,
	};
	struct ioregion *region;

	if (stats->flags & ~KVM_IOREGION_PIO || stats->zero)
		return -EINVAL;
	mutex_lock(&vm->lock);
	region = find(vm, &desc);
	if (region)
		fill(region, stats);
	mutex_unlock(&vm->lock);
	return region ? 0 : -ENOENT;
}
