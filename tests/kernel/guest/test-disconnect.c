/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Devices that go away, and come back (47, 48, 51): ones, hold, remove; swap, with replay and without. */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

#define LONG UINT64_C(20000000)

static struct kvm_ioregion holding(int channel, uint64_t grace_usec, uint32_t flags) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel, IOREGIONFD_REGION_HOLD | flags);

    region.grace_usec = grace_usec;
    return region;
}

static struct kvm_ioregion on(struct kvm_ioregion region, int channel) {
    region.fd = channel;
    return region;
}

static struct ioregionfd_event next_event(struct vm *vm) {
    struct ioregionfd_event event;

    REQUIRE(poll_for(vm->handle, POLLIN, 10000) == POLLIN);
    REQUIRE(read(vm->handle, &event, sizeof(event)) == sizeof(event));
    return event;
}

static uint32_t next_loss(struct vm *vm) {
    return next_event(vm).loss;
}

/* The next event tells of this region, and of the loss of what its device had. */
static void check_event(struct vm *vm, struct kvm_ioregion region, uint32_t loss) {
    struct ioregionfd_event event = next_event(vm);

    CHECK_EQ(event.guest_paddr, region.guest_paddr);
    CHECK_EQ(event.memory_size, region.memory_size);
    CHECK_EQ(event.user_data, region.user_data);
    CHECK_EQ(event.flags, region.flags);
    CHECK_EQ(event.loss, loss);
}

/* The device closes its descriptor, while a command waits that it has read or not; what does the guest get? */
static uint64_t close_while_waiting(struct vm *vm, struct kvm_ioregion region, bool taken) {
    struct step step = STEP(READ8, 0);
    struct running running;

    vm_start(&running, vm, 0, &step, 1);
    if (taken)
        next_command(region.fd);
    else
        CHECK_EQ(poll_for(region.fd, POLLIN, 10000), POLLIN);
    close(region.fd);
    vm_join(&running);
    CHECK_EQ(next_loss(vm), IOREGIONFD_LOSS_EOF);
    return step.value[0];
}

static void disconnect_ones(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(close_while_waiting(&vm, region, true), 0xff);
    CHECK_EQ(vm_read(&vm, READ32, 0), 0xffffffff);
    vm_write(&vm, WRITE32, 0, 1);
    CHECK_EQ(vm.exits, 0);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_FAILED);
    /* it can come back all the same */
    region.fd = channel_new(0);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_ATTACHED);
    CHECK_EQ(close_while_waiting(&vm, region, false), 0xff);
    vm_free(&vm);
}

/* An access that was under way can't go to the VMM any more, later ones do; a deadline is no removal. */
static void disconnect_remove(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), IOREGIONFD_REGION_REMOVE);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(close_while_waiting(&vm, region, true), 0xff);
    CHECK_EQ(vm.exits, 0);
    CHECK_EQ(vm_read(&vm, READ8, 0), VMM_ANSWER);
    CHECK_EQ(vm.exits, 1);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_GONE);
    CHECK_EQ(region_del(vm.handle, region), 0);

    region.fd = channel_new(0);
    region.timeout_usec = 50000;
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(vm_read(&vm, READ8, 0), 0xff);
    CHECK_EQ(vm_read(&vm, READ8, 0), 0xff);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_FAILED);
    vm_free(&vm);
}

static void disconnect_grace_over(void) {
    struct kvm_ioregion region = holding(channel_new(0), 200000, 0);
    uint64_t start;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    start = now_msec();
    close(region.fd);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_HELD);
    CHECK_EQ(vm_read(&vm, READ8, 0), 0xff);
    CHECK(now_msec() - start >= 200);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_FAILED);
    start = now_msec();
    CHECK_EQ(vm_read(&vm, READ8, 0), 0xff);
    CHECK(now_msec() - start < 200);
    vm_free(&vm);
}

