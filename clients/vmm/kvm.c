/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kvm.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static int add_memory(struct kvm_vm *vm) {
    struct kvm_userspace_memory_region slot = {.memory_size = KVM_VM_MEMORY};

    vm->memory = mmap(NULL, KVM_VM_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (vm->memory == MAP_FAILED) {
        vm->memory = NULL;
        return -errno;
    }
    slot.userspace_addr = (uintptr_t) vm->memory;
    return ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? -errno : 0;
}

static int add_vcpu(struct kvm_vm *vm, int kvm) {
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    void *run;

    if (size < 0)
        return -errno;
    vm->vcpu = ioctl(vm->vm, KVM_CREATE_VCPU, 0);
    if (vm->vcpu < 0)
        return -errno;
    run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
    if (run == MAP_FAILED)
        return -errno;
    vm->run = run;
    vm->run_size = size;
    return 0;
}

int kvm_vm_new(struct kvm_vm **ret_vm, int kvm, const void *image, size_t size, uint16_t load) {
    _cleanup_(kvm_vm_freep) struct kvm_vm *vm = calloc(1, sizeof(*vm));
    int r;

    if (!vm)
        return -ENOMEM;
    vm->vm = vm->vcpu = -1;
    if (size > KVM_VM_MEMORY - (size_t) load)
        return -EFBIG;
    vm->vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm->vm < 0)
        return -errno;
    /* Not every CPU runs real mode as a guest: there KVM plays it, and needs three pages out of the way. */
    if (ioctl(vm->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul) < 0)
        return -errno;
    r = add_memory(vm);
    if (r < 0)
        return r;
    r = add_vcpu(vm, kvm);
    if (r < 0)
        return r;
    memcpy(vm->memory + load, image, size);
    *ret_vm = STEAL(vm);
    return 0;
}

struct kvm_vm *kvm_vm_free(struct kvm_vm *vm) {
    if (!vm)
        return NULL;
    if (vm->run)
        munmap(vm->run, vm->run_size);
    fd_close(vm->vcpu);
    fd_close(vm->vm);
    if (vm->memory)
        munmap(vm->memory, KVM_VM_MEMORY);
    free(vm);
    return NULL;
}

int kvm_vm_reset(struct kvm_vm *vm, uint16_t entry, uint32_t count) {
    struct kvm_regs registers = {.rip = entry, .rcx = count, .rflags = 2}; /* bit 1 is always set */
    struct kvm_sregs segments;

    if (ioctl(vm->vcpu, KVM_GET_SREGS, &segments) < 0)
        return -errno;
    segments.cs.base = 0; /* at reset it is the top of memory */
    segments.cs.selector = 0;
    if (ioctl(vm->vcpu, KVM_SET_SREGS, &segments) < 0 || ioctl(vm->vcpu, KVM_SET_REGS, &registers) < 0)
        return -errno;
    return 0;
}

int kvm_vm_run(struct kvm_vm *vm) {
    return ioctl(vm->vcpu, KVM_RUN, 0) < 0 ? -errno : 0;
}
