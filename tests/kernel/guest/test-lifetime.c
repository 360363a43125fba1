/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who keeps whom alive, and that nothing stays: VM and handle, the module, memory. */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "module.h"
#include "tap.h"
#include "vm.h"

/* References to the VMs' module, once this process holds those that it keeps. */
static int count_vms(void) {
    struct vm vm;

    vm_new(&vm);
    vm_free(&vm);
    references_fall_to("ioregionfd", 1); /* the node: what is being swept holds its VM */
    return module_references("kvm_amd");
}

/* What keeps the handle keeps nothing of the VM; its regions' devices hear of the end. */
static void handle_hangs_up(void) {
    int kvms = count_vms(), channel = channel_new(O_NONBLOCK), handle;
    struct kvm_ioregion region = region_at(VM_MMIO, 16, 1, channel, 0);
    struct ioregionfd_event event;
    struct ioregionfd_cmd command;
    struct vm vm;

    vm_new(&vm);
    handle = vm.handle;
    vm.handle = -1;
    CHECK_EQ(region_set(handle, region), 0);
    CHECK_EQ(poll_for(handle, POLLIN, 0), 0);
    CHECK(fcntl(handle, F_SETFL, O_NONBLOCK) == 0 && read(handle, &event, sizeof(event)) < 0 && errno == EAGAIN);
    CHECK(read(handle, &event, sizeof(event) - 1) < 0 && errno == EINVAL);
    CHECK(module_references("kvm_amd") > kvms);
    vm_free(&vm);
    CHECK_EQ(poll_for(handle, POLLIN, 10000), POLLHUP);
    CHECK_EQ(references_fall_to("kvm_amd", kvms), kvms);
    CHECK_EQ(read(handle, &event, sizeof(event)), 0);
    CHECK(poll_for(channel, POLLIN, 0) & POLLHUP);
    CHECK_EQ(read(channel, &command, sizeof(command)), 0);
    CHECK_EQ(region_set(handle, region), -EPIPE);
    region.fd = channel_new(0);
    CHECK_EQ(region_set(handle, region), -ESRCH);
    CHECK_EQ(region_del(handle, region), -ENOENT);
    close(handle);
}

/* Closing the handle gives everything back, and the VM may be bound again. */
static void handle_closed(void) {
    int channel = channel_new(0);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 16, 1, channel, 0)), 0);
    CHECK_EQ(region_set(vm.handle, region_at(0x300, 16, 2, channel, KVM_IOREGION_PIO)), 0);
    close(vm.handle);
    CHECK(poll_for(channel, POLLIN, 0) & POLLHUP);
    CHECK_EQ(vm_read(&vm, READ8, 0), VMM_ANSWER);
    CHECK_EQ(vm_read(&vm, IN8, 0x300), VMM_ANSWER);
    vm.handle = vm_bind(vm.fd, getpid());
    CHECK(vm.handle >= 0);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 16, 1, channel_new(0), 0)), 0);
    vm_free(&vm);
}

/* 22: descriptors that travel into the dark are closed with it */
static void descriptors_in_flight(void) {
    int ours = references_fall_to("ioregionfd", 1), pair[2];
    char byte = 0, control[CMSG_SPACE(2 * sizeof(int))] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int fds[2] = {channel_new(0)};
    struct vm vm;

    vm_new(&vm);
    fds[1] = vm.handle;
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 16, 1, fds[0], 0)), 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(header), fds, sizeof(fds));
    REQUIRE(sendmsg(pair[0], &message, 0) == 1);
    close(fds[0]);
    close(fds[1]);
    vm.handle = -1;
    CHECK(module_references("ioregionfd") > ours);
    close(pair[0]);
    close(pair[1]);
    CHECK_EQ(references_fall_to("ioregionfd", ours), ours);
    vm_free(&vm);
}

static void check_in_use(void) {
    CHECK_EQ(module_unload("ioregionfd"), -EWOULDBLOCK);
}

/* Everything keeps the module; with nothing left it goes, while a VM that it knew lives on, and comes back. */
static void module_goes_and_comes(void) {
    int channel;
    struct vm vm;

    vm_new(&vm);
    check_in_use();
    channel = channel_new(0);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 16, 1, channel, 0)), 0);
    close(ioregionfd_node);
    check_in_use();
    close(channel);
    check_in_use();
    CHECK_EQ(vm_read(&vm, READ8, 0), 0xff);
    close(vm.handle);
    vm.handle = -1;
    CHECK_EQ(references_fall_to("ioregionfd", 0), 0);
    CHECK_EQ(module_unload("ioregionfd"), 0);
    CHECK_EQ(access("/dev/ioregionfd", F_OK), -1);
    CHECK_EQ(vm_read(&vm, READ8, 0), VMM_ANSWER);
    CHECK_EQ(module_load("ioregionfd"), 0);
    ioregionfd_node = open("/dev/ioregionfd", O_RDWR);
    vm.handle = vm_bind(vm.fd, getpid());
    CHECK(vm.handle >= 0);
    vm_free(&vm);
}

