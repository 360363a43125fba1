/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every ioctl with every wrong argument: the errno of the header, and nothing changed. */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

#define BAD_POINTER ((void *) 8)

static int call(int fd, unsigned long request, void *argument) {
    return ioctl(fd, request, argument) < 0 ? -errno : 0;
}

static int bind_with(int vm_fd, int pid, uint64_t flags) {
    struct ioregionfd_bind_vm bind = {.vm_fd = vm_fd, .pid = pid, .flags = flags};

    return call(ioregionfd_node, IOREGIONFD_BIND_VM, &bind);
}

static void errors_node(void) {
    struct ioregionfd_info info;
    struct rlimit none = {0, 0};

    CHECK_EQ(call(ioregionfd_node, IOREGIONFD_GET_INFO, &info), 0);
    CHECK_EQ(info.version, IOREGIONFD_VERSION);
    CHECK_EQ(info.region_flags, IOREGIONFD_REGION_FLAGS);
    CHECK_EQ(info.features, 3);
    CHECK_EQ(info.default_timeout_usec, 1000000);
    CHECK_EQ(info.max_regions, 256);
    CHECK_EQ(info.zero, 0);
    CHECK_EQ(call(ioregionfd_node, IOREGIONFD_GET_INFO, BAD_POINTER), -EFAULT);
    CHECK_EQ(call(ioregionfd_node, IOREGIONFD_BIND_VM, BAD_POINTER), -EFAULT);
    CHECK_EQ(call(ioregionfd_node, KVM_SET_IOREGION, &info), -ENOTTY);
    CHECK_EQ(call(ioregionfd_node, KVM_CREATE_VM, NULL), -ENOTTY);
    CHECK_EQ(call(ioregionfd_node, KVM_CREATE_IOREGIONFD, (void *) 1), -EINVAL);
    CHECK_EQ(call(ioregionfd_node, KVM_CREATE_IOREGIONFD, (void *) (O_NONBLOCK | (1ul << 40))), -EINVAL);
    setrlimit(RLIMIT_NOFILE, &none);
    CHECK_EQ(call(ioregionfd_node, KVM_CREATE_IOREGIONFD, NULL), -EMFILE);
}

