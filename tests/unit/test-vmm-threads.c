/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Many vCPUs at once, and changes under load (edges 36, 38, 42, 46). Worth its while under -fsanitize=thread. */

#include <signal.h>
#include <stdatomic.h>

#include "played-broker.h"

#define VCPUS 4

struct load {
    struct ioregion_vmm *vmm;
    unsigned n;        /* accesses each */
    unsigned vcpu;     /* of this thread */
    uint64_t done, wrong, not_ours;
    atomic_bool *stop; /* or until this */
};

/* Read and write 64 bits all over a region of 64 of them; tell the answers from any other vCPU's by their offset. */
static void *hammer(void *argument) {
    struct load *load = ((struct played_thread *) argument)->argument;

    for (unsigned i = 0; load->stop ? !atomic_load(load->stop) : i < load->n; i++) {
        struct ioregion_command command = {.info = 0x70, .user_data = 7, .offset = 8 * ((i * VCPUS + load->vcpu) % 64)};
        uint64_t value = 0;
        int r = ioregion_vmm_access(load->vmm, IOREGION_MMIO, 0x1000 + command.offset, &value, 8, 0);

        load->not_ours += r == 0;
        load->wrong += r == 1 && value != played_value(&command);
        load->done++;
    }
    return NULL;
}

static const struct ioregion_lease_region_add plain = {
    .region = 1, .base = 0x1000, .size = 512, .user_data = 7, .channel = 1};

/* 42: nobody gets another's answer, and all come to their end. */
static void test_no_cross_delivery(void **state) {
    struct played_thread device, threads[VCPUS];
    struct load loads[VCPUS];
    struct played_vm vm;
    int fd;

    played_vm_start(&vm);
    fd = played_device(&vm, plain);
    played_thread_start(&device, played_serve, fd, NULL);
    for (unsigned i = 0; i < VCPUS; i++) {
        loads[i] = (struct load){.vmm = vm.vmm, .n = 1000, .vcpu = i};
        played_thread_start(threads + i, hammer, -1, loads + i);
    }
    for (unsigned i = 0; i < VCPUS; i++) {
        played_thread_end(&threads[i]);
        assert_int_equal(loads[i].done, 1000);
        assert_int_equal(loads[i].wrong + loads[i].not_ours, 0);
    }
    assert_int_equal(played_stats(&vm, 1).reads, VCPUS * 1000);
    played_vm_end(&vm);
    played_thread_end(&device);
    close(fd);
}

/* 42: fair. A vCPU that asks once is served after at most one access of each of those that never stop. */
static void test_fair(void **state) {
    struct played_thread device, threads[VCPUS];
    struct load loads[VCPUS];
    atomic_bool stop = false;
    struct played_vm vm;
    uint64_t value, least = UINT64_MAX;
    int fd;

    played_vm_start(&vm);
    fd = played_device(&vm, plain);
    played_thread_start(&device, played_serve, fd, NULL);
    for (unsigned i = 0; i < VCPUS; i++) {
        loads[i] = (struct load){.vmm = vm.vmm, .vcpu = i, .stop = &stop};
        played_thread_start(threads + i, hammer, -1, loads + i);
    }
    for (int i = 0; i < 300; i++)
        assert_int_equal(ioregion_vmm_access(vm.vmm, IOREGION_MMIO, 0x1000, &value, 8, 0), 1);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < VCPUS; i++) {
        played_thread_end(&threads[i]);
        least = loads[i].done < least ? loads[i].done : least;
    }
    assert_true(least >= 50); /* of the 300 rounds; an unfair lock gives some thread almost none */
    played_vm_end(&vm);
    played_thread_end(&device);
    close(fd);
}

/* 46: neighbours come and go, while the region between them is in use; and so does a device in use. */
static void test_changes_under_load(void **state) {
    struct played_thread device, passing, threads[2];
    struct load loads[2];
    atomic_bool stop = false;
    struct played_vm vm;
    int fd;

    played_vm_start(&vm);
    fd = played_device(&vm, plain);
    played_thread_start(&device, played_serve, fd, NULL);
    for (unsigned i = 0; i < 2; i++) {
        loads[i] = (struct load){.vmm = vm.vmm, .vcpu = i, .stop = &stop};
        played_thread_start(threads + i, hammer, -1, loads + i);
    }
    for (uint32_t round = 0; round < 100; round++) {
        struct ioregion_lease_region_add add = {
            .region = 10 + round, .base = round % 2 ? 0x800 : 0x2000, .size = 8, .user_data = 1, .channel = 10 + round};
        struct played_vcpu vcpu;
        int pair[2], copy;

        played_pair(pair);
        copy = dup(pair[0]);
        assert_int_equal(played_add(&vm, add, pair[0]), 0);
        played_thread_start(&passing, played_serve, pair[1], NULL);
        played_vcpu_start(&vcpu, &vm, add.base, 0);
        if (round % 3)
            shutdown(copy, SHUT_RDWR);
        assert_int_equal(played_remove(&vm, add.region), 0);
        played_thread_end(&vcpu.thread);
        shutdown(copy, SHUT_RDWR);
        played_thread_end(&passing);
        close(copy);
        close(pair[1]);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 2; i++) {
        played_thread_end(&threads[i]);
        assert_int_equal(loads[i].wrong + loads[i].not_ours, 0);
        assert_true(loads[i].done > 0);
    }
    played_vm_end(&vm);
    played_thread_end(&device);
    close(fd);
}

