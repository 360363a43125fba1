/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Devices that go away, and come back (47, 48, 51): ones, hold, remove; resumed, with replay and without. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

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
    struct kvm_ioregion region = region_holding(channel_new(0), 200000, 0);
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
    struct kvm_ioregion region = region_holding(channel_new(0), LONG, 0);
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
    struct kvm_ioregion region = region_holding(channel_new(0), LONG, flags);
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
    CHECK_EQ(region_set(vm.handle, region_on(region, channel)), 0);
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
    CHECK_EQ(poll_for(region.fd, POLLIN, 300), 0); /* it waits */
    if (violation)
        CHECK(write(region.fd, "", 1) < 0 && errno == EPROTO);
    close(region.fd);
    if (flags & IOREGIONFD_REGION_HOLD && !violation) {
        CHECK_EQ(region_set(vm.handle, region_on(region, successor)), 0);
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
    struct kvm_ioregion region = region_holding(channel_new(0), LONG, IOREGIONFD_REGION_REPLAY);
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
    CHECK_EQ(region_set(vm.handle, region_on(region, channel)), 0);
    next_command(channel);
    CHECK_EQ(answer(channel, 9), 0);
    vm_join(&running);
    CHECK_EQ(step.value[0], 9);
    vm_free(&vm);
}

/*
 * A device whose registers outlive it. It is killed at its @last command, 0 for none: before the command is carried
 * out, before it is answered, or after.
 */
static pid_t start_mortal(uint32_t registers[VM_VCPUS][16], int channel, unsigned last) {
    int when = rand() % 3;
    struct ioregionfd_cmd command;
    pid_t child = fork();

    REQUIRE(child >= 0);
    if (child != 0)
        return child;
    for (unsigned n = 1; read(channel, &command, sizeof(command)) == sizeof(command); n++) {
        uint32_t *at = &registers[command.user_data % VM_VCPUS][command.offset / 4 % 16];

        if (n == last && when == 0)
            raise(SIGKILL);
        if (command.info & IOREGIONFD_CMD_WRITE)
            *at = (uint32_t) command.data;
        if (n == last && when == 1)
            raise(SIGKILL);
        answer(channel, command.info & IOREGIONFD_CMD_WRITE ? 0 : *at);
        if (n == last)
            raise(SIGKILL);
    }
    _exit(0);
}

/* A vCPU that writes numbers, and reads each again, on and on. */
struct load {
    struct vm *vm;
    unsigned vcpu, wrong, rounds;
    int stop;
};

static void *write_and_read(void *userdata) {
    struct load *load = userdata;
    struct step steps[32];

    for (; !__atomic_load_n(&load->stop, __ATOMIC_SEQ_CST); load->rounds++) {
        for (unsigned i = 0; i < 32; i++)
            steps[i] = STEP(i & 1 ? READ32 : WRITE32, (uint16_t) (0x100 * load->vcpu + i / 2 * 4),
                            load->rounds * 32 + i);
        vm_run(load->vm, load->vcpu, steps, 32);
        for (unsigned i = 1; i < 32; i += 2)
            load->wrong += steps[i].value[0] != load->rounds * 32 + i - 1;
    }
    return NULL;
}

/* Under replay no access is lost, and none is wrong, whenever the device is killed. */
static void disconnect_by_a_hundred_kills(void) {
    uint32_t(*registers)[16] =
        mmap(NULL, VM_VCPUS * sizeof(*registers), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kvm_ioregion regions[VM_VCPUS];
    struct load loads[VM_VCPUS];
    pthread_t threads[VM_VCPUS];
    struct vm vm;
    pid_t device;

    REQUIRE(registers != MAP_FAILED);
    vm_new(&vm);
    REQUIRE(madvise(vm.memory, VM_RAM, MADV_DONTFORK) == 0); /* or the guest would copy it after each fork() */
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        regions[i] = region_holding(-1, LONG, IOREGIONFD_REGION_REPLAY);
        regions[i].guest_paddr += 0x100 * i;
        regions[i].user_data = i;
        regions[i].timeout_usec = LONG;
        loads[i] = (struct load){.vm = &vm, .vcpu = i};
    }
    for (unsigned life = 0; life <= 100; life++) {
        int channel = channel_new(0);

        device = start_mortal(registers, channel, life < 100 ? 1 + (unsigned) rand() % 40 : 0);
        for (unsigned i = 0; i < VM_VCPUS; i++) {
            CHECK_EQ(region_set(vm.handle, region_on(regions[i], channel)), 0);
            if (life == 0)
                REQUIRE(pthread_create(&threads[i], NULL, write_and_read, &loads[i]) == 0);
        }
        close(channel);
        if (life < 100)
            REQUIRE(waitpid(device, NULL, 0) == device);
    }
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        __atomic_store_n(&loads[i].stop, 1, __ATOMIC_SEQ_CST);
        REQUIRE(pthread_join(threads[i], NULL) == 0);
        CHECK_EQ(loads[i].wrong, 0);
        CHECK(loads[i].rounds > 10);
        CHECK_EQ(region_stats(vm.handle, regions[i]).failures, 0);
    }
    CHECK_EQ(vm.exits, 0);
    kill(device, SIGKILL);
    vm_free(&vm);
}

/* 22: the last close of the file is the device's end, not that of a descriptor. */
static void disconnect_by_the_last_close(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    struct step step = STEP(READ8, 4);
    int other = dup(region.fd);
    struct running running;
    struct vm vm;

    REQUIRE(other >= 0);
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running, &vm, 0, &step, 1);
    CHECK_EQ(next_command(region.fd).offset, 4);
    close(region.fd);
    CHECK_EQ(poll_for(vm.handle, POLLIN, 0), 0);
    CHECK_EQ(poll_for(other, POLLIN, 0), 0);
    CHECK_EQ(region_stats(vm.handle, region).state, IOREGIONFD_STATE_ATTACHED);
    CHECK_EQ(answer(other, 7), 0);
    vm_join(&running);
    CHECK_EQ(step.value[0], 7);
    region.fd = other;
    CHECK_EQ(close_while_waiting(&vm, region, true), 0xff);
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
    TEST(disconnect_deadline_under_hold), TEST(disconnect_by_the_last_close), TEST(disconnect_by_deletion),
    TEST(disconnect_by_a_hundred_kills, 60), {0},
};
