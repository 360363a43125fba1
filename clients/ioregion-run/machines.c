/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Two tables of fixed size. A vCPU is found by the number of its descriptor without a lock; what changes the tables
 * holds one, but never while it waits. Whoever runs a vCPU is counted in it, so that close() takes nothing from under
 * him: the last one to leave ends what was closed meanwhile. Numbers come again, and not every close is seen: one that
 * KVM has just given out belongs to nothing else, whatever the tables say.
 */

#include "machines.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <systemd/sd-daemon.h>

#include "follower.h"
#include "internal/cleanup.h"
#include "say.h"

#define VMS_MAX 64
#define VCPUS_MAX 4096
#define WARNINGS 8 /* a VM: the guest could cause any number */

struct vm {
    atomic_int fd;            /* -1 once closed */
    unsigned holders;         /* its descriptor and its vCPUs; 0: the place is free; with the lock */
    size_t run_size;          /* of each vCPU's mapping */
    struct follower follower; /* its registration */
    atomic_bool started;      /* a vCPU ran */
    atomic_uint warnings;
};

struct vcpu {
    atomic_int fd;       /* -1 once closed */
    atomic_uint users;   /* threads that run it */
    struct kvm_run *run; /* NULL: the place is free; with the lock */
    struct vm *vm;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vm vms[VMS_MAX];
static struct vcpu vcpus[VCPUS_MAX];
static atomic_uint n_vcpus; /* places that were ever taken */
static atomic_bool any;
static pid_t owner; /* of all of this */
static const struct configuration *configuration;

static int kernel_ioctl(int fd, unsigned long request, unsigned long argument) {
    return (int) syscall(SYS_ioctl, fd, request, argument);
}

/* Fail like a system call. */
static int failed(int error) {
    errno = error;
    return -1;
}

void machines_init(const struct configuration *new_configuration) {
    configuration = new_configuration;
    owner = getpid();
    for (int i = 0; i < VMS_MAX; i++)
        vms[i].fd = -1;
    for (int i = 0; i < VCPUS_MAX; i++)
        vcpus[i].fd = -1;
}

bool machines_any(void) {
    return any;
}

static struct vm *find_vm(int fd) {
    for (int i = 0; fd >= 0 && i < VMS_MAX; i++)
        if (vms[i].fd == fd)
            return &vms[i];
    return NULL;
}

static struct vcpu *find_vcpu(int fd) {
    unsigned n = n_vcpus;

    for (unsigned i = 0; fd >= 0 && i < n; i++)
        if (vcpus[i].fd == fd)
            return &vcpus[i];
    return NULL;
}

/* ---- ends: with the lock they give the VM that has to end once it is given back, or NULL ---- */

static struct vm *release(struct vm *vm) {
    if (vm->holders == 1)
        return vm; /* the place stays taken until the end is through */
    vm->holders--;
    return NULL;
}

/* A vCPU that is closed and that nobody runs. */
static struct vm *forget_vcpu(struct vcpu *vcpu) {
    if (!vcpu->run || vcpu->fd >= 0 || vcpu->users)
        return NULL;
    munmap(vcpu->run, vcpu->vm->run_size);
    vcpu->run = NULL;
    return release(vcpu->vm);
}

/* Whatever had that descriptor. */
static struct vm *forget_fd(int fd) {
    struct vm *vm = find_vm(fd);
    struct vcpu *vcpu = find_vcpu(fd);

    if (vm) {
        vm->fd = -1;
        return release(vm);
    }
    if (!vcpu)
        return NULL;
    vcpu->fd = -1;
    return forget_vcpu(vcpu);
}

static void end(struct vm *vm) {
    int saved = errno;

    if (!vm)
        return;
    follower_end(&vm->follower);
    pthread_mutex_lock(&lock);
    vm->holders = 0;
    pthread_mutex_unlock(&lock);
    errno = saved;
}

static void close_seen(int fd) {
    struct vm *ended;

    pthread_mutex_lock(&lock);
    ended = forget_fd(fd);
    pthread_mutex_unlock(&lock);
    end(ended);
}

void machines_closing(int fd) {
    if (!find_vm(fd) && !find_vcpu(fd))
        return;
    /*
     * A child of vfork() has descriptors of its own, but our memory. And what a follower closes is its own, under a
     * number that was the VMM's: it can't wait for itself, nor for another that may wait for it.
     */
    if (getpid() == owner && !follower_is_self())
        close_seen(fd);
}

/* ---- VMs ---- */

/* A place, taken; NULL when there is none. Its number makes the name. */
static struct vm *take_place(void) {
    struct vm *vm = NULL;