/* A protocol violation fails the region, hold or not. */
static void disconnect_violation(void) {
    struct kvm_ioregion region = holding(channel_new(0), LONG, 0);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(answer(region.fd, 0), -EPROTO);
    CHECK_EQ(next_loss(&vm), IOREGIONFD_LOSS_VIOLATION);
    CHECK_EQ(vm_read(&vm, READ8, 0), 0xff);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_FAILED);
    vm_free(&vm);
}

enum when { BEFORE_LOSS, UNREAD, READ_IT };

/* An access that finds the device gone, or loses it unread, or read and unanswered; then it resumes. */
static uint64_t resume(uint32_t flags, enum when when, bool again) {
    struct kvm_ioregion region = holding(channel_new(0), LONG, flags);
    struct step step = STEP(READ8, 4);
    int channel = channel_new(0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    if (when == BEFORE_LOSS)
        close(region.fd);
    vm_start(&running, &vm, 0, &step, 1);
    if (when == READ_IT)
        next_command(region.fd);
    else if (when == UNREAD)
        CHECK_EQ(poll_for(region.fd, POLLIN, 10000), POLLIN);
    if (when != BEFORE_LOSS)
        close(region.fd);
    CHECK_EQ(next_loss(&vm), IOREGIONFD_LOSS_EOF);
    CHECK_EQ(region_set(vm.handle, on(region, channel)), 0);
    if (again) {
        struct ioregionfd_cmd command = next_command(channel);

        CHECK_EQ(command.info, 0x40);
        CHECK_EQ(command.offset, 4);
        CHECK_EQ(answer(channel, 7), 0);
    }
    vm_join(&running);
    CHECK_EQ(poll_for(channel, POLLIN, 0), 0);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_ATTACHED);
    CHECK_EQ(region_stats(vm.handle, region).reads, 1);
    vm_free(&vm);
    return step.value[0];
}

static void disconnect_resume(void) {
    CHECK_EQ(resume(0, BEFORE_LOSS, true), 7);
    CHECK_EQ(resume(0, UNREAD, true), 7);
    CHECK_EQ(resume(0, READ_IT, false), 0xff);
}

static void disconnect_resume_with_replay(void) {
    CHECK_EQ(resume(IOREGIONFD_REGION_REPLAY, BEFORE_LOSS, true), 7);
    CHECK_EQ(resume(IOREGIONFD_REGION_REPLAY, UNREAD, true), 7);
    CHECK_EQ(resume(IOREGIONFD_REGION_REPLAY, READ_IT, true), 7);
}

/* One vCPU's command is in the device's hands, the other one waits for its turn, when the device goes. */
static void lose_with_two_vcpus(uint32_t flags, bool violation, const uint64_t expected[VM_VCPUS]) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), flags);
    struct step steps[VM_VCPUS] = {STEP(READ8, 0), STEP(READ8, 1)};
    struct running running[VM_VCPUS];
    int successor = channel_new(0);
    struct vm vm;

    region.grace_usec = flags & IOREGIONFD_REGION_HOLD ? LONG : 0;
    region.timeout_usec = LONG;
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running[0], &vm, 0, &steps[0], 1);
    next_command(region.fd);
    vm_start(&running[1], &vm, 1, &steps[1], 1);
    CHECK_EQ(poll_for(region.fd, POLLIN, 100), 0);
    if (violation)
        CHECK(write(region.fd, "", 1) < 0 && errno == EPROTO);
    close(region.fd);
    if (flags & IOREGIONFD_REGION_HOLD && !violation) {
        CHECK_EQ(region_set(vm.handle, on(region, successor)), 0);
        for (unsigned i = 0; i < VM_VCPUS; i++)
            if (expected[i] != 0xff)
                CHECK_EQ(answer(successor, expected[next_command(successor).offset]), 0);
    }
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        vm_join(&running[i]);
        CHECK_EQ(steps[i].value[0], expected[i]);
    }
    CHECK_EQ(vm.exits, 0);
    CHECK_EQ(region_stats(vm.handle, region).reads, VM_VCPUS);
    vm_free(&vm);
    close(successor);
}