/* 17, 18 */
static void errors_bind_descriptor(void) {
    struct vm vm;
    int wrong[] = {eventfd(0, 0), epoll_create1(0), open("/init", O_RDONLY), open("/", O_RDONLY | O_DIRECTORY),
                   open("/dev/kvm", O_RDWR), ioregionfd_node, channel_new(0), 0, 0, 0};

    vm_new(&vm);
    wrong[7] = vm.vcpus[0];
    wrong[8] = vm.handle;
    REQUIRE(mknod("/dev/kvm-vm", S_IFCHR | 0600, makedev(10, 232)) == 0 || errno == EEXIST);
    wrong[9] = open("/dev/kvm-vm", O_RDWR); /* KVM's, and called as VMs are */
    REQUIRE(wrong[9] >= 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK_EQ(bind_with(wrong[i], getpid(), 0), -EINVAL);
    CHECK_EQ(bind_with(-1, getpid(), 0), -EBADF);
    CHECK_EQ(bind_with(99, getpid(), 0), -EBADF);
    CHECK_EQ(bind_with(open("/init", O_PATH), getpid(), 0), -EBADF);
    vm_free(&vm);
}

static void errors_bind_process(void) {
    struct rlimit none = {0, 0};
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(bind_with(vm.fd, getpid(), 0), -EBUSY);
    close(vm.handle);
    CHECK_EQ(bind_with(vm.fd, getpid(), 1), -EINVAL);
    CHECK_EQ(bind_with(vm.fd, 1, 0), -EPERM);
    CHECK_EQ(bind_with(vm.fd, 2, 0), -EPERM); /* of the kernel */
    CHECK_EQ(bind_with(vm.fd, 0, 0), -ESRCH);
    CHECK_EQ(bind_with(vm.fd, -1, 0), -ESRCH);
    CHECK_EQ(bind_with(vm.fd, 99999, 0), -ESRCH);
    setrlimit(RLIMIT_NOFILE, &none);
    CHECK_EQ(bind_with(vm.fd, getpid(), 0), -EMFILE);
    none = (struct rlimit){64, 64};
    setrlimit(RLIMIT_NOFILE, &none);
    vm.handle = vm_bind(vm.fd, getpid());
    CHECK(vm.handle >= 0);
    vm_free(&vm);
}

/* 16, 53: another process may bind and set, in the name of the one whose VM it is and of no other */
static void errors_foreign_process(void) {
    int status, channel = channel_new(0);
    struct vm vm;

    vm_new(&vm);
    close(vm.handle);
    vm.handle = -1;
    if (fork() == 0) {
        int handle = vm_bind(vm.fd, getppid());

        CHECK_EQ(bind_with(vm.fd, getpid(), 0), -EPERM);
        CHECK(handle >= 0);
        CHECK_EQ(region_set(handle, region_at(VM_MMIO, 16, 0, channel, 0)), 0);
        tap_end();
    }
    REQUIRE(wait(&status) > 0);
    CHECK_EQ(status, 0);
    vm_free(&vm);
}

#define FDINFO 4096

/* What a handle tells of itself: all of its regions, their states and counts. */
static void read_fdinfo(const struct vm *vm, char text[FDINFO]) {
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", vm->handle);
    file = fopen(path, "re");
    REQUIRE(file);
    text[fread(text, 1, FDINFO - 1, file)] = 0;
    fclose(file);
    CHECK(strstr(text, "vm:\talive"));
}

static void check_nothing_changed(const struct vm *vm, const char before[FDINFO]) {
    char now[FDINFO];

    read_fdinfo(vm, now);
    CHECK(strcmp(now, before) == 0);
    CHECK_EQ(poll_for(vm->handle, POLLIN, 0), 0);
}

/* 7 to 12: values, whatever is to be done with the region */
static void errors_set_values(void) {
    const struct {
        uint64_t address, size, grace;
        uint32_t flags;
        uint8_t first_pad, last_pad;
    } wrong[] = {
        {.address = VM_MMIO, .size = 0},
        {.address = VM_MMIO, .size = UINT64_C(1) << 31},
        {.address = VM_MMIO, .size = UINT64_C(1) << 32},
        {.address = VM_MMIO, .size = UINT64_MAX},
        {.address = UINT64_MAX, .size = 2},
        {.address = UINT64_MAX - 15, .size = 17},
        {.address = 0xffff, .size = 2, .flags = KVM_IOREGION_PIO},
        {.address = 0x10000, .size = 1, .flags = KVM_IOREGION_PIO},
        {.address = 0, .size = 0x10001, .flags = KVM_IOREGION_PIO},
        {.address = VM_MMIO, .size = 16, .flags = 1u << 2},
        {.address = VM_MMIO, .size = 16, .flags = 1u << 19},
        {.address = VM_MMIO, .size = 16, .flags = 1u << 31},
        {.address = VM_MMIO, .size = 16, .flags = IOREGIONFD_REGION_HOLD | IOREGIONFD_REGION_REMOVE},
        {.address = VM_MMIO, .size = 16, .grace = 1},
        {.address = VM_MMIO, .size = 16, .first_pad = 1},
        {.address = VM_MMIO, .size = 16, .last_pad = 0x80},
    };
    struct kvm_ioregion region, there = region_at(VM_MMIO, 16, 1, channel_new(0), 0);
    char before[FDINFO];
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, there), 0);
    read_fdinfo(&vm, before);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        region = region_at(wrong[i].address, wrong[i].size, 1, channel_new(0), wrong[i].flags);
        region.grace_usec = wrong[i].grace;
        region.pad[0] = wrong[i].first_pad;
        region.pad[15] = wrong[i].last_pad;
        CHECK_EQ(region_set(vm.handle, region), -EINVAL);
        CHECK_EQ(region_del(vm.handle, region), -EINVAL);
        CHECK_EQ(call(vm.handle, IOREGIONFD_CUT_REGION, &region), -EINVAL);
        close(region.fd);
    }
    CHECK_EQ(call(vm.handle, KVM_SET_IOREGION, BAD_POINTER), -EFAULT);
    CHECK_EQ(call(vm.handle, IOREGIONFD_CUT_REGION, BAD_POINTER), -EFAULT);
    CHECK_EQ(call(vm.handle, IOREGIONFD_GET_INFO, &there), -ENOTTY);
    CHECK_EQ(call(there.fd, KVM_SET_IOREGION, &there), -ENOTTY);
    CHECK_EQ(call(there.fd, IOREGIONFD_CUT_REGION, &there), -ENOTTY);
    check_nothing_changed(&vm, before);
    CHECK_EQ(poll_for(there.fd, POLLIN, 0), 0);
    vm_free(&vm);
}

