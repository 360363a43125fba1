/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Devices that do what they should not (29, 30, 50), by hand. */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

/* A response to this step: it must cut the device off, and the guest gets ones. */
static void check_refused(struct step step, const void *response, size_t size, bool early) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running, &vm, 0, &step, 1);
    if (early)
        CHECK_EQ(poll_for(region.fd, POLLIN, 10000), POLLIN);
    else
        next_command(region.fd);
    CHECK(write(region.fd, response, size) < 0 && errno == EPROTO);
    CHECK(write(region.fd, response, size) < 0 && errno == EPIPE);
    vm_join(&running);
    if (step.op == READ8)
        CHECK_EQ(step.value[0], 0xff);
    CHECK_EQ(region_stats(vm.handle, region).loss, IOREGIONFD_LOSS_VIOLATION);
    CHECK(poll_for(region.fd, POLLIN, 0) & POLLHUP);
    vm_free(&vm);
}

/* 29, 30 */
static void hostile_responses(void) {
    struct ioregionfd_resp good = {0}, wide = {.data = 0x100}, dirty = {.pad = {[0] = 1}}, late = {.pad = {[23] = 1}};
    struct ioregionfd_resp written = {.data = 1};
    uint8_t longer[33] = {0};

    check_refused(STEP(READ8, 0), &wide, sizeof(wide), false);
    check_refused(STEP(READ8, 0), &dirty, sizeof(dirty), false);
    check_refused(STEP(READ8, 0), &late, sizeof(late), false);
    check_refused(STEP(READ8, 0), &good, 31, false);
    check_refused(STEP(READ8, 0), longer, 33, false);
    check_refused(STEP(READ8, 0), &good, 0, false);
    check_refused(STEP(READ8, 0), &good, 8, false);
    check_refused(STEP(WRITE8, 0), &written, sizeof(written), false);
    check_refused(STEP(READ8, 0), &good, sizeof(good), true);
}

/* 29: nobody asked; nobody asked twice */
static void hostile_unsolicited(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), KVM_IOREGION_POSTED_WRITES);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_write(&vm, WRITE8, 0, 1);
    next_command(region.fd);
    CHECK_EQ(answer(region.fd, 0), -EPROTO); /* a posted write wants none */
    CHECK_EQ(vm_read(&vm, READ8, 0), 0xff);
    vm_free(&vm);
}

static void hostile_duplicate(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    struct step step = STEP(READ8, 0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running, &vm, 0, &step, 1);
    next_command(region.fd);
    CHECK_EQ(answer(region.fd, 5), 0);
    CHECK_EQ(answer(region.fd, 5), -EPROTO);
    vm_join(&running);
    CHECK_EQ(step.value[0], 5);
    vm_free(&vm);
}

/* Bad memory is the device's own trouble: a command that it could not be given stays unanswered. */
static void hostile_pointers(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    struct step step = STEP(READ8, 0);
    void *volatile nowhere = (void *) 8;
    struct running running;
    struct vm vm;

    region.timeout_usec = 200000;
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running, &vm, 0, &step, 1);
    CHECK_EQ(poll_for(region.fd, POLLIN, 10000), POLLIN);
    CHECK(write(region.fd, nowhere, 32) < 0 && errno == EFAULT);
    CHECK(read(region.fd, nowhere, 32) < 0 && errno == EFAULT);
    vm_join(&running);
    CHECK_EQ(step.value[0], 0xff);
    vm_free(&vm);
}

/* 50: however often a region loses its device, there is one event at most to be read, and of the last loss */
static void hostile_losses_do_not_pile_up(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    struct ioregionfd_event event;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    for (unsigned i = 0; i < 1000; i++) {
        CHECK_EQ(answer(region.fd, 0), -EPROTO);
        close(region.fd);
        region.fd = channel_new(0);
        CHECK_EQ(region_set(vm.handle, region), 0);
    }
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    close(region.fd);
    REQUIRE(poll_for(vm.handle, POLLIN, 0) == POLLIN);
    CHECK_EQ(read(vm.handle, &event, sizeof(event)), sizeof(event));
    CHECK_EQ(event.loss, IOREGIONFD_LOSS_EOF);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    vm_free(&vm);
}

const struct test tests_hostile[] = {
    TEST(hostile_responses), TEST(hostile_unsolicited), TEST(hostile_duplicate), TEST(hostile_pointers),
    TEST(hostile_losses_do_not_pile_up), {0},
};