    pthread_mutex_lock(&lock);
    for (int i = 0; !vm && i < VMS_MAX; i++)
        if (!vms[i].holders)
            vm = &vms[i];
    if (vm) {
        vm->holders = 1;
        vm->started = false;
        vm->warnings = 0;
    }
    pthread_mutex_unlock(&lock);
    if (!vm)
        say("VM %s: there are %d beside it in this process, and no room for more", configuration->vm, VMS_MAX);
    return vm;
}

static void give_place_back(struct vm *vm) {
    pthread_mutex_lock(&lock);
    vm->holders = 0;
    pthread_mutex_unlock(&lock);
}

/* Or say why not. */
static int register_vm(struct vm *vm, int kvm, int fd) {
    struct ioregion_vmm_options options = configuration->options;
    int size = kernel_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), number = (int) (vm - vms) + 1;

    if (size < 0) {
        size = -errno;
        say("VM %s: size of a vCPU: %s", configuration->vm, strerrordesc_np(-size));
        return size;
    }
    vm->run_size = (size_t) size;
    options.has_vm_fd = strcmp(options.dispatch, "vmm") != 0;
    options.vm_fd = fd;
    snprintf(vm->follower.name, sizeof(vm->follower.name), number > 1 ? "%s.%d" : "%s", configuration->vm, number);
    return follower_start(&vm->follower, &options);
}

int machines_create_vm(int kvm, unsigned long type) {
    int saved = errno, fd = kernel_ioctl(kvm, KVM_CREATE_VM, type), r;
    struct vm *vm;

    if (fd < 0)
        return fd;
    close_seen(fd); /* another way than by close() */
    vm = take_place();
    r = vm ? register_vm(vm, kvm, fd) : -ENFILE;
    if (r < 0) {
        if (!any)
            _exit(STATUS_FAILED);
        fd_close(fd);
        if (vm)
            give_place_back(vm);
        return failed(-r);
    }
    vm->fd = fd;
    if (!atomic_exchange(&any, true))
        sd_notify(false, "READY=1"); /* where the unit wants to know */
    errno = saved;
    return fd;
}

/* Memory over a region before the guest runs is a mistake that can be undone; later it may be the guest's doing. */
static void check_memory(struct vm *vm, bool running) {
    struct ioregion_range range;

    if (!ioregion_vmm_covered(vm->follower.regions, &range))
        return;
    if (vm->warnings++ < WARNINGS)
        say("VM %s: guest memory covers the region of a device, which will hear of no access: %#llx, size %#llx",
            vm->follower.name, (unsigned long long) range.base, (unsigned long long) range.size);
    if (!running)
        _exit(STATUS_FAILED);
}

int machines_set_memory(int fd, unsigned long request, const struct kvm_userspace_memory_region *slot) {
    int saved = errno, r = kernel_ioctl(fd, request, (unsigned long) slot);
    struct vm *vm = find_vm(fd);

    if (r < 0 || !vm)
        return r;
    if (ioregion_vmm_memory_slot(vm->follower.regions, slot->slot, slot->guest_phys_addr, slot->memory_size) < 0)
        say("VM %s: memory slot %u: %s", vm->follower.name, slot->slot, ioregion_last_error());
    if (vm->started && slot->memory_size)
        check_memory(vm, true);
    errno = saved;
    return r;
}

/* ---- vCPUs ---- */

/* It has another number than KVM gave it. It would run, and no device would hear of it. */
static int unknown(const char *what, int fd) {
    static atomic_uint warnings;

    if (warnings++ < WARNINGS)
        say("a %s is used by another descriptor than KVM gave for it, %d: no device could serve it", what, fd);
    return failed(EBADF);
}