/* 46: the device itself is swapped under load: an access is answered by the old one, the new one, or reads all ones. */
static void test_swaps_under_load(void **state) {
    struct ioregion_lease_region_add add = plain;
    struct played_thread devices[40], threads[2];
    struct load loads[2];
    atomic_bool stop = false;
    struct played_vm vm;

    add.features = IOREGION_FEATURE_REPLAY;
    add.on_disconnect = IOREGION_ON_DISCONNECT_HOLD;
    add.grace_usec = 10000000;
    played_vm_start(&vm);
    played_thread_start(devices, played_serve, played_device(&vm, add), NULL);
    for (unsigned i = 0; i < 2; i++) {
        loads[i] = (struct load){.vmm = vm.vmm, .vcpu = i, .stop = &stop};
        played_thread_start(threads + i, hammer, -1, loads + i);
    }
    for (int i = 1; i < 40; i++) {
        if (i % 2)
            shutdown(devices[i - 1].fd, SHUT_RDWR);
        played_thread_start(devices + i, played_serve, played_swap(&vm, 1), NULL);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 2; i++) {
        played_thread_end(&threads[i]);
        assert_int_equal(loads[i].wrong + loads[i].not_ours, 0); /* replay loses nothing */
    }
    played_vm_end(&vm);
    for (int i = 0; i < 40; i++) {
        played_thread_end(devices + i);
        close(devices[i].fd);
    }
}

static void on_signal(int signal) {
}

/* 36: signals to a vCPU that waits for its turn. */
static void test_signal_while_queued(void **state) {
    struct sigaction action = {.sa_handler = on_signal};
    struct played_vcpu first, second;
    struct ioregion_command command;
    struct ioregion_response response = {.data = 1};
    struct played_vm vm;
    int fd;

    sigaction(SIGUSR1, &action, NULL);
    played_vm_start(&vm);
    fd = played_device(&vm, plain);
    played_vcpu_start(&first, &vm, 0x1000, 0);
    played_await(fd);
    played_vcpu_start(&second, &vm, 0x1008, 0);
    for (int i = 0; i < 100; i++) {
        pthread_kill(first.thread.thread, SIGUSR1);
        pthread_kill(second.thread.thread, SIGUSR1);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(recv(fd, &command, sizeof(command), 0), sizeof(command));
        assert_int_equal(command.offset, 8 * i);
        response.data = i + 1;
        send(fd, &response, sizeof(response), 0);
    }
    played_thread_end(&first.thread);
    played_thread_end(&second.thread);
    assert_int_equal(first.value, 1);
    assert_int_equal(second.value, 2);
    close(fd);
    played_vm_end(&vm);
}

/* 38: a vCPU thread is cancelled inside an exchange. It finishes it, and the others go on. */
static void test_cancelled(void **state) {
    struct ioregion_response response = {.data = 1};
    struct ioregion_command command;
    struct played_vcpu first, second;
    struct played_vm vm;
    int fd;

    played_vm_start(&vm);
    fd = played_device(&vm, plain);
    played_vcpu_start(&first, &vm, 0x1000, 0);
    played_await(fd);
    pthread_cancel(first.thread.thread);
    played_vcpu_start(&second, &vm, 0x1000, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(recv(fd, &command, sizeof(command), 0), sizeof(command));
        send(fd, &response, sizeof(response), 0);
    }
    played_thread_end(&first.thread);
    played_thread_end(&second.thread);
    assert_int_equal(second.result, 1);
    assert_int_equal(second.value, 1);
    close(fd);
    played_vm_end(&vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_cross_delivery),   cmocka_unit_test(test_fair),
        cmocka_unit_test(test_changes_under_load),  cmocka_unit_test(test_swaps_under_load),
        cmocka_unit_test(test_signal_while_queued), cmocka_unit_test(test_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
