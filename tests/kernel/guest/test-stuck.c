/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * VMMs that hold up their VM: no call of the broker waits for them for long, whatever they keep busy.
 *
 * A vCPU that faults on memory of a userfaultfd waits with kvm->srcu read-locked; a change of the memory slots waits
 * for that, with slots_lock held.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "module.h"
#include "tap.h"
#include "vm.h"

#define PAGE 0x1000u
#define HOLE 0x8000 /* where the page that nobody provides is, from VM_MMIO */

/* A call that returns within two seconds, and its result. */
#define WITHIN(call)                                                                                                 \
    ({                                                                                                               \
        uint64_t start_ = now_msec();                                                                                \
        int result_ = (call);                                                                                        \
        if (now_msec() - start_ >= 2000)                                                                             \
            FAIL("%s took %llu ms", #call, (unsigned long long) (now_msec() - start_));                              \
        result_;                                                                                                     \
    })

struct stuck {
    struct vm vm;
    int uffd;
    uint8_t *page;
    struct step step;
    struct running running; /* vCPU 0, in the fault */
    bool locked;            /* ... and: */
    pthread_t changer;      /* waits for it, in a change of the memory slots */
    pid_t changer_id;
};

static void stuck_new(struct stuck *s) {
    struct kvm_userspace_memory_region slot = {.slot = 1, .guest_phys_addr = VM_MMIO + HOLE, .memory_size = PAGE};
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.range.len = PAGE, .mode = UFFDIO_REGISTER_MODE_MISSING};

    vm_new(&s->vm);
    s->page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(s->page != MAP_FAILED);
    s->uffd = (int) syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    REQUIRE(s->uffd >= 0 && ioctl(s->uffd, UFFDIO_API, &api) == 0);
    slot.userspace_addr = range.range.start = (uintptr_t) s->page;
    REQUIRE(ioctl(s->uffd, UFFDIO_REGISTER, &range) == 0);
    REQUIRE(ioctl(s->vm.fd, KVM_SET_USER_MEMORY_REGION, &slot) == 0);
}

static void *change_slots(void *argument) {
    struct kvm_userspace_memory_region slot = {.slot = 2, .guest_phys_addr = 0x100000, .memory_size = PAGE};
    struct stuck *s = argument;

    slot.userspace_addr = (uintptr_t) s->vm.memory;
    __atomic_store_n(&s->changer_id, gettid(), __ATOMIC_SEQ_CST);
    CHECK_EQ(ioctl(s->vm.fd, KVM_SET_USER_MEMORY_REGION, &slot), 0);
    slot.memory_size = 0;
    CHECK_EQ(ioctl(s->vm.fd, KVM_SET_USER_MEMORY_REGION, &slot), 0);
    return NULL;
}

static bool waits_uninterruptibly(pid_t thread) {
    char path[64], line[256] = "", *state;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread);
    file = fopen(path, "re");
    if (!file)
        return false;
    state = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
    fclose(file);
    return state && state[2] == 'D';
}

/* From here on the VM is held up. */
static void stick(struct stuck *s, bool locked) {
    struct uffd_msg message;

    s->step = STEP(READ8, HOLE);
    vm_start(&s->running, &s->vm, 0, &s->step, 1);
    REQUIRE(poll_for(s->uffd, POLLIN, 10000) == POLLIN);
    REQUIRE(read(s->uffd, &message, sizeof(message)) == sizeof(message) && message.event == UFFD_EVENT_PAGEFAULT);
    s->locked = locked;
    s->changer_id = 0;
    if (!locked)
        return;
    REQUIRE(pthread_create(&s->changer, NULL, change_slots, s) == 0);
    while (!waits_uninterruptibly(__atomic_load_n(&s->changer_id, __ATOMIC_SEQ_CST)))
        usleep(1000);
}

static void unstick(struct stuck *s) {
    static const uint8_t bytes[PAGE] __attribute__((aligned(PAGE))) = {0x77};
    struct uffdio_copy copy = {.dst = (uintptr_t) s->page, .src = (uintptr_t) bytes, .len = PAGE};

    REQUIRE(ioctl(s->uffd, UFFDIO_COPY, &copy) == 0);
    vm_join(&s->running);
    CHECK_EQ(s->step.value[0], 0x77);
    if (s->locked)
        pthread_join(s->changer, NULL);
}

static void stuck_free(struct stuck *s) {
    vm_free(&s->vm);
    munmap(s->page, PAGE);
    close(s->uffd);
}