/* No vCPU at all, as a rule: what the kernel says of that any request shows. */
static int run_unknown(int fd) {
    struct kvm_mp_state state;

    return kernel_ioctl(fd, KVM_GET_MP_STATE, (unsigned long) &state) < 0 ? -1 : unknown("vCPU", fd);
}

/* Takes the mapping on success. */
static int remember_vcpu(struct vm *vm, int fd, struct kvm_run *run) {
    struct vcpu *vcpu = NULL;

    pthread_mutex_lock(&lock);
    for (int i = 0; !vcpu && i < VCPUS_MAX; i++)
        if (!vcpus[i].run)
            vcpu = &vcpus[i];
    if (vcpu) {
        vcpu->run = run;
        vcpu->vm = vm;
        vm->holders++;
        if (n_vcpus <= vcpu - vcpus)
            n_vcpus = (unsigned) (vcpu - vcpus) + 1;
        vcpu->fd = fd; /* the last: from now on it is found */
    }
    pthread_mutex_unlock(&lock);
    return vcpu ? 0 : -ENFILE;
}

static int map_vcpu(struct vm *vm, int fd) {
    struct kvm_run *run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int r;

    if (run == MAP_FAILED)
        return -errno;
    madvise(run, vm->run_size, MADV_DONTFORK); /* a child would keep the VM alive */
    r = remember_vcpu(vm, fd, run);
    if (r < 0)
        munmap(run, vm->run_size);
    return r;
}

int machines_create_vcpu(int vm_fd, unsigned long id) {
    int saved = errno, fd = kernel_ioctl(vm_fd, KVM_CREATE_VCPU, id), r;
    struct vm *vm = find_vm(vm_fd);

    if (fd < 0)
        return fd;
    close_seen(fd);
    if (!vm) {
        fd_close(fd);
        return unknown("VM", vm_fd);
    }
    r = map_vcpu(vm, fd);
    if (r < 0) {
        say("VM %s: vCPU %lu: %s", vm->follower.name, id, strerrordesc_np(-r));
        fd_close(fd);
        return failed(-r);
    }
    errno = saved;
    return fd;
}

static void leave(struct vcpu *vcpu) {
    struct vm *ended;

    if (atomic_fetch_sub(&vcpu->users, 1) > 1 || vcpu->fd >= 0)
        return;
    pthread_mutex_lock(&lock);
    ended = forget_vcpu(vcpu);
    pthread_mutex_unlock(&lock);
    end(ended);
}

static struct vcpu *enter(int fd) {
    static _Thread_local __attribute__((tls_model("initial-exec"))) struct vcpu *last;
    struct vcpu *vcpu = last && last->fd == fd ? last : find_vcpu(fd);

    if (!vcpu)
        return NULL;
    atomic_fetch_add(&vcpu->users, 1);
    if (vcpu->fd != fd) { /* closed meanwhile */
        leave(vcpu);
        return NULL;
    }
    last = vcpu;
    return vcpu;
}

int machines_run(int fd, unsigned long argument) {
    struct vcpu *vcpu = enter(fd);
    int saved = errno, r;

    if (!vcpu)
        return run_unknown(fd);
    if (!vcpu->vm->started) {
        check_memory(vcpu->vm, false);
        vcpu->vm->started = true;
    }
    do /* a number that was closed meanwhile may be another's */
        r = vcpu->fd == fd ? kernel_ioctl(fd, KVM_RUN, argument) : failed(EBADF);
    while (r == 0 && ioregion_vmm_handle_exit(vcpu->vm->follower.regions, vcpu->run));
    leave(vcpu);
    if (r >= 0)
        errno = saved;
    return r;
}

/* ---- fork ---- */

void machines_fork_prepare(void) {
    pthread_mutex_lock(&lock);
}

void machines_fork_parent(void) {
    pthread_mutex_unlock(&lock);
}

/* What the parent has is neither given back nor freed here: it is the parent's. */
void machines_fork_child(void) {
    pthread_mutex_init(&lock, NULL);
    memset(vms, 0, sizeof(vms));
    memset(vcpus, 0, sizeof(vcpus));
    n_vcpus = 0;
    machines_init(configuration);
}
