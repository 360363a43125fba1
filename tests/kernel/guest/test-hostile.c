/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Devices and brokers that do what they should not (29, 30, 50), by hand and at random. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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

static unsigned seconds_to_fuzz(void) {
    return getenv("fuzz") ? (unsigned) atoi(getenv("fuzz")) : 3;
}

static void randomize(void *at, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((uint8_t *) at)[i] = (uint8_t) (rand() >> 7);
}

/* An answer to what came, if anything did; sometimes right, often not, now and then to nothing. */
static void misbehave(int fd) {
    uint8_t packet[64] = {0};
    struct ioregionfd_cmd command;
    bool asked = poll_for(fd, POLLIN, 2) == POLLIN;

    if (asked && rand() % 16)
        asked = read(fd, &command, sizeof(command)) == sizeof(command);
    if (!asked && rand() % 16)
        return;
    switch (rand() % 8) {
    case 0: randomize(packet, rand() % sizeof(packet)); break;
    case 1: packet[rand() % 32] = (uint8_t) rand(); break;
    }
    (void) !write(fd, packet, rand() % 16 ? 32 : rand() % sizeof(packet));
}

/* A guest that runs on whatever its device does; the device is replaced whenever it was cut off. */
static void hostile_device_at_random(void) {
    uint64_t until = now_msec() + 1000 * seconds_to_fuzz();
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(O_NONBLOCK), IOREGIONFD_REGION_HOLD);
    struct step steps[50];
    struct running running;
    unsigned cut = 0, accesses = 0;
    struct vm vm;

    srand(1);
    region.timeout_usec = 10000;
    region.grace_usec = 10000;
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    while (now_msec() < until) {
        for (unsigned i = 0; i < 50; i++)
            steps[i] = STEP((uint16_t) (READ8 + rand() % (WRITE128 - READ8 + 1)), (uint16_t) (rand() % 0x110), 1, 2);
        vm_start(&running, &vm, 0, steps, 50);
        while (pthread_tryjoin_np(running.thread, NULL) != 0) {
            misbehave(region.fd);
            if (poll_for(region.fd, POLLIN, 0) & POLLHUP) {
                close(region.fd);
                region.fd = channel_new(O_NONBLOCK);
                CHECK_EQ(region_set(vm.handle, region), 0);
                cut++;
            }
        }
        accesses += 50;
    }
    printf("# %u accesses, cut off %u times\n", accesses, cut);
    CHECK(cut > 10);
    vm_free(&vm);
}

/* Any ioctl with any argument on any of the descriptors, with a guest that goes on. */
static void hostile_ioctls_at_random(void) {
    uint64_t until = now_msec() + 1000 * seconds_to_fuzz();
    unsigned calls = 0, good = 0;
    int fds[8];
    struct vm vm;

    srand(2);
    vm_new(&vm);
    fds[0] = ioregionfd_node, fds[1] = vm.handle, fds[2] = vm.fd;
    for (unsigned i = 3; i < 8; i++)
        fds[i] = channel_new(0);
    for (; now_msec() < until; calls++) {
        uint8_t argument[128] = {0};
        struct kvm_ioregion *region = (void *) argument;
        unsigned long requests[] = {IOREGIONFD_GET_INFO, IOREGIONFD_BIND_VM, KVM_SET_IOREGION, KVM_SET_IOREGION,
                                    KVM_SET_IOREGION, IOREGIONFD_GET_STATS, IOREGIONFD_CUT_REGION, IOREGIONFD_SHUTDOWN,
                                    _IOWR(IOREGIONFD_IOC, rand() % 256, int)};
        unsigned long request = requests[rand() % 9];
        int fd = fds[rand() % 3 ? 1 : rand() % 2 * 3];

        if (rand() % 3)
            *region = region_at(VM_MMIO + rand() % 64, 1 + rand() % 16, rand() % 4,
                                rand() % 3 ? fds[3 + rand() % 5] : -1, rand() % 2 | (1u << (rand() % 24)));
        else
            randomize(argument, rand() % sizeof(argument));
        if (request == IOREGIONFD_BIND_VM) {
            struct ioregionfd_bind_vm bind = {.vm_fd = fds[rand() % 8], .pid = rand() % 2 ? getpid() : rand() % 100};
            int handle = ioctl(fd, request, &bind);

            if (handle >= 0)
                close(handle);
            continue;
        }
        good += ioctl(fd, request, argument) >= 0;
        if (calls % 64 == 0) { /* a channel that has ended is of no more use */
            unsigned i = 3 + rand() % 5;

            close(fds[i]);
            fds[i] = channel_new(0);
            vm_run(&vm, 0, &STEP(READ8, 0x80), 1);
        }
    }
    printf("# %u calls, %u of them successful\n", calls, good);
    CHECK(good > 10);
    vm_free(&vm);
}

const struct test tests_hostile[] = {
    TEST(hostile_responses), TEST(hostile_unsolicited), TEST(hostile_duplicate), TEST(hostile_pointers),
    TEST(hostile_losses_do_not_pile_up),
    TEST(hostile_device_at_random, 100), TEST(hostile_ioctls_at_random, 100), {0},
};