/* 17, 18, 21: for a new region, and in the place of one that is there */
static void errors_set_descriptor(void) {
    struct kvm_ioregion there = region_at(VM_MMIO, 16, 1, channel_new(0), 0);
    struct kvm_ioregion another = region_at(VM_MMIO + 16, 16, 1, -1, 0);
    int channel = channel_new(0), ended = channel_new(0), other_channel = channel_new(0);
    struct vm vm, other;
    char before[FDINFO];

    vm_new(&vm);
    vm_new(&other);
    CHECK_EQ(region_set(other.handle, region_at(VM_MMIO, 16, 1, other_channel, 0)), 0);
    CHECK_EQ(answer(ended, 0), -EPROTO);
    CHECK_EQ(region_set(vm.handle, there), 0);
    read_fdinfo(&vm, before);
    const struct {
        int fd, error;
    } wrong[] = {
        {eventfd(0, 0), ENXIO},
        {epoll_create1(0), ENXIO},
        {open("/init", O_RDONLY), ENXIO},
        {open("/", O_RDONLY | O_DIRECTORY), ENXIO},
        {ioregionfd_node, ENXIO},
        {vm.fd, ENXIO},
        {vm.handle, ENXIO},
        {open("/init", O_PATH), EBADF},
        {-2, EBADF},
        {99, EBADF},
        {other_channel, EBUSY},
        {ended, EPIPE},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK_EQ(region_set(vm.handle, region_on(another, wrong[i].fd)), -wrong[i].error);
        CHECK_EQ(region_set(vm.handle, region_on(there, wrong[i].fd)), -wrong[i].error);
    }
    check_nothing_changed(&vm, before);
    CHECK_EQ(poll_for(there.fd, POLLIN, 0), 0);
    /* a failure leaves an ioregionfd as free as it was */
    CHECK_EQ(region_set(other.handle, region_at(VM_MMIO + 1, 4, 1, channel, 0)), -EEXIST);
    CHECK_EQ(region_set(vm.handle, region_on(another, channel)), 0);
    vm_free(&vm);
    vm_free(&other);
}

/* 13: what is to be deleted, or cut off, is named by its address, its size and its space. */
static void check_names(struct vm *vm, unsigned long request) {
    const struct kvm_ioregion region = region_at(0x9000, 16, 1, channel_new(0), 0);
    struct kvm_ioregion wrong[] = {
        region_at(0x9000, 15, 1, -1, 0),
        region_at(0x9000, 17, 1, -1, 0),
        region_at(0x9001, 15, 1, -1, 0),
        region_at(0x8fff, 16, 1, -1, 0),
        region_at(0x9000, 16, 1, -1, KVM_IOREGION_PIO),
    };
    struct kvm_ioregion right = region_at(0x9000, 16, 2, -1, KVM_IOREGION_POSTED_WRITES);
    char before[FDINFO];

    CHECK_EQ(call(vm->handle, request, &right), -ENOENT);
    CHECK_EQ(region_set(vm->handle, region), 0);
    read_fdinfo(vm, before);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CHECK_EQ(call(vm->handle, request, &wrong[i]), -ENOENT);
    check_nothing_changed(vm, before);
    CHECK_EQ(poll_for(region.fd, POLLIN, 0), 0);
    CHECK_EQ(call(vm->handle, request, &right), 0);
    CHECK(poll_for(region.fd, POLLIN, 0) & POLLHUP);
}

