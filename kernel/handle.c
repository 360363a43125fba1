// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM handle as its broker sees it, a file.
 */

#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "internal.h"

static int handle_release(struct inode *inode, struct file *file)
{
	struct ioregion_vm *vm = file->private_data;
	struct ioregion *region;

	mutex_lock(&vm->lock);
	list_for_each_entry(region, &vm->regions, list)
		ioregion_kill(region);
	smp_store_release(&vm->closed, true); /* who sees it sees all regions dead */
	ioregion_vm_forget_dead(vm);
	ioregion_vm_sweep(vm);
	mutex_unlock(&vm->lock);
	ioregion_vm_put(vm);
	return 0;
}

/* The next loss that was not told of; @take it. */
static bool next_event(struct ioregion_vm *vm, bool take, struct ioregionfd_event *event)
{
	struct ioregion *region;
	u32 loss;

	list_for_each_entry(region, &vm->regions, list) {
		ioregion_state(region, &loss);
		if (!loss || region->told || READ_ONCE(region->dead))
			continue;
		region->told = take;
		*event = (struct ioregionfd_event) {
			.guest_paddr = region->desc.guest_paddr,
			.memory_size = region->desc.memory_size,
			.user_data = region->desc.user_data,
			.flags = region->desc.flags,
			.loss = loss,
		};
		return true;
	}
	return false;
}

static bool look(struct ioregion_vm *vm, bool take, struct ioregionfd_event *event)
{
	bool found;

	mutex_lock(&vm->lock);
	found = next_event(vm, take, event);
	mutex_unlock(&vm->lock);
	return found;
}

static ssize_t handle_read(struct file *file, char __user *buf, size_t count, loff_t *pos)
{
	struct ioregion_vm *vm = file->private_data;
	struct ioregionfd_event event;

	if (count < sizeof(event))
		return -EINVAL;
	if (!look(vm, true, &event))
		return READ_ONCE(vm->kvm) ? -EAGAIN : 0;
	return copy_to_user(buf, &event, sizeof(event)) ? -EFAULT : sizeof(event);
}

static __poll_t handle_poll(struct file *file, poll_table *wait)
{
	struct ioregion_vm *vm = file->private_data;
	struct ioregionfd_event event;
	__poll_t ret = 0;

	poll_wait(file, &vm->wait, wait);
	if (!READ_ONCE(vm->kvm))
		ret |= EPOLLHUP;
	if (look(vm, false, &event))
		ret |= EPOLLIN | EPOLLRDNORM;
	return ret;
}

static long handle_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	struct ioregionfd_stats stats;
	struct kvm_ioregion desc;
	long ret;

	switch (cmd) {
	case KVM_SET_IOREGION:
	case IOREGIONFD_CUT_REGION:
		if (copy_from_user(&desc, user, sizeof(desc)))
			return -EFAULT;
		if (cmd == KVM_SET_IOREGION)
			return ioregion_set(file->private_data, &desc);
		return ioregion_cut(file->private_data, &desc);
	case IOREGIONFD_GET_STATS:
		if (copy_from_user(&stats, user, sizeof(stats)))
			return -EFAULT;
		ret = ioregion_get_stats(file->private_data, &stats);
		if (!ret && copy_to_user(user, &stats, sizeof(stats)))
			return -EFAULT;
		return ret;
	default:
		return -ENOTTY;
	}
}

static void show_region(struct seq_file *m, struct ioregion *region)
{
	static const char * const states[] = { "attached", "held", "failed", "gone" };
	const struct kvm_ioregion *desc = &region->desc;
	u32 loss;

	seq_printf(m, "%s:\t0x%llx+0x%llx flags 0x%x %s",
		   desc->flags & KVM_IOREGION_PIO ? "pio" : "mmio", desc->guest_paddr,
		   desc->memory_size, desc->flags, states[ioregion_state(region, &loss)]);
	seq_printf(m, " reads %lld writes %lld posted %lld failures %lld timeouts %lld",
		   atomic64_read(&region->reads), atomic64_read(&region->writes),
		   atomic64_read(&region->posted), atomic64_read(&region->failures),
		   atomic64_read(&region->timeouts));
	seq_printf(m, " user_data 0x%llx\n", desc->user_data);
}

static void handle_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct ioregion_vm *vm = file->private_data;
	struct ioregion *region;

	seq_printf(m, "vm:\t%s\n", READ_ONCE(vm->kvm) ? "alive" : "gone");
	mutex_lock(&vm->lock);
	list_for_each_entry(region, &vm->regions, list)
		show_region(m, region);
	mutex_unlock(&vm->lock);
}

const struct file_operations ioregion_handle_fops = {
	.owner		= THIS_MODULE,
	.read		= handle_read,
	.poll		= handle_poll,
	.unlocked_ioctl	= handle_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.release	= handle_release,
	.show_fdinfo	= handle_show_fdinfo,
};