static int cut(int handle, struct kvm_ioregion region) {
    return ioctl(handle, IOREGIONFD_CUT_REGION, &region) < 0 ? -errno : 0;
}

static uint64_t read_on_vcpu_1(struct vm *vm, uint16_t op, uint16_t address) {
    struct step step = STEP(op, address);

    vm_run(vm, 1, &step, 1);
    return step.value[0];
}

/* Another VM, with all that it needs. */
static void check_another_vm(void) {
    struct vm vm;

    vm_new(&vm);
    for (unsigned i = 0; i < 5; i++) {
        struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
        pthread_t device;

        CHECK_EQ(WITHIN(region_set(vm.handle, region)), 0);
        device_start(&device, region.fd);
        vm_write(&vm, WRITE32, 4, 0x1000 + i);
        CHECK_EQ(vm_read(&vm, READ32, 4), 0x1000 + i);
        CHECK_EQ(WITHIN(region_del(vm.handle, region)), 0);
        pthread_join(device, NULL);
        close(region.fd);
    }
    CHECK_EQ(vm.exits, 0);
    vm_free(&vm);
}

/* Deletes take effect at once: for the vCPU inside, for those who come, and for the device. */
static void check_delete(struct stuck *s, struct kvm_ioregion region) {
    uint16_t address = (uint16_t) (region.guest_paddr - VM_MMIO);
    struct step step = STEP(READ8, address);
    struct running running;

    vm_start(&running, &s->vm, 1, &step, 1);
    next_command(region.fd);
    CHECK_EQ(WITHIN(region_del(s->vm.handle, region)), 0);
    vm_join(&running);
    CHECK_EQ(step.value[0], 0xff);
    CHECK_EQ(read_on_vcpu_1(&s->vm, READ8, address), VMM_ANSWER);
    CHECK(poll_for(region.fd, POLLIN, 0) & POLLHUP);
    CHECK_EQ(WITHIN(region_del(s->vm.handle, region)), -ENOENT);
}

/* What a broker asks for beside changes of the bus. */
static void check_other_calls(struct stuck *s, struct kvm_ioregion region, struct kvm_ioregion port) {
    struct ioregionfd_event event;

    CHECK_EQ(region_stats(s->vm.handle, region).state, IOREGIONFD_STATE_ATTACHED);
    CHECK_EQ(WITHIN(cut(s->vm.handle, port)), 0);
    CHECK_EQ(WITHIN(poll_for(s->vm.handle, POLLIN, 0)), POLLIN);
    CHECK_EQ(WITHIN(read(s->vm.handle, &event, sizeof(event))), sizeof(event));
    port.fd = channel_new(0);
    CHECK_EQ(WITHIN(region_set(s->vm.handle, port)), 0);
    close(port.fd);
}

/* 44: every call of a broker, on a VM that is held up in the one way or the other; then everything is as ever. */
static void hold_up(bool locked) {
    struct kvm_ioregion inside = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0), port, more;
    struct stuck s;
    int added;

    inside.timeout_usec = 20000000;
    port = region_at(0x300, 4, 1, channel_new(0), KVM_IOREGION_PIO);
    more = region_at(VM_MMIO + 0x200, 0x100, 2, channel_new(0), 0);
    stuck_new(&s);
    CHECK_EQ(region_set(s.vm.handle, inside), 0);
    CHECK_EQ(region_set(s.vm.handle, port), 0);
    stick(&s, locked);

    check_other_calls(&s, inside, port);
    CHECK_EQ(WITHIN(vm_bind(s.vm.fd, getpid())), locked ? -EAGAIN : -EBUSY);
    /* one change may still be made, unless the last one's grace period was not over when the vCPU got stuck */
    added = WITHIN(region_set(s.vm.handle, more));
    CHECK(added == -EBUSY || (added == 0 && !locked));
    check_delete(&s, inside);
    check_another_vm();
    close(inside.fd);
    inside.fd = channel_new(0);
    CHECK_EQ(WITHIN(({
                 int result = 0;
                 for (unsigned i = 0; i < 1000 && (result == 0 || result == -EBUSY); i++)
                     result = region_set(s.vm.handle, inside);
                 result;
             })),
             -EBUSY);
    CHECK_EQ(WITHIN(region_del(s.vm.handle, port)), 0);
    CHECK_EQ(read_on_vcpu_1(&s.vm, IN8, 0x300), VMM_ANSWER);
    CHECK_EQ(WITHIN(close(s.vm.handle)), 0);
    CHECK_EQ(read_on_vcpu_1(&s.vm, READ8, 0x200), VMM_ANSWER);
    CHECK_EQ(WITHIN(vm_bind(s.vm.fd, getpid())), -EAGAIN);
    check_another_vm();
    close(inside.fd);
    close(port.fd);
    close(more.fd);

    unstick(&s);
    CHECK_EQ(references_fall_to("ioregionfd", 1), 1); /* the node */
    inside.fd = channel_new(0);
    s.vm.handle = vm_bind(s.vm.fd, getpid());
    CHECK(s.vm.handle >= 0);
    CHECK_EQ(region_set(s.vm.handle, inside), 0);
    stuck_free(&s);
    close(inside.fd);
    CHECK_EQ(references_fall_to("ioregionfd", 1), 1);
}

