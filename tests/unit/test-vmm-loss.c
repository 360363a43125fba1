/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A device goes away, in every way and under each on_disconnect, and comes back (edges 43, 47, 48, 49, 51). */

#include "played-broker.h"
#include <sched.h>

#include "clock.h"
#include "vmm-internal.h"

#define ONES UINT32_C(0xffffffff)

static struct ioregion_lease_region_add region(uint32_t on_disconnect) {
    return (struct ioregion_lease_region_add){.region = 1, .base = 0x1000, .size = 16, .user_data = 7, .channel = 1,
                                              .on_disconnect = on_disconnect, .grace_usec = 60000000};
}

static int read_4(struct played_vm *vm, uint32_t *value) {
    *value = 0x5555;
    return ioregion_vmm_access(vm->vmm, IOREGION_MMIO, 0x1000, value, 4, 0);
}

static int write_4(struct played_vm *vm) {
    uint32_t value = 1;

    return ioregion_vmm_access(vm->vmm, IOREGION_MMIO, 0x1000, &value, 4, 1);
}

/* Wait for a command, and give it back. */
static struct ioregion_command await_command(int fd) {
    struct ioregion_command command;

    played_await(fd);
    assert_int_equal(recv(fd, &command, sizeof(command), MSG_TRUNC), sizeof(command));
    return command;
}

/* Until a vCPU is inside the region at @address. */
static void await_inside(struct played_vm *vm, uint64_t address) {
    struct region *region = tables_enter(&vm->vmm->tables, IOREGION_MMIO, address, 1);
    uint64_t limit = clock_now_usec() + 5000000;

    assert_non_null(region);
    while (atomic_load(&region->users) < 2 * REGION_USER && clock_now_usec() < limit)
        sched_yield();
    assert_true(atomic_load(&region->users) >= 2 * REGION_USER);
    tables_leave(region);
}

static void answer(int fd, uint64_t value) {
    struct ioregion_response response = {.data = value};

    assert_int_equal(send(fd, &response, sizeof(response), MSG_NOSIGNAL), sizeof(response));
}

/* 51: the device closes, nobody touches it: noticed all the same, reported once. */
static void test_idle_hang_up(void **state) {
    static const int ours[] = {1, 1, 0};

    for (uint32_t mode = IOREGION_ON_DISCONNECT_ONES; mode <= IOREGION_ON_DISCONNECT_REMOVE; mode++) {
        struct ioregion_lease_region_add add = region(mode);
        struct played_vm vm;
        uint32_t value;

        add.grace_usec = 20000;
        played_vm_start(&vm);
        close(played_device(&vm, add));
        played_await(ioregion_vmm_fd(vm.vmm));
        assert_int_equal(ioregion_vmm_process(vm.vmm), 0);
        assert_int_equal(played_event(&vm, 1), IOREGION_EVENT_EOF);
        assert_int_equal(read_4(&vm, &value), ours[mode]);
        assert_int_equal(value, ours[mode] ? ONES : 0x5555);
        assert_int_equal(write_4(&vm), ours[mode]);
        assert_int_equal(ioregion_vmm_process(vm.vmm), 0);
        played_silence(&vm);
        assert_int_equal(played_stats(&vm, 1).failures, ours[mode] * 2);
        assert_int_equal(played_remove(&vm, 1), 0);
        played_vm_end(&vm);
    }
}

/* Half a close is a loss, too. */
static void test_half_close(void **state) {
    struct played_vm vm;
    int fd;

    played_vm_start(&vm);
    fd = played_device(&vm, region(IOREGION_ON_DISCONNECT_ONES));
    shutdown(fd, SHUT_WR);
    played_await(ioregion_vmm_fd(vm.vmm));
    assert_int_equal(ioregion_vmm_process(vm.vmm), 0);
    assert_int_equal(played_event(&vm, 1), IOREGION_EVENT_EOF);
    close(fd);
    played_vm_end(&vm);
}