/* 13 */
static void errors_delete(void) {
    char before[FDINFO];
    struct vm vm;

    vm_new(&vm);
    read_fdinfo(&vm, before);
    check_names(&vm, KVM_SET_IOREGION);
    check_nothing_changed(&vm, before);
    CHECK_EQ(region_del(vm.handle, region_at(0x9000, 16, 1, -1, 0)), -ENOENT);
    vm_free(&vm);
}

/* 13: and nothing happens to a device that is lost already. */
static void errors_cut(void) {
    struct kvm_ioregion region = region_at(0x9000, 16, 1, -1, 0);
    char before[FDINFO];
    struct vm vm;

    vm_new(&vm);
    check_names(&vm, IOREGIONFD_CUT_REGION);
    CHECK_EQ(next_loss(&vm), IOREGIONFD_LOSS_EOF);
    read_fdinfo(&vm, before);
    CHECK_EQ(call(vm.handle, IOREGIONFD_CUT_REGION, &region), 0);
    check_nothing_changed(&vm, before);
    vm_free(&vm);
}

static volatile sig_atomic_t pipes;

static void on_pipe(int signal) {
    pipes++;
}

/* 24: neither the VMM nor the device gets a signal for the other one's end; ones tell the one, and EPIPE the other */
static void errors_raise_no_signal(void) {
    const uint32_t flags[] = {0, KVM_IOREGION_POSTED_WRITES};
    struct kvm_ioregion region;
    struct step step = STEP(READ8, 0);
    struct running running;
    struct vm vm;

    signal(SIGPIPE, on_pipe);
    vm_new(&vm);
    for (unsigned i = 0; i < 2; i++) {
        region = region_at(VM_MMIO, 16, 1, channel_new(0), flags[i]);
        CHECK_EQ(region_set(vm.handle, region), 0);
        vm_start(&running, &vm, 0, &step, 1);
        next_command(region.fd);
        CHECK_EQ(region_del(vm.handle, region), 0);
        CHECK_EQ(answer(region.fd, 0), -EPIPE);
        CHECK_EQ(answer(region.fd, 0), -EPIPE);
        vm_join(&running);
        close(region.fd);

        region.fd = channel_new(0);
        CHECK_EQ(region_set(vm.handle, region), 0);
        vm_start(&running, &vm, 0, &step, 1);
        next_command(region.fd);
        close(region.fd);
        vm_join(&running);
        CHECK_EQ(step.value[0], 0xff);
        vm_write(&vm, WRITE8, 0, 1);
        CHECK_EQ(vm_read(&vm, READ8, 0), 0xff);
        CHECK_EQ(region_del(vm.handle, region), 0);
    }
    CHECK_EQ(vm.exits, 0);
    CHECK_EQ(pipes, 0);
    vm_free(&vm);
}

static void errors_stats(void) {
    struct ioregionfd_stats stats = {.guest_paddr = VM_MMIO, .memory_size = 16};
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(call(vm.handle, IOREGIONFD_GET_STATS, &stats), -ENOENT);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 16, 1, channel_new(0), 0)), 0);
    CHECK_EQ(call(vm.handle, IOREGIONFD_GET_STATS, &stats), 0);
    CHECK_EQ(stats.state, IOREGIONFD_STATE_ATTACHED);
    stats.flags = KVM_IOREGION_POSTED_WRITES;
    CHECK_EQ(call(vm.handle, IOREGIONFD_GET_STATS, &stats), -EINVAL);
    stats.flags = KVM_IOREGION_PIO;
    CHECK_EQ(call(vm.handle, IOREGIONFD_GET_STATS, &stats), -ENOENT);
    stats.zero = 1;
    CHECK_EQ(call(vm.handle, IOREGIONFD_GET_STATS, &stats), -EINVAL);
    CHECK_EQ(call(vm.handle, IOREGIONFD_GET_STATS, BAD_POINTER), -EFAULT);
    vm_free(&vm);
}

const struct test tests_errors[] = {
    TEST(errors_node), TEST(errors_bind_descriptor), TEST(errors_bind_process), TEST(errors_foreign_process),
    TEST(errors_set_values), TEST(errors_set_descriptor), TEST(errors_delete), TEST(errors_cut),
    TEST(errors_raise_no_signal), TEST(errors_stats), {0},
};
