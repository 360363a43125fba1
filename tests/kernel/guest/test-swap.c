/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One channel in place of another, under a device that lives: what a region is then, and who is told of what. */

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

/* The next event tells of this region, and of the loss of what its device had. */
static void check_event(struct vm *vm, struct kvm_ioregion region, uint32_t loss) {
    struct ioregionfd_event event = next_event(vm);

    CHECK_EQ(event.guest_paddr, region.guest_paddr);
    CHECK_EQ(event.memory_size, region.memory_size);
    CHECK_EQ(event.user_data, region.user_data);
    CHECK_EQ(event.flags, region.flags);
    CHECK_EQ(event.loss, loss);
}

/* A swap in the middle of a device's life: the former channel ends, and the access moves. */
static void swap_of_a_living_device(void) {
    struct kvm_ioregion region = region_holding(channel_new(0), LONG, IOREGIONFD_REGION_REPLAY);
    struct step step = STEP(READ8, 4);
    int channel = channel_new(0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running, &vm, 0, &step, 1);
    next_command(region.fd);
    CHECK_EQ(region_set(vm.handle, region_on(region, channel)), 0);
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
    struct kvm_ioregion first = region_holding(channel_new(0), LONG, 0), second = first;
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
    CHECK_EQ(region_set(vm.handle, region_on(first, successor)), 0);
    CHECK_EQ(next_command(successor).user_data, first.user_data);
    CHECK_EQ(answer(successor, 1), 0);
    CHECK_EQ(poll_for(successor, POLLIN, 50), 0); /* the other one is still held */
    CHECK_EQ(region_set(vm.handle, region_on(second, successor)), 0);
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

        CHECK_EQ(region_set(vm.handle, region_on(region, nobody)), 0);
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
    struct kvm_ioregion region = region_holding(channel_new(0), LONG, 0), other = region;
    int second = channel_new(0), third = channel_new(0);
    struct vm vm;

    other.guest_paddr += 0x100;
    other.user_data++;
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(region_set(vm.handle, other), 0);
    CHECK_EQ(answer(region.fd, 0), -EPROTO); /* lost, and not read of */
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), POLLIN);
    CHECK_EQ(region_set(vm.handle, region_on(region, second)), 0);
    check_event(&vm, other, IOREGIONFD_LOSS_VIOLATION);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    CHECK_EQ(region_stats(vm.handle, region).loss, 0);
    CHECK_EQ(region_set(vm.handle, region_on(other, second)), 0);

    CHECK_EQ(region_set(vm.handle, region_on(region, third)), 0); /* of a living one: lost to the other region alone */
    check_event(&vm, other, IOREGIONFD_LOSS_EOF);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    close(second);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    close(third);
    check_event(&vm, region, IOREGIONFD_LOSS_EOF);
    CHECK_EQ(region_del(vm.handle, region), 0);
    CHECK_EQ(region_set(vm.handle, region_on(region, channel_new(0))), 0); /* nor does a region inherit a loss */
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    vm_free(&vm);
}

/* What a violation did, cutting off does not undo. */
static void cut_after_violation(void) {
    struct kvm_ioregion region = region_holding(channel_new(0), LONG, 0);
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

/* Only the descriptor may differ; the same one changes nothing; tokens stay unique. */
static void swap_changes_nothing_else(void) {
    struct kvm_ioregion region = region_holding(channel_new(0), LONG, 0), other;
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
    CHECK_EQ(region_set(vm.handle, region_on(region, other.fd)), -EEXIST);
    CHECK_EQ(answer(region.fd, 0), -EPROTO);
    CHECK_EQ(region_set(vm.handle, region), -EPIPE);
    vm_free(&vm);
}

const struct test tests_swap[] = {
    TEST(swap_of_a_living_device), TEST(cut_and_swap), TEST(swap_to_cut_off_as_flagged),
    TEST(swap_forgets_a_loss_that_was_not_told), TEST(cut_after_violation), TEST(swap_changes_nothing_else), {0},
};