/* 48: the deadline, for ones and remove, both of which fail; and under hold with no grace left. */
static void test_deadline(void **state) {
    for (uint32_t mode = IOREGION_ON_DISCONNECT_ONES; mode <= IOREGION_ON_DISCONNECT_REMOVE; mode++) {
        struct ioregion_lease_region_add add = region(mode);
        struct ioregion_lease_stats_reply stats;
        struct played_vm vm;
        uint32_t value;
        uint64_t start;
        char byte;
        int fd;

        add.timeout_usec = add.grace_usec = 30000;
        played_vm_start(&vm);
        fd = played_device(&vm, add);
        start = clock_now_usec();
        assert_int_equal(read_4(&vm, &value), 1);
        assert_true(clock_now_usec() - start >= (mode == IOREGION_ON_DISCONNECT_HOLD ? 60000 : 30000));
        assert_int_equal(value, ONES);
        await_command(fd);
        assert_int_equal(recv(fd, &byte, 1, 0), 0); /* 49: too late for an answer */
        assert_int_equal(played_event(&vm, 1), IOREGION_EVENT_DEADLINE);
        start = clock_now_usec();
        assert_int_equal(read_4(&vm, &value), 1);
        assert_true(clock_now_usec() - start < 25000);
        stats = played_stats(&vm, 1);
        assert_true(stats.reads == 2 && stats.failures == 2 && stats.timeouts == 1);
        played_silence(&vm);
        close(fd);
        played_vm_end(&vm);
    }
}

/* A violation fails the region whatever was agreed; only a new device ends that. */
static void test_violation(void **state) {
    for (uint32_t mode = IOREGION_ON_DISCONNECT_ONES; mode <= IOREGION_ON_DISCONNECT_REMOVE; mode++) {
        struct played_thread device;
        struct played_vm vm;
        uint32_t value;
        int fd, back;

        played_vm_start(&vm);
        fd = played_device(&vm, region(mode));
        answer(fd, 1); /* 29: nobody asked */
        assert_int_equal(read_4(&vm, &value), 1);
        assert_int_equal(value, ONES);
        assert_int_equal(played_event(&vm, 1), IOREGION_EVENT_VIOLATION);
        assert_int_equal(write_4(&vm), 1);
        back = played_swap(&vm, 1);
        played_thread_start(&device, played_serve, back, NULL);
        assert_int_equal(read_4(&vm, &value), 1);
        assert_int_equal(value, 0x89abcdef ^ (7 * 131));
        played_vm_end(&vm);
        played_thread_end(&device);
        close(fd);
        close(back);
    }
}

/* 47: a crash with a command in hand, under hold; the device comes back with and without replay. */
static void test_hold(void **state) {
    for (int replay = 0; replay < 2; replay++) {
        struct ioregion_lease_region_add add = region(IOREGION_ON_DISCONNECT_HOLD);
        struct played_thread device;
        struct played_vcpu vcpu;
        struct played_vm vm;
        uint32_t value;
        int fd;

        add.features = replay ? IOREGION_FEATURE_REPLAY : 0;
        played_vm_start(&vm);
        fd = played_device(&vm, add);
        played_vcpu_start(&vcpu, &vm, 0x1000, 0);
        await_command(fd);
        close(fd);
        assert_int_equal(played_event(&vm, 1), IOREGION_EVENT_EOF);
        fd = played_swap(&vm, 1);
        if (replay) {
            assert_int_equal(await_command(fd).user_data, 7);
            answer(fd, 0x77);
        }
        played_thread_end(&vcpu.thread);
        assert_int_equal(vcpu.result, 1);
        assert_int_equal((uint32_t) vcpu.value, replay ? 0x77 : ONES);

        played_thread_start(&device, played_serve, fd, NULL);
        assert_int_equal(read_4(&vm, &value), 1);
        assert_int_equal(value, 0x89abcdef ^ (7 * 131));
        assert_int_equal(ioregion_vmm_process(vm.vmm), 0);
        played_silence(&vm);
        played_vm_end(&vm);
        played_thread_end(&device);
        close(fd);
    }
}

