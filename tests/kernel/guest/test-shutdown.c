/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The device's own word that it is about to end (IOREGIONFD_SHUTDOWN). */

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

static void *read_one(void *userdata) {
    struct ioregionfd_cmd command;

    return (void *) (intptr_t) read(*(int *) userdata, &command, sizeof(command));
}

/* The device's own word: a thread that waits in read() comes out of it; at the end the regions lose their device. */
static void shutdown_wakes_the_reader(void) {
    struct kvm_ioregion region = region_holding(channel_new(0), LONG, 0);
    pthread_t reader;
    void *n = NULL;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    REQUIRE(pthread_create(&reader, NULL, read_one, &region.fd) == 0);
    CHECK_EQ(ioctl(region.fd, IOREGIONFD_SHUTDOWN, 2), -1);
    CHECK_EQ(errno, EINVAL);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    CHECK_EQ(ioctl(region.fd, IOREGIONFD_SHUTDOWN, IOREGIONFD_SHUTDOWN_READ), 0);
    REQUIRE(pthread_join(reader, &n) == 0);
    CHECK_EQ((intptr_t) n, 0);
    CHECK_EQ(poll_for(region.fd, POLLIN | POLLRDHUP, 0), POLLIN | POLLRDHUP);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_ATTACHED);
    CHECK_EQ(ioctl(region.fd, IOREGIONFD_SHUTDOWN, IOREGIONFD_SHUTDOWN_BOTH), 0);
    CHECK_EQ(next_loss(&vm), IOREGIONFD_LOSS_EOF);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_HELD);
    vm_free(&vm);
}

/* It takes no command more, and gives the answer that it owes; what comes next waits for the end. */
static void shutdown_before_the_answer(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    struct step steps[] = {STEP(READ8, 0), STEP(READ8, 0)};
    struct ioregionfd_cmd command;
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running, &vm, 0, steps, 2);
    next_command(region.fd);
    CHECK_EQ(ioctl(region.fd, IOREGIONFD_SHUTDOWN, IOREGIONFD_SHUTDOWN_READ), 0);
    CHECK_EQ(read(region.fd, &command, sizeof(command)), 0);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO + 0x100, 0x100, 2, region.fd, 0)), -EPIPE);
    CHECK_EQ(answer(region.fd, 7), 0);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 100), 0);
    CHECK_EQ(read(region.fd, &command, sizeof(command)), 0);
    close(region.fd);
    vm_join(&running);
    CHECK_EQ(steps[0].value[0], 7);
    CHECK_EQ(steps[1].value[0], 0xff);
    CHECK_EQ(next_loss(&vm), IOREGIONFD_LOSS_EOF);
    CHECK_EQ(region_stats(vm.handle, region).timeouts, 0);
    vm_free(&vm);
}

static void shutdown_instead_of_the_answer(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    struct step step = STEP(READ8, 0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running, &vm, 0, &step, 1);
    next_command(region.fd);
    CHECK_EQ(ioctl(region.fd, IOREGIONFD_SHUTDOWN, IOREGIONFD_SHUTDOWN_BOTH), 0);
    vm_join(&running);
    CHECK_EQ(step.value[0], 0xff);
    CHECK_EQ(answer(region.fd, 7), -EPIPE);
    CHECK_EQ(region_stats(vm.handle, region).timeouts, 0);
    vm_free(&vm);
}

/* The end that does not come is a missed deadline, of reads and of posted writes that fill the ring. */
static void shutdown_without_an_end(void) {
    const uint32_t flags[] = {0, KVM_IOREGION_POSTED_WRITES};
    struct step steps[100];

    for (unsigned i = 0; i < 100; i++)
        steps[i] = STEP(WRITE8, 0, 1);
    for (unsigned i = 0; i < 2; i++) {
        struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), flags[i]);
        struct vm vm;

        region.timeout_usec = 50000;
        vm_new(&vm);
        CHECK_EQ(region_set(vm.handle, region), 0);
        CHECK_EQ(ioctl(region.fd, IOREGIONFD_SHUTDOWN, IOREGIONFD_SHUTDOWN_READ), 0);
        vm_run(&vm, 0, steps, 100);
        CHECK_EQ(vm_read(&vm, READ8, 0), 0xff);
        CHECK_EQ(next_loss(&vm), IOREGIONFD_LOSS_DEADLINE);
        CHECK_EQ(region_stats(vm.handle, region).timeouts, 1);
        vm_free(&vm);
    }
}

const struct test tests_shutdown[] = {
    TEST(shutdown_wakes_the_reader), TEST(shutdown_before_the_answer), TEST(shutdown_instead_of_the_answer),
    TEST(shutdown_without_an_end), {0},
};