static void disconnect_with_two_vcpus(void) {
    const uint64_t ones[] = {0xff, 0xff}, second[] = {0xff, 2}, both[] = {1, 2};

    lose_with_two_vcpus(0, false, ones);
    lose_with_two_vcpus(IOREGIONFD_REGION_REMOVE, false, ones);
    lose_with_two_vcpus(IOREGIONFD_REGION_HOLD, false, second);
    lose_with_two_vcpus(IOREGIONFD_REGION_HOLD | IOREGIONFD_REGION_REPLAY, false, both);
    lose_with_two_vcpus(IOREGIONFD_REGION_HOLD | IOREGIONFD_REGION_REPLAY, true, ones);
}

/* Missed deadline under hold: held, and resumed; the clock stands still meanwhile. */
static void disconnect_deadline_under_hold(void) {
    struct kvm_ioregion region = holding(channel_new(0), LONG, IOREGIONFD_REGION_REPLAY);
    struct step step = STEP(READ8, 4);
    int channel = channel_new(0);
    struct running running;
    struct vm vm;

    region.timeout_usec = 50000;
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running, &vm, 0, &step, 1);
    CHECK_EQ(next_loss(&vm), IOREGIONFD_LOSS_DEADLINE);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_HELD);
    CHECK_EQ(poll_for(channel, POLLIN, 200), 0);
    CHECK_EQ(region_set(vm.handle, on(region, channel)), 0);
    next_command(channel);
    CHECK_EQ(answer(channel, 9), 0);
    vm_join(&running);
    CHECK_EQ(step.value[0], 9);
    vm_free(&vm);
}

/* A swap in the middle of a device's life: the former channel ends, and the access moves. */
static void swap_of_a_living_device(void) {
    struct kvm_ioregion region = holding(channel_new(0), LONG, IOREGIONFD_REGION_REPLAY);
    struct step step = STEP(READ8, 4);
    int channel = channel_new(0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running, &vm, 0, &step, 1);
    next_command(region.fd);
    CHECK_EQ(region_set(vm.handle, on(region, channel)), 0);
    CHECK(poll_for(region.fd, POLLIN, 0) & POLLHUP);
    CHECK_EQ(answer(region.fd, 1), -EPIPE);
    next_command(channel);
    CHECK_EQ(answer(channel, 2), 0);
    vm_join(&running);
    CHECK_EQ(step.value[0], 2);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    vm_free(&vm);
}

static int cut(int handle, struct kvm_ioregion region) {
    return ioctl(handle, IOREGIONFD_CUT_REGION, &region) < 0 ? -errno : 0;
}

/* How a broker cuts off a device that lives, and lets another one take over both of its regions. */
static void cut_and_swap(void) {
    struct kvm_ioregion first = holding(channel_new(0), LONG, 0), second = first;
    struct step steps[] = {STEP(READ8, 0), STEP(READ8, 0x100)};
    int successor = channel_new(0);
    struct running running;
    struct vm vm;

    second.guest_paddr += 0x100;
    second.user_data++;
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, first), 0);
    CHECK_EQ(region_set(vm.handle, second), 0);
    CHECK_EQ(cut(vm.handle, first), 0);
    CHECK_EQ(cut(vm.handle, second), 0); /* it is cut already */
    CHECK(poll_for(first.fd, POLLIN, 0) & POLLHUP);
    CHECK_EQ(region_stats(vm.handle, first).state, IOREGIONFD_STATE_HELD);
    CHECK_EQ(region_stats(vm.handle, second).state, IOREGIONFD_STATE_HELD);
    CHECK_EQ(next_loss(&vm), IOREGIONFD_LOSS_EOF);
    CHECK_EQ(next_loss(&vm), IOREGIONFD_LOSS_EOF);
    vm_start(&running, &vm, 0, steps, 2);
    CHECK_EQ(region_set(vm.handle, on(first, successor)), 0);
    CHECK_EQ(next_command(successor).user_data, first.user_data);
    CHECK_EQ(answer(successor, 1), 0);
    CHECK_EQ(poll_for(successor, POLLIN, 50), 0); /* the other one is still held */
    CHECK_EQ(region_set(vm.handle, on(second, successor)), 0);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0); /* no loss is left to be told of */
    CHECK_EQ(next_command(successor).user_data, second.user_data);
    CHECK_EQ(answer(successor, 2), 0);
    vm_join(&running);
    CHECK_EQ(steps[0].value[0], 1);
    CHECK_EQ(steps[1].value[0], 2);
    vm_free(&vm);
}

