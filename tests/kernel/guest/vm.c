/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

extern const uint8_t guest_code[], guest_code_end[];

int ioregionfd_node = -1;

static int kvm_fd(void) {
    static int fd = -1;

    if (fd < 0)
        fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    return fd;
}

static void add_vcpu(struct vm *vm, unsigned i) {
    size_t size = (size_t) ioctl(kvm_fd(), KVM_GET_VCPU_MMAP_SIZE, 0);

    vm->vcpus[i] = ioctl(vm->fd, KVM_CREATE_VCPU, i);
    REQUIRE(vm->vcpus[i] >= 0);
    vm->runs[i] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpus[i], 0);
    REQUIRE(vm->runs[i] != MAP_FAILED);
}

void vm_new(struct vm *vm) {
    struct kvm_userspace_memory_region slot = {.memory_size = VM_RAM};

    *vm = (struct vm){.fd = ioctl(kvm_fd(), KVM_CREATE_VM, 0)};
    REQUIRE(vm->fd >= 0);
    REQUIRE(ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000ul) == 0);
    vm->memory = mmap(NULL, VM_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(vm->memory != MAP_FAILED);
    slot.userspace_addr = (uintptr_t) vm->memory;
    REQUIRE(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) == 0);
    memcpy(vm->memory, guest_code, (size_t) (guest_code_end - guest_code));
    for (unsigned i = 0; i < VM_VCPUS; i++)
        add_vcpu(vm, i);
    vm->handle = vm_bind(vm->fd, getpid());
    REQUIRE(vm->handle >= 0);
}

void vm_free(struct vm *vm) {
    size_t size = (size_t) ioctl(kvm_fd(), KVM_GET_VCPU_MMAP_SIZE, 0);

    if (vm->handle >= 0)
        close(vm->handle);
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        munmap(vm->runs[i], size);
        close(vm->vcpus[i]);
    }
    close(vm->fd);
    munmap(vm->memory, VM_RAM);
}

int vm_bind(int vm_fd, int pid) {
    struct ioregionfd_bind_vm bind = {.vm_fd = vm_fd, .pid = pid};
    int fd = ioctl(ioregionfd_node, IOREGIONFD_BIND_VM, &bind);

    return fd < 0 ? -errno : fd;
}

static unsigned table_of(unsigned vcpu) {
    return 0x2000 * (1 + vcpu);
}

static void reset(struct vm *vm, unsigned vcpu) {
    struct kvm_regs registers = {.rsi = table_of(vcpu), .rsp = 0x7ff0, .rflags = 2};
    struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
    struct kvm_sregs segments;

    REQUIRE(ioctl(vm->vcpus[vcpu], KVM_GET_SREGS, &segments) == 0);
    segments.cs.base = segments.cs.selector = 0;
    segments.cr4 |= 1 << 9; /* OSFXSR, for accesses of 16 bytes */
    REQUIRE(ioctl(vm->vcpus[vcpu], KVM_SET_SREGS, &segments) == 0);
    REQUIRE(ioctl(vm->vcpus[vcpu], KVM_SET_REGS, &registers) == 0);
    ioctl(vm->vcpus[vcpu], KVM_SET_MP_STATE, &runnable);
}

/* A VMM that has nothing there. False when the guest is finished. */
static bool handle_exit(struct vm *vm, struct kvm_run *run) {
    switch (run->exit_reason) {
    case KVM_EXIT_HLT:
        return false;
    case KVM_EXIT_MMIO:
        if (vm->on_mmio)
            vm->on_mmio(vm, run);
        else if (!run->mmio.is_write)
            memset(run->mmio.data, VMM_ANSWER, sizeof(run->mmio.data));
        break;
    case KVM_EXIT_IO:
        if (run->io.direction == KVM_EXIT_IO_IN)
            memset((uint8_t *) run + run->io.data_offset, VMM_ANSWER, run->io.size * run->io.count);
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        FAIL("KVM's internal error %u: %#llx %#llx %#llx", run->internal.suberror,
             (unsigned long long) run->internal.data[0], (unsigned long long) run->internal.data[1],
             (unsigned long long) run->internal.data[2]);
    default:
        FAIL("exit %u", run->exit_reason);
    }
    __atomic_fetch_add(&vm->exits, 1, __ATOMIC_SEQ_CST);
    return true;
}

bool vm_resume(struct vm *vm, unsigned vcpu, struct step *steps, size_t n) {
    for (;;) {
        if (ioctl(vm->vcpus[vcpu], KVM_RUN, 0) < 0) {
            REQUIRE(errno == EINTR);
            __atomic_fetch_add(&vm->interrupted, 1, __ATOMIC_SEQ_CST);
            if (__atomic_load_n(&vm->paused, __ATOMIC_SEQ_CST))
                return false;
        } else if (!handle_exit(vm, vm->runs[vcpu])) {
            break;
        }
    }
    memcpy(steps, vm->memory + table_of(vcpu), n * sizeof(*steps));
    return true;
}

bool vm_run(struct vm *vm, unsigned vcpu, struct step *steps, size_t n) {
    uint8_t *table = vm->memory + table_of(vcpu);

    memcpy(table, steps, n * sizeof(*steps));
    memset(table + n * sizeof(*steps), 0, sizeof(*steps));
    reset(vm, vcpu);
    return vm_resume(vm, vcpu, steps, n);
}

uint64_t vm_read(struct vm *vm, uint16_t op, uint16_t address) {
    struct step step = STEP(op, address);

    vm_run(vm, 0, &step, 1);
    return step.value[0];
}

void vm_write(struct vm *vm, uint16_t op, uint16_t address, uint64_t value) {
    struct step step = STEP(op, address, value);

    vm_run(vm, 0, &step, 1);
}

static void *run_thread(void *argument) {
    struct running *running = argument;

    running->finished = vm_run(running->vm, running->vcpu, running->steps, running->n);
    return NULL;
}

static void *resume_thread(void *argument) {
    struct running *running = argument;

    running->finished = vm_resume(running->vm, running->vcpu, running->steps, running->n);
    return NULL;
}

void vm_start(struct running *running, struct vm *vm, unsigned vcpu, struct step *steps, size_t n) {
    *running = (struct running){.vm = vm, .vcpu = vcpu, .steps = steps, .n = n};
    REQUIRE(pthread_create(&running->thread, NULL, run_thread, running) == 0);
}

void vm_start_again(struct running *running) {
    REQUIRE(pthread_create(&running->thread, NULL, resume_thread, running) == 0);
}

void vm_join(struct running *running) {
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    REQUIRE(pthread_timedjoin_np(running->thread, NULL, &until) == 0);
}

uint64_t now_msec(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}
