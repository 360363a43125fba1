/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VMM_KVM_H
#define VMM_KVM_H

/* The smallest VM of KVM: 64 KiB of memory at 0, one vCPU in real mode. Negative errno on failure. */

#include <stddef.h>
#include <stdint.h>
#include <linux/kvm.h>

#include "internal/cleanup.h"

#define KVM_VM_MEMORY 0x10000

struct kvm_vm {
    int vm, vcpu;        /* descriptors */
    uint8_t *memory;     /* KVM_VM_MEMORY bytes */
    struct kvm_run *run; /* shared with the kernel */
    size_t run_size;
};

/* Make a VM by @kvm, a descriptor of /dev/kvm (the caller's), with @image loaded at guest address @load. */
int kvm_vm_new(struct kvm_vm **ret_vm, int kvm, const void *image, size_t size, uint16_t load);
struct kvm_vm *kvm_vm_free(struct kvm_vm *vm);
DEFINE_CLEANUP(kvm_vm_free, struct kvm_vm *);

/* Let the vCPU start over at @entry, in real mode, all registers zero but eCX, which is @count. */
int kvm_vm_reset(struct kvm_vm *vm, uint16_t entry, uint32_t count);

/*
 * KVM_RUN: returns 0 with the exit in vm->run. -EINTR after a signal, or at once while run->immediate_exit is set.
 * On the thread that the vCPU belongs to: the first that calls this.
 */
int kvm_vm_run(struct kvm_vm *vm);

#endif