/* Cut off like that, a region is what its flags say, in either space; and it can be cut off again. */
static void cut_off(uint32_t flags, uint32_t state) {
    struct kvm_ioregion region = region_at(0x9000, 8, 7, channel_new(0), flags);
    struct vm vm;

    region.grace_usec = flags & IOREGIONFD_REGION_HOLD ? LONG : 0;
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    for (unsigned i = 0; i < 2; i++) {
        int nobody = channel_new(0);

        CHECK_EQ(region_set(vm.handle, on(region, nobody)), 0);
        CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
        close(nobody);
        CHECK_EQ(region_stats(vm.handle, region).state, state);
        CHECK_EQ(region_stats(vm.handle, region).loss, IOREGIONFD_LOSS_EOF);
        check_event(&vm, region, IOREGIONFD_LOSS_EOF);
        CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    }
    CHECK(poll_for(region.fd, POLLIN, 0) & POLLHUP);
    vm_free(&vm);
}

static void swap_to_cut_off_as_flagged(void) {
    for (uint32_t space = 0; space <= KVM_IOREGION_PIO; space++) {
        cut_off(space, IOREGIONFD_STATE_FAILED);
        cut_off(space | IOREGIONFD_REGION_HOLD, IOREGIONFD_STATE_HELD);
        cut_off(space | IOREGIONFD_REGION_REMOVE, IOREGIONFD_STATE_GONE);
    }
}

/* Nobody is told of the former ioregionfd once the swap is done, but of the new one; and others on it stay told of. */
static void swap_forgets_a_loss_that_was_not_told(void) {
    struct kvm_ioregion region = holding(channel_new(0), LONG, 0), other = region;
    int second = channel_new(0), third = channel_new(0);
    struct vm vm;

    other.guest_paddr += 0x100;
    other.user_data++;
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(region_set(vm.handle, other), 0);
    CHECK_EQ(answer(region.fd, 0), -EPROTO); /* lost, and not read of */
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), POLLIN);
    CHECK_EQ(region_set(vm.handle, on(region, second)), 0);
    check_event(&vm, other, IOREGIONFD_LOSS_VIOLATION);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    CHECK_EQ(region_stats(vm.handle, region).loss, 0);
    CHECK_EQ(region_set(vm.handle, on(other, second)), 0);

    CHECK_EQ(region_set(vm.handle, on(region, third)), 0); /* of a living one: lost to the other region alone */
    check_event(&vm, other, IOREGIONFD_LOSS_EOF);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    close(second);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    close(third);
    check_event(&vm, region, IOREGIONFD_LOSS_EOF);
    CHECK_EQ(region_del(vm.handle, region), 0);
    CHECK_EQ(region_set(vm.handle, on(region, channel_new(0))), 0); /* nor does a region inherit a loss */
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    vm_free(&vm);
}

/* What a violation did, cutting off does not undo. */
static void cut_after_violation(void) {
    struct kvm_ioregion region = holding(channel_new(0), LONG, 0);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(answer(region.fd, 0), -EPROTO);
    CHECK_EQ(cut(vm.handle, region), 0);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_FAILED);
    CHECK_EQ(next_loss(&vm), IOREGIONFD_LOSS_VIOLATION);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    vm_free(&vm);
}

static void *read_one(void *userdata) {
    struct ioregionfd_cmd command;

    return (void *) (intptr_t) read(*(int *) userdata, &command, sizeof(command));
}