static void stuck_in_a_page_fault(void) {
    hold_up(false);
}

static void stuck_with_slots_lock(void) {
    hold_up(true);
}

/* The VM's bus gets a size that few other things have. */
static void fill_bus(struct vm *vm) {
    struct kvm_ioeventfd event = {.len = 4, .fd = eventfd(0, EFD_CLOEXEC)};

    for (unsigned i = 0; i < 250; i++) {
        event.addr = VM_MMIO + 0x1000 + 4 * i;
        REQUIRE(ioctl(vm->fd, KVM_IOEVENTFD, &event) == 0);
    }
}

/* Whatever is asked for meanwhile, what stays is bounded, and goes. */
static void stuck_leaves_nothing(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, 0, 0);
    enum { ROUNDS = 40 };
    struct stuck s;
    long before = 0;

    stuck_new(&s);
    fill_bus(&s.vm);
    close(s.vm.handle);
    for (unsigned i = 0; i < 10 + ROUNDS; i++) {
        if (i == 10)
            before = kmalloc_objects("8k");
        region.fd = channel_new(0);
        s.vm.handle = vm_bind(s.vm.fd, getpid());
        REQUIRE(s.vm.handle >= 0);
        CHECK_EQ(region_set(s.vm.handle, region), 0);
        stick(&s, i & 1);
        CHECK_EQ(region_del(s.vm.handle, region), 0);
        CHECK_EQ(region_set(s.vm.handle, region), -EPIPE);
        close(region.fd);
        region.fd = channel_new(0);
        CHECK_EQ(region_set(s.vm.handle, region), -EBUSY);
        CHECK_EQ(region_set(s.vm.handle, region), -EBUSY);
        close(region.fd);
        close(s.vm.handle);
        unstick(&s);
        REQUIRE(madvise(s.page, PAGE, MADV_DONTNEED) == 0);
        CHECK_EQ(references_fall_to("ioregionfd", 1), 1);
    }
    check_kmalloc_objects("8k", before, ROUNDS / 4);
    s.vm.handle = -1;
    stuck_free(&s);
}

/* A VMM in a process of its own; the page is never provided. */
static pid_t start_vmm(bool locked, int *ret_vm_fd) {
    int numbers[2], number, pidfd;
    pid_t child;

    REQUIRE(pipe(numbers) == 0);
    child = fork();
    if (child == 0) {
        struct stuck s;

        stuck_new(&s);
        close(s.vm.handle);
        stick(&s, locked);
        REQUIRE(write(numbers[1], &s.vm.fd, sizeof(int)) == sizeof(int));
        pause();
    }
    REQUIRE(child > 0 && read(numbers[0], &number, sizeof(number)) == sizeof(number));
    close(numbers[0]);
    close(numbers[1]);
    pidfd = (int) syscall(SYS_pidfd_open, child, 0);
    *ret_vm_fd = (int) syscall(SYS_pidfd_getfd, pidfd, number, 0);
    REQUIRE(pidfd >= 0 && *ret_vm_fd >= 0);
    close(pidfd);
    return child;
}