/* 47: a crash before the command was sent: it was never seen, so it is sent to the new device, replay or not. */
static void test_hold_unsent(void **state) {
    struct played_vcpu vcpu;
    struct played_vm vm;
    int fd;

    played_vm_start(&vm);
    close(played_device(&vm, region(IOREGION_ON_DISCONNECT_HOLD)));
    played_vcpu_start(&vcpu, &vm, 0x1000, 0);
    assert_int_equal(played_event(&vm, 1), IOREGION_EVENT_EOF);
    fd = played_swap(&vm, 1);
    await_command(fd);
    answer(fd, 0x66);
    played_thread_end(&vcpu.thread);
    assert_int_equal(vcpu.value, 0x66);
    close(fd);
    played_vm_end(&vm);
}

/* 43: removed while a vCPU waits for the device's return; several of them. */
static void test_remove_while_held(void **state) {
    struct played_vcpu vcpus[3];
    struct played_vm vm;
    unsigned inside = 0;
    uint32_t value;
    int fd;

    played_vm_start(&vm);
    fd = played_device(&vm, region(IOREGION_ON_DISCONNECT_HOLD));
    for (int i = 0; i < 3; i++)
        played_vcpu_start(vcpus + i, &vm, 0x1000, 0);
    await_command(fd);
    close(fd);
    assert_int_equal(played_event(&vm, 1), IOREGION_EVENT_EOF);
    assert_int_equal(played_remove(&vm, 1), 0);
    for (int i = 0; i < 3; i++) {
        played_thread_end(&vcpus[i].thread);
        /* who came too late for the region was told that it is not ours */
        assert_int_equal((uint32_t) vcpus[i].value, vcpus[i].result ? ONES : 0);
        inside += (unsigned) vcpus[i].result;
    }
    assert_true(inside > 0);
    assert_int_equal(read_4(&vm, &value), 0);
    played_vm_end(&vm);
}

/* The same with a vCPU that waits its turn behind one which is held in another region of the channel. */
static void test_remove_while_queued(void **state) {
    struct ioregion_lease_region_add second = region(IOREGION_ON_DISCONNECT_HOLD);
    struct played_vcpu held, queued;
    struct played_vm vm;
    uint64_t start;
    int fd;

    second.region = 2;
    second.base = 0x2000;
    second.user_data = 8;
    played_vm_start(&vm);
    fd = played_device(&vm, region(IOREGION_ON_DISCONNECT_HOLD));
    assert_int_equal(played_add(&vm, second, -1), 0);
    played_vcpu_start(&held, &vm, 0x1000, 0);
    await_command(fd);
    close(fd);
    assert_int_equal(played_event(&vm, 1), IOREGION_EVENT_EOF);
    played_vcpu_start(&queued, &vm, 0x2000, 0);
    await_inside(&vm, 0x2000);
    start = clock_now_usec();
    assert_int_equal(played_remove(&vm, 2), 0);
    played_thread_end(&queued.thread);
    assert_true(clock_now_usec() - start < 5000000);
    assert_int_equal(queued.result, 1);
    assert_int_equal((uint32_t) queued.value, ONES);
    assert_int_equal(played_remove(&vm, 1), 0);
    played_thread_end(&held.thread);
    played_vm_end(&vm);
}

/* 43, 45: removed while a vCPU waits for an answer. The broker cuts the channel by its duplicate; no event is lost. */
static void test_remove_while_blocked(void **state) {
    struct played_vcpu vcpu;
    struct played_vm vm;
    int pair[2], copy;

    played_vm_start(&vm);
    played_pair(pair);
    copy = dup(pair[0]);
    assert_int_equal(played_add(&vm, region(IOREGION_ON_DISCONNECT_HOLD), pair[0]), 0);
    played_vcpu_start(&vcpu, &vm, 0x1000, 1);
    await_command(pair[1]);
    shutdown(copy, SHUT_RDWR);
    assert_int_equal(played_remove(&vm, 1), 0);
    played_thread_end(&vcpu.thread);
    assert_int_equal(vcpu.result, 1);
    close(copy);
    close(pair[1]);
    played_vm_end(&vm);
}

