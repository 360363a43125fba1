// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the VM's end is heard of.
 *
 * The handle must learn of it without holding the VM alive. So it puts a device
 * of its own on the VM, the sentinel: KVM calls its destructor when the VM ends.
 * It lies on the virtio-ccw bus, which no x86 guest can reach: it takes no
 * address and no place from anyone. It also marks the VM as bound, for one VM
 * has one handle.
 */

#include <linux/slab.h>

#include "internal.h"

#define SENTINEL_BUS KVM_VIRTIO_CCW_NOTIFY_BUS

static void sentinel_destructor(struct kvm_io_device *dev)
{
	struct ioregion_vm *vm = container_of(dev, struct ioregion_vm, sentinel);

	spin_lock(&vm->kvm_lock);
	vm->kvm = NULL;
	spin_unlock(&vm->kvm_lock);
	wake_up_all(&vm->wait);
	ioregion_vm_put(vm);
}

static const struct kvm_io_device_ops sentinel_ops = {
	.destructor	= sentinel_destructor,
};

static bool is_sentinel(struct kvm_io_device *dev, void *arg)
{
	return dev->ops == &sentinel_ops;
}

static bool is_open_sentinel(struct kvm_io_device *dev, void *arg)
{
	return is_sentinel(dev, arg) &&
	       !READ_ONCE(container_of(dev, struct ioregion_vm, sentinel)->closed);
}

static bool is_this(struct kvm_io_device *dev, void *arg)
{
	return dev == arg;
}

/* Nobody looks at this bus but under slots_lock: so no grace period is needed, here and below. */
int ioregion_sentinel_add(struct ioregion_vm *vm, struct kvm *kvm)
{
	struct kvm_io_bus *replaced = NULL;
	int ret;

	if (ioregion_bus_count(kvm, SENTINEL_BUS, is_open_sentinel, NULL))
		return -EBUSY;
	if (ioregion_bus_count(kvm, SENTINEL_BUS, is_sentinel, NULL))
		return -EAGAIN;
	vm->kvm = kvm;
	kref_get(&vm->ref);
	ret = ioregion_bus_insert(kvm, SENTINEL_BUS, (unsigned long)vm, 1, &vm->sentinel,
				  &replaced);
	if (ret) {
		vm->kvm = NULL;
		ioregion_vm_put(vm);
	}
	kfree(replaced);
	return ret;
}

/* The last of a sweep: a next handle may come. Without memory it can't, until the VM ends. */
void ioregion_sentinel_remove(struct ioregion_vm *vm, struct kvm *kvm)
{
	struct kvm_io_bus *replaced = NULL;

	mutex_lock(&kvm->slots_lock);
	if (ioregion_bus_count(kvm, SENTINEL_BUS, is_this, &vm->sentinel))
		replaced = ioregion_bus_remove(kvm, SENTINEL_BUS, is_this, &vm->sentinel);
	mutex_unlock(&kvm->slots_lock);
	if (replaced)
		sentinel_destructor(&vm->sentinel);
	kfree(replaced);
}

void ioregion_sentinel_init(struct ioregion_vm *vm)
{
	kvm_iodevice_init(&vm->sentinel, &sentinel_ops);
}
