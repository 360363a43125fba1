// SPDX-License-Identifier: GPL-2.0-only
/*
 * What waits for a VM: never a caller, but a work item of the VM's handle.
 *
 * slots_lock and the grace periods of kvm->srcu are the VMM's to hold up: a
 * vCPU that takes a page fault on memory of a userfaultfd keeps both busy for
 * as long as it likes. Callers wait for a moment, and fail. What has to be done
 * nevertheless is done here: dead regions go from the buses, buses that were
 * replaced are freed, and the sentinel goes once the handle is closed.
 *
 * One sweep at a time, and no change of a bus before it is through: so a VM
 * that is held up costs one worker and a few buses, whatever is asked for. The
 * sentinel is the last to go, so that a new handle does not begin another.
 */

#include <linux/jiffies.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>

#include "internal.h"

static struct workqueue_struct *sweepers;

/* slots_lock, if it can be had within a moment. */
bool ioregion_lock_slots(struct kvm *kvm)
{
	unsigned long until = jiffies + IOREGION_PATIENCE;

	while (!mutex_trylock(&kvm->slots_lock)) {
		if (time_after(jiffies, until))
			return false;
		schedule_timeout_uninterruptible(1);
	}
	return true;
}

static bool is_dead(struct kvm_io_device *dev, void *vm)
{
	return ioregion_dev_is_ours(dev) && ioregion_of(dev)->vm == vm &&
	       READ_ONCE(ioregion_of(dev)->dead);
}

static bool take_dead(struct kvm_io_device *dev, void *vm)
{
	bool ret = is_dead(dev, vm);

	if (ret)
		list_add(&ioregion_of(dev)->gone, &((struct ioregion_vm *)vm)->gone);
	return ret;
}

static struct kvm_io_bus *take_dead_of(struct kvm *kvm, enum kvm_bus idx, struct ioregion_vm *vm)
{
	if (!ioregion_bus_count(kvm, idx, is_dead, vm))
		return NULL;
	return ioregion_bus_remove(kvm, idx, take_dead, vm);
}

/* The grace period sees out the vCPUs that look at the buses, and at what these lead to. */
static void sweep_regions(struct ioregion_vm *vm, struct kvm *kvm, struct kvm_io_bus *replaced)
{
	struct ioregion *region, *next;
	struct kvm_io_bus *mmio, *pio;

	mutex_lock(&kvm->slots_lock);
	mmio = take_dead_of(kvm, KVM_MMIO_BUS, vm);
	pio = take_dead_of(kvm, KVM_PIO_BUS, vm);
	mutex_unlock(&kvm->slots_lock);
	if (replaced || mmio || pio)
		synchronize_srcu_expedited(&kvm->srcu);
	list_for_each_entry_safe(region, next, &vm->gone, gone) {
		list_del(&region->gone);
		ioregion_put(region);
	}
	kfree(replaced);
	kfree(mmio);
	kfree(pio);
}

static void sweep(struct work_struct *work)
{
	struct ioregion_vm *vm = container_of(work, struct ioregion_vm, sweep);
	struct kvm *kvm = vm->held ?: ioregion_vm_get_kvm(vm);
	struct kvm_io_bus *replaced = vm->replaced;
	bool closed = smp_load_acquire(&vm->closed); /* then all regions are dead */

	vm->held = NULL;
	vm->replaced = NULL;
	if (kvm) {
		sweep_regions(vm, kvm, replaced);
		if (closed)
			ioregion_sentinel_remove(vm, kvm);
		kvm_put_kvm(kvm);
	}
	WRITE_ONCE(vm->held_up, false);
	if (atomic_dec_and_test(&vm->sweeps))
		wake_up_all(&vm->swept);
	ioregion_vm_put(vm);
}

/* With vm->lock, or when nobody else can know the handle. */
void ioregion_vm_sweep(struct ioregion_vm *vm)
{
	kref_get(&vm->ref);
	atomic_inc(&vm->sweeps);
	if (queue_work(sweepers, &vm->sweep))
		return;
	/* one that is yet to begin will do */
	atomic_dec(&vm->sweeps);
	ioregion_vm_put(vm);
}

/* Wait for the sweep under way, if there is one; not again for one that has let somebody down. */
static bool settled(struct ioregion_vm *vm)
{
	if (!atomic_read_acquire(&vm->sweeps))
		WRITE_ONCE(vm->held_up, false);
	else if (!READ_ONCE(vm->held_up) &&
		 !wait_event_timeout(vm->swept, !atomic_read_acquire(&vm->sweeps),
				     IOREGION_PATIENCE))
		WRITE_ONCE(vm->held_up, true);
	return !READ_ONCE(vm->held_up);
}

static void hand_over(struct ioregion_vm *vm, struct kvm *kvm, struct kvm_io_bus *replaced)
{
	vm->held = kvm;
	vm->replaced = replaced;
	ioregion_vm_sweep(vm);
}

/*
 * A change of the VM's buses, with vm->lock: from here to ioregion_change_end()
 * no sweep runs, slots_lock is held, and the VM stays. ESRCH when it is gone,
 * EBUSY when it does not let us within a moment.
 */
int ioregion_change_begin(struct ioregion_vm *vm, struct kvm **ret_kvm)
{
	struct kvm *kvm;

	lockdep_assert_held(&vm->lock);
	if (!READ_ONCE(vm->kvm))
		return -ESRCH;
	if (!settled(vm))
		return -EBUSY;
	kvm = ioregion_vm_get_kvm(vm);
	if (!kvm)
		return -ESRCH;
	if (!ioregion_lock_slots(kvm)) {
		WRITE_ONCE(vm->held_up, true);
		hand_over(vm, kvm, NULL);
		return -EBUSY;
	}
	*ret_kvm = kvm;
	return 0;
}

/* The bus that was @replaced, if any, is freed by and by; the sweep gives the VM back, too. */
void ioregion_change_end(struct ioregion_vm *vm, struct kvm *kvm, struct kvm_io_bus *replaced)
{
	mutex_unlock(&kvm->slots_lock);
	hand_over(vm, kvm, replaced);
}

void ioregion_sweep_init(struct ioregion_vm *vm)
{
	INIT_WORK(&vm->sweep, sweep);
	INIT_LIST_HEAD(&vm->gone);
	init_waitqueue_head(&vm->swept);
}

/* Workers wait, and do not work: as many as there may be. */
int ioregion_sweepers_start(void)
{
	sweepers = alloc_workqueue("ioregionfd", WQ_UNBOUND, WQ_MAX_ACTIVE);
	return sweepers ? 0 : -ENOMEM;
}

void ioregion_sweepers_stop(void)
{
	destroy_workqueue(sweepers);
}