/* The device's own word: a thread that waits in read() comes out of it; at the end the regions lose their device. */
static void disconnect_by_shutdown(void) {
    struct kvm_ioregion region = holding(channel_new(0), LONG, 0);
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

/* One read that does not wait, on a descriptor that does. */
static void read_without_waiting(void) {
    struct kvm_ioregion region = holding(channel_new(0), LONG, 0);
    struct ioregionfd_cmd command;
    struct iovec vector = {&command, sizeof(command)};
    struct step step = STEP(READ8, 0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(preadv2(region.fd, &vector, 1, -1, RWF_NOWAIT), -1);
    CHECK_EQ(errno, EAGAIN);
    vm_start(&running, &vm, 0, &step, 1);
    CHECK_EQ(poll_for(region.fd, POLLIN, 10000), POLLIN);
    CHECK_EQ(preadv2(region.fd, &vector, 1, -1, RWF_NOWAIT), sizeof(command));
    CHECK_EQ(answer(region.fd, 7), 0);
    vm_join(&running);
    CHECK_EQ(step.value[0], 7);
    vm_free(&vm);
}

/* Only the descriptor may differ; the same one changes nothing; tokens stay unique. */
static void swap_changes_nothing_else(void) {
    struct kvm_ioregion region = holding(channel_new(0), LONG, 0), other;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(poll_for(region.fd, POLLIN, 0), 0);
    other = region, other.user_data++;
    CHECK_EQ(region_set(vm.handle, other), -EEXIST);
    other = region, other.flags |= IOREGIONFD_REGION_REPLAY;
    CHECK_EQ(region_set(vm.handle, other), -EEXIST);
    other = region, other.timeout_usec = 5;
    CHECK_EQ(region_set(vm.handle, other), -EEXIST);
    other = region, other.grace_usec++;
    CHECK_EQ(region_set(vm.handle, other), -EEXIST);
    other = region_at(VM_MMIO + 0x100, 0x100, region.user_data, channel_new(0), 0);
    CHECK_EQ(region_set(vm.handle, other), 0);
    CHECK_EQ(region_set(vm.handle, on(region, other.fd)), -EEXIST);
    CHECK_EQ(answer(region.fd, 0), -EPROTO);
    CHECK_EQ(region_set(vm.handle, region), -EPIPE);
    vm_free(&vm);
}

/* A device of two regions hears of the end when the last one is deleted. */
static void disconnect_by_deletion(void) {
    int channel = channel_new(0);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 16, 1, channel, 0)), 0);
    CHECK_EQ(region_set(vm.handle, region_at(0x300, 16, 2, channel, KVM_IOREGION_PIO)), 0);
    CHECK_EQ(region_del(vm.handle, region_at(VM_MMIO, 16, 1, -1, 0)), 0);
    CHECK_EQ(poll_for(channel, POLLIN, 0), 0);
    CHECK_EQ(region_del(vm.handle, region_at(0x300, 16, 2, -1, KVM_IOREGION_PIO)), 0);
    CHECK(poll_for(channel, POLLIN, 0) & POLLHUP);
    vm_free(&vm);
}

const struct test tests_disconnect[] = {
    TEST(disconnect_ones), TEST(disconnect_remove), TEST(disconnect_grace_over), TEST(disconnect_violation),
    TEST(disconnect_resume), TEST(disconnect_resume_with_replay), TEST(disconnect_with_two_vcpus),
    TEST(disconnect_deadline_under_hold),
    TEST(swap_of_a_living_device), TEST(cut_and_swap), TEST(swap_to_cut_off_as_flagged),
    TEST(swap_forgets_a_loss_that_was_not_told), TEST(cut_after_violation), TEST(swap_changes_nothing_else),
    TEST(disconnect_by_deletion), TEST(disconnect_by_shutdown), TEST(shutdown_before_the_answer),
    TEST(shutdown_instead_of_the_answer), TEST(shutdown_without_an_end), TEST(read_without_waiting), {0},
};