/* Right after the last descriptor, and right after the VM's end with regions, over and over. */
static void module_goes_at_once(void) {
    close(ioregionfd_node);
    for (unsigned i = 0; i < 20; i++) {
        struct vm vm;
        int handle, channel;

        ioregionfd_node = open("/dev/ioregionfd", O_RDWR);
        REQUIRE(ioregionfd_node >= 0);
        vm_new(&vm);
        channel = channel_new(0);
        CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 16, 1, channel, 0)), 0);
        handle = vm.handle;
        vm.handle = -1;
        close(channel);
        if (i & 1)
            vm_free(&vm);
        close(handle);
        close(ioregionfd_node);
        while (module_references("ioregionfd") > 0) /* the sweep's, for a moment */
            sched_yield();
        CHECK_EQ(module_unload("ioregionfd"), 0);
        if (!(i & 1))
            vm_free(&vm);
        CHECK_EQ(module_load("ioregionfd"), 0);
    }
}

static void cycle(struct vm *vm, unsigned i) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, i, channel_new(0), i & 1 ? IOREGIONFD_REGION_REMOVE : 0);
    pthread_t device;

    do /* what the cycle before left is being swept, for as long as the machine takes */
        vm->handle = vm_bind(vm->fd, getpid());
    while (vm->handle == -EAGAIN);
    REQUIRE(vm->handle >= 0);
    REQUIRE(region_set(vm->handle, region) == 0);
    device_start(&device, region.fd);
    vm_write(vm, WRITE32, 4, i);
    CHECK_EQ(vm_read(vm, READ32, 4), i);
    if (i & 2)
        CHECK_EQ(region_del(vm->handle, region), 0);
    close(vm->handle);
    pthread_join(device, NULL);
    close(region.fd);
    vm->handle = -1;
}

static unsigned number(const char *name, unsigned otherwise) {
    return getenv(name) ? (unsigned) atoi(getenv(name)) : otherwise;
}

/* Bind, set, access, delete, close: so many times ("cycles" on the kernel's command line), and memory is as before. */
static void cycles_leave_nothing(void) {
    unsigned n = number("cycles", 500);
    int ours = references_fall_to("ioregionfd", 1);
    uint64_t start;
    long before;
    struct vm vm;

    vm_new(&vm);
    close(vm.handle);
    for (unsigned i = 0; i < 100; i++)
        cycle(&vm, i);
    before = kmalloc_objects("");
    start = now_msec();
    for (unsigned i = 0; i < n; i++)
        cycle(&vm, i);
    printf("# %u cycles in %llu ms\n", n, (unsigned long long) (now_msec() - start));
    check_kmalloc_objects("", before, STRAY_OBJECTS);
    CHECK_EQ(references_fall_to("ioregionfd", ours), ours);
    vm_free(&vm);
}

/* The same with whole VMs, whose ends take the regions along. */
static void vms_leave_nothing(void) {
    int ours = references_fall_to("ioregionfd", 1), kvms = count_vms();

    for (unsigned i = 0; i < 30; i++) {
        struct kvm_ioregion region = region_at(VM_MMIO, 0x100, i, channel_new(0), 0);
        struct vm vm;
        int handle;

        vm_new(&vm);
        handle = vm.handle;
        vm.handle = -1;
        CHECK_EQ(region_set(handle, region), 0);
        if (i & 1)
            close(region.fd);
        if (i & 2)
            close(handle);
        vm_free(&vm);
        if (!(i & 2))
            CHECK(close(handle) == 0);
        if (!(i & 1))
            close(region.fd);
    }
    CHECK_EQ(references_fall_to("ioregionfd", ours), ours);
    CHECK_EQ(references_fall_to("kvm_amd", kvms), kvms);
}

const struct test tests_lifetime[] = {
    TEST(handle_hangs_up), TEST(handle_closed), TEST(descriptors_in_flight), TEST(vms_leave_nothing),
    TEST(cycles_leave_nothing, 200), TEST(module_goes_and_comes), TEST(module_goes_at_once), {0},
};
