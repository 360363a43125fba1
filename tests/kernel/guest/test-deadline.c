/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Devices that take too long (48, 49). */

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

#define DEADLINE 80 /* ms */

static struct kvm_ioregion region_with_deadline(int channel, uint32_t flags) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel, flags);

    region.timeout_usec = DEADLINE * 1000;
    return region;
}

static void check_loss(struct vm *vm, struct kvm_ioregion region, uint32_t loss) {
    struct ioregionfd_event event;

    CHECK_EQ(poll_for(vm->handle, POLLIN, 0), POLLIN);
    CHECK_EQ(read(vm->handle, &event, sizeof(event)), sizeof(event));
    CHECK_EQ(event.guest_paddr, region.guest_paddr);
    CHECK_EQ(event.memory_size, region.memory_size);
    CHECK_EQ(event.user_data, region.user_data);
    CHECK_EQ(event.flags, region.flags);
    CHECK_EQ(event.loss, loss);
    CHECK_EQ(poll_for(vm->handle, POLLIN, 0), 0);
}

/* Read, not answered: ones, not early and not much too late; afterwards at once. The device is cut off. */
static void deadline_of_a_read(void) {
    struct kvm_ioregion region = region_with_deadline(channel_new(0), 0);
    struct step step = STEP(READ32, 0);
    struct ioregionfd_stats stats;
    struct ioregionfd_cmd command;
    struct running running;
    uint64_t start = now_msec();
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    start = now_msec();
    vm_start(&running, &vm, 0, &step, 1);
    next_command(region.fd);
    vm_join(&running);
    CHECK(now_msec() - start >= DEADLINE);
    CHECK(now_msec() - start < DEADLINE + 2000);
    CHECK_EQ(step.value[0], 0xffffffff);
    CHECK_EQ(answer(region.fd, 5), -EPIPE);
    CHECK(poll_for(region.fd, POLLIN, 0) & POLLHUP);
    CHECK_EQ(read(region.fd, &command, sizeof(command)), 0);
    check_loss(&vm, region, IOREGIONFD_LOSS_DEADLINE);

    CHECK_EQ(vm_read(&vm, READ16, 0), 0xffff);
    vm_write(&vm, WRITE16, 0, 1);
    stats = region_stats(vm.handle, region);
    CHECK_EQ(stats.state, IOREGIONFD_STATE_FAILED);
    CHECK_EQ(stats.loss, IOREGIONFD_LOSS_DEADLINE);
    CHECK_EQ(stats.reads, 2);
    CHECK_EQ(stats.writes, 1);
    CHECK_EQ(stats.failures, 3);
    CHECK_EQ(stats.timeouts, 1);
    CHECK_EQ(vm.exits, 0);
    vm_free(&vm);
}

/* A command that nobody even reads. */
static void deadline_unread(void) {
    struct kvm_ioregion region = region_with_deadline(channel_new(0), 0);
    uint64_t start;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    start = now_msec();
    vm_write(&vm, WRITE8, 0, 1);
    CHECK(now_msec() - start >= DEADLINE);
    check_loss(&vm, region, IOREGIONFD_LOSS_DEADLINE);
    vm_free(&vm);
}

/* 31: posted writes that nobody takes, once there is no room */
static void deadline_of_posted_writes(void) {
    struct kvm_ioregion region = region_with_deadline(channel_new(0), KVM_IOREGION_POSTED_WRITES);
    struct step steps[66];
    uint64_t start;
    struct vm vm;

    for (unsigned i = 0; i < 66; i++)
        steps[i] = STEP(WRITE8, 0, i);
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_run(&vm, 0, steps, 64);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    start = now_msec();
    vm_run(&vm, 0, steps + 64, 2);
    CHECK(now_msec() - start >= DEADLINE);
    check_loss(&vm, region, IOREGIONFD_LOSS_DEADLINE);
    CHECK_EQ(region_stats(vm.handle, region).failures, 2);
    vm_free(&vm);
}

/* A vCPU that waits for its turn is not let down by the one before it. */
static void deadline_of_two_vcpus(void) {
    struct kvm_ioregion region = region_with_deadline(channel_new(0), 0);
    struct step steps[VM_VCPUS] = {STEP(READ8, 0), STEP(READ8, 1)};
    struct running running[VM_VCPUS];
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    for (unsigned i = 0; i < VM_VCPUS; i++)
        vm_start(&running[i], &vm, i, &steps[i], 1);
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        vm_join(&running[i]);
        CHECK_EQ(steps[i].value[0], 0xff);
    }
    CHECK_EQ(region_stats(vm.handle, region).timeouts, 1);
    vm_free(&vm);
}

/* Without one asked for it is a second, as the info says. */
static void deadline_by_default(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    uint64_t start;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    start = now_msec();
    CHECK_EQ(vm_read(&vm, READ8, 0), 0xff);
    CHECK(now_msec() - start >= 1000);
    CHECK(now_msec() - start < 5000);
    vm_free(&vm);
}

/* The largest numbers are long, not short. */
static void deadline_that_never_comes(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), IOREGIONFD_REGION_HOLD);
    struct step step = STEP(READ8, 0);
    struct running running;
    struct vm vm;

    region.timeout_usec = region.grace_usec = UINT64_MAX;
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running, &vm, 0, &step, 1);
    next_command(region.fd);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 300), 0);
    CHECK_EQ(answer(region.fd, 3), 0);
    vm_join(&running);
    CHECK_EQ(step.value[0], 3);
    close(region.fd);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_HELD);
    vm_free(&vm);
}

const struct test tests_deadline[] = {
    TEST(deadline_of_a_read), TEST(deadline_unread), TEST(deadline_of_posted_writes), TEST(deadline_of_two_vcpus),
    TEST(deadline_by_default), TEST(deadline_that_never_comes), {0},
};
