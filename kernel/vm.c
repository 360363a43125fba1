// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM that has been bound, and what is left of it later.
 *
 * It does not hold KVM's VM alive. vm->kvm is valid as long as it is not NULL,
 * under vm->kvm_lock, which the sentinel's destructor takes to clear it (see
 * sentinel.c); kvm_get_kvm_safe() tells whether the VM is already on its way
 * out. Such references are given back by the sweep, who may then have to end
 * the VM.
 */

#include <linux/slab.h>

#include "internal.h"

static void vm_free(struct kref *ref)
{
	struct ioregion_vm *vm = container_of(ref, struct ioregion_vm, ref);

	kfree(vm);
	module_put(THIS_MODULE);
}

void ioregion_vm_put(struct ioregion_vm *vm)
{
	kref_put(&vm->ref, vm_free);
}

/* A reference, for the sweep to give back; NULL when the VM is gone or going. */
struct kvm *ioregion_vm_get_kvm(struct ioregion_vm *vm)
{
	struct kvm *kvm;

	spin_lock(&vm->kvm_lock);
	kvm = vm->kvm;
	if (kvm && !kvm_get_kvm_safe(kvm))
		kvm = NULL;
	spin_unlock(&vm->kvm_lock);
	return kvm;
}