/* The broker swaps a channel whose device has not gone: the old one is cut, nobody is told of a loss. */
static void test_swap_while_blocked(void **state) {
    struct ioregion_lease_region_add add = region(IOREGION_ON_DISCONNECT_HOLD);
    struct played_vcpu vcpu;
    struct played_vm vm;
    int old, fd, newer;
    char byte;

    add.features = IOREGION_FEATURE_REPLAY;
    played_vm_start(&vm);
    old = played_device(&vm, add);
    played_vcpu_start(&vcpu, &vm, 0x1000, 0);
    await_command(old);
    fd = played_swap(&vm, 1);
    assert_int_equal(recv(old, &byte, 1, 0), 0);
    await_command(fd);
    answer(fd, 0x21);
    played_thread_end(&vcpu.thread);
    assert_int_equal(vcpu.value, 0x21);
    newer = played_swap(&vm, 1); /* nobody inside: at once */
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    assert_int_equal(ioregion_vmm_process(vm.vmm), 0);
    played_silence(&vm);
    close(old);
    close(fd);
    close(newer);
    played_vm_end(&vm);
}

/* Under remove, an access that the device has seen is still ours; the next one is not. */
static void test_remove_mode_in_hand(void **state) {
    struct played_vcpu vcpu;
    struct played_vm vm;
    uint32_t value;
    int fd;

    played_vm_start(&vm);
    fd = played_device(&vm, region(IOREGION_ON_DISCONNECT_REMOVE));
    played_vcpu_start(&vcpu, &vm, 0x1000, 0);
    await_command(fd);
    close(fd);
    played_thread_end(&vcpu.thread);
    assert_int_equal(vcpu.result, 1);
    assert_int_equal((uint32_t) vcpu.value, ONES);
    assert_int_equal(played_event(&vm, 1), IOREGION_EVENT_EOF);
    assert_int_equal(read_4(&vm, &value), 0);
    played_vm_end(&vm);
}

/* A hang-up that process() sees while a vCPU is inside: the answer that is on its way still counts. */
static void test_hang_up_behind_answer(void **state) {
    for (int i = 0; i < 50; i++) {
        struct played_vcpu vcpu;
        struct played_vm vm;
        int fd;

        played_vm_start(&vm);
        fd = played_device(&vm, region(IOREGION_ON_DISCONNECT_ONES));
        played_vcpu_start(&vcpu, &vm, 0x1000, 0);
        await_command(fd);
        answer(fd, 0x31);
        close(fd);
        assert_int_equal(ioregion_vmm_process(vm.vmm), 0);
        played_thread_end(&vcpu.thread);
        assert_int_equal(vcpu.value, 0x31);
        assert_int_equal(ioregion_vmm_process(vm.vmm), 0);
        assert_int_equal(played_event(&vm, 1), IOREGION_EVENT_EOF);
        played_silence(&vm);
        played_vm_end(&vm);
    }
}

/* Posted writes count as such, and are sent as such only where the feature was agreed. */
static void test_posted(void **state) {
    for (int agreed = 0; agreed < 2; agreed++) {
        struct ioregion_lease_region_add add = region(IOREGION_ON_DISCONNECT_ONES);
        struct ioregion_lease_stats_reply stats;
        struct played_vcpu vcpu;
        struct played_vm vm;
        int fd;

        add.flags = IOREGION_REGION_POSTED;
        add.features = agreed ? IOREGION_FEATURE_POSTED_WRITES : 0;
        played_vm_start(&vm);
        fd = played_device(&vm, add);
        played_vcpu_start(&vcpu, &vm, 0x1000, 1);
        assert_int_equal(await_command(fd).info, agreed ? 0x21 : 0x61);
        if (!agreed)
            answer(fd, 0);
        played_thread_end(&vcpu.thread);
        assert_int_equal(vcpu.result, 1);
        stats = played_stats(&vm, 1);
        assert_true(stats.writes == 1 && stats.posted == (unsigned) agreed && stats.failures == 0);
        close(fd);
        played_vm_end(&vm);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_hang_up),         cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_deadline),             cmocka_unit_test(test_violation),
        cmocka_unit_test(test_hold),                 cmocka_unit_test(test_hold_unsent),
        cmocka_unit_test(test_remove_while_held),    cmocka_unit_test(test_remove_while_blocked),
        cmocka_unit_test(test_remove_while_queued),  cmocka_unit_test(test_swap_while_blocked),
        cmocka_unit_test(test_remove_mode_in_hand),  cmocka_unit_test(test_hang_up_behind_answer),
        cmocka_unit_test(test_posted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