static void kill_stuck(bool closed_before) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    int kvms, vm_fd, handle, status;
    pid_t vmm;

    vm_fd = ioctl(open("/dev/kvm", O_RDWR | O_CLOEXEC), KVM_CREATE_VM, 0);
    close(vm_fd);
    kvms = module_references("kvm_amd");
    vmm = start_vmm(false, &vm_fd);
    handle = vm_bind(vm_fd, vmm);
    REQUIRE(handle >= 0);
    close(vm_fd);
    CHECK_EQ(region_set(handle, region), 0);
    CHECK_EQ(region_del(handle, region), 0);
    close(region.fd);
    region.fd = channel_new(0);
    CHECK_EQ(WITHIN(region_set(handle, region)), -EBUSY);
    if (closed_before)
        CHECK_EQ(WITHIN(close(handle)), 0);
    kill(vmm, SIGKILL);
    CHECK_EQ(WITHIN(waitpid(vmm, &status, 0)), vmm);
    if (!closed_before) {
        CHECK_EQ(poll_for(handle, 0, 3000), POLLHUP);
        CHECK_EQ(WITHIN(region_set(handle, region)), -ESRCH);
        CHECK_EQ(WITHIN(close(handle)), 0);
    }
    close(region.fd);
    CHECK_EQ(references_fall_to("ioregionfd", 1), 1);
    CHECK_EQ(references_fall_to("kvm_amd", kvms), kvms);
}

/* 41 */
static void stuck_and_killed(void) {
    kill_stuck(false);
    kill_stuck(true);
}

static void pin(pthread_t thread, int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    REQUIRE(pthread_setaffinity_np(thread, sizeof(set), &set) == 0);
}

/* Keeps CPU 1 for itself, but for no longer than six seconds. */
static int hog_state; /* 0, 1: it runs, 2: it shall end */

static void *hog(void *argument) {
    const struct sched_param priority = {.sched_priority = 50};
    uint64_t start = now_msec();

    pin(pthread_self(), 1);
    REQUIRE(pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0);
    __atomic_store_n(&hog_state, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&hog_state, __ATOMIC_SEQ_CST) == 1 && now_msec() - start < 6000)
        ;
    return NULL;
}

static void limit_realtime(const char *usec) {
    int fd = open("/proc/sys/kernel/sched_rt_runtime_us", O_WRONLY | O_CLOEXEC);

    REQUIRE(fd >= 0 && write(fd, usec, strlen(usec)) > 0);
    close(fd);
}

/* 43: a vCPU that gets no CPU to leave its deleted region holds up nobody, nor is its command sent any more */
static void stuck_without_a_cpu(void) {
    struct kvm_ioregion first = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0), second = first;
    struct step steps[VM_VCPUS] = {STEP(READ8, 0), STEP(READ8, 0x100)};
    struct running running[VM_VCPUS];
    pthread_t hogger;
    struct vm vm;

    first.timeout_usec = second.timeout_usec = 20000000;
    second.guest_paddr += 0x100;
    second.user_data = 2;
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, first), 0);
    CHECK_EQ(region_set(vm.handle, second), 0);
    vm_start(&running[0], &vm, 0, &steps[0], 1);
    CHECK_EQ(next_command(first.fd).user_data, 1);
    vm_start(&running[1], &vm, 1, &steps[1], 1);
    CHECK_EQ(poll_for(first.fd, POLLIN, 200), 0); /* it waits for its turn */
    pin(running[1].thread, 1);
    limit_realtime("-1");
    pin(pthread_self(), 0);
    REQUIRE(pthread_create(&hogger, NULL, hog, NULL) == 0);
    while (!__atomic_load_n(&hog_state, __ATOMIC_SEQ_CST))
        usleep(1000);

    CHECK_EQ(WITHIN(region_del(vm.handle, second)), 0);
    CHECK_EQ(answer(first.fd, 0x42), 0);
    CHECK_EQ(poll_for(first.fd, POLLIN, 100), 0);
    CHECK_EQ(pthread_tryjoin_np(running[1].thread, NULL), EBUSY); /* there it is still */
    vm_join(&running[0]);
    CHECK_EQ(steps[0].value[0], 0x42);

    __atomic_store_n(&hog_state, 2, __ATOMIC_SEQ_CST);
    pthread_join(hogger, NULL);
    limit_realtime("950000");
    vm_join(&running[1]);
    CHECK_EQ(steps[1].value[0], 0xff);
    vm_free(&vm);
    close(first.fd);
    CHECK_EQ(references_fall_to("ioregionfd", 1), 1);
}

const struct test tests_stuck[] = {
    TEST(stuck_in_a_page_fault), TEST(stuck_with_slots_lock), TEST(stuck_leaves_nothing, 120),
    TEST(stuck_and_killed), TEST(stuck_without_a_cpu), {0},
};
