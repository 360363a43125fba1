/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the broker may ask of a VMM, and what it may not. */

#include <fcntl.h>
#include <sys/eventfd.h>

#include "played-broker.h"

static const struct ioregion_lease_region_add plain = {
    .region = 1, .base = 0x1000, .size = 16, .user_data = 7, .channel = 1};

static int access_4(struct played_vm *vm, uint64_t address, uint32_t *value, int write) {
    return ioregion_vmm_access(vm->vmm, IOREGION_MMIO, address, value, 4, write);
}

static void test_add_access_remove(void **state) {
    struct played_thread device;
    struct ioregion_lease_stats_reply stats;
    struct played_vm vm;
    uint32_t value = 0;
    int fd;

    played_vm_start(&vm);
    assert_int_equal(access_4(&vm, 0x1000, &value, 0), 0);
    fd = played_device(&vm, plain);
    played_thread_start(&device, played_serve, fd, NULL);
    assert_int_equal(access_4(&vm, 0x1004, &value, 0), 1);
    assert_int_equal(value, 0x89abcdef ^ (7 * 131 + 4));
    assert_int_equal(access_4(&vm, 0x100c, &value, 1), 1);

    /* 26: across the end, before the start, other space: not ours */
    assert_int_equal(access_4(&vm, 0x100d, &value, 0), 0);
    assert_int_equal(access_4(&vm, 0xffe, &value, 0), 0);
    assert_int_equal(access_4(&vm, 0x1010, &value, 0), 0);
    assert_int_equal(ioregion_vmm_access(vm.vmm, IOREGION_PIO, 0x1000, &value, 4, 0), 0);
    assert_int_equal(ioregion_vmm_access(vm.vmm, (enum ioregion_space) 2, 0x1000, &value, 4, 0), 0);
    assert_int_equal(ioregion_vmm_access(vm.vmm, IOREGION_MMIO, 0x1000, &value, 0, 0), 0);
    assert_int_equal(ioregion_vmm_access(vm.vmm, IOREGION_MMIO, 0x1000, &value, 9, 0), 0);

    stats = played_stats(&vm, 1);
    assert_true(stats.reads == 1 && stats.writes == 1 && !stats.posted && !stats.failures && !stats.timeouts);
    stats = played_stats(&vm, 99);
    assert_true(!stats.reads && !stats.writes);

    assert_int_equal(played_remove(&vm, 1), 0);
    assert_int_equal(played_remove(&vm, 1), ENOENT);
    assert_int_equal(access_4(&vm, 0x1000, &value, 0), 0);
    played_thread_end(&device); /* the channel was closed with its last region */
    close(fd);
    played_vm_end(&vm);
}

/* 1-5, 7, 9-11: what may be added beside what. */
static void test_ranges(void **state) {
    static const struct {
        uint32_t space;
        uint64_t base, size;
        int error;
    } cases[] = {
        {IOREGION_MMIO, 0x1000, 1, EEXIST}, /* on the first byte */
        {IOREGION_MMIO, 0x100f, 1, EEXIST}, /* on the last */
        {IOREGION_MMIO, 0xff0, 0x100, EEXIST},
        {IOREGION_MMIO, 0x1010, 1, 0},
        {IOREGION_MMIO, 0xfff, 1, 0},
        {IOREGION_MMIO, 0xfff, 1, EEXIST},
        {IOREGION_PIO, 0x1000, 16, 0},
        {IOREGION_PIO, 0xffff, 1, 0},
        {IOREGION_PIO, 0xffff, 2, EINVAL},
        {IOREGION_PIO, 0x10000, 1, EINVAL},
        {IOREGION_MMIO, UINT64_MAX - 7, 8, 0},
        {IOREGION_MMIO, UINT64_MAX - 7, 9, EINVAL},
        {IOREGION_MMIO, 0x2000, 0, EINVAL},
        {IOREGION_MMIO, UINT64_C(1) << 32, UINT64_C(1) << 32, 0},
        {2, 0x2000, 1, EINVAL},
    };
    struct played_vm vm;
    int fd;

    played_vm_start(&vm);
    fd = played_device(&vm, plain);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ioregion_lease_region_add add = plain;

        add.region = 100 + i;
        add.space = cases[i].space;
        add.base = cases[i].base;
        add.size = cases[i].size;
        assert_int_equal(played_add(&vm, add, -1), cases[i].error);
    }
    close(fd);
    played_vm_end(&vm);
}

static void test_refused_adds(void **state) {
    struct ioregion_lease_region_add add = plain;
    struct played_vm vm;
    int fd, pair[2];

    played_vm_start(&vm);
    assert_int_equal(played_add(&vm, add, -1), EBADF); /* 23: a channel that nobody knows */
    assert_int_equal(played_add(&vm, add, eventfd(0, 0)), EINVAL);
    assert_int_equal(played_add(&vm, add, open("/dev/null", O_RDWR)), EINVAL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(played_add(&vm, add, pair[0]), EINVAL);
    close(pair[1]);
    fd = played_device(&vm, add);
    add.base = 0x2000;
    assert_int_equal(played_add(&vm, add, -1), EEXIST); /* the id */
    add.region = 2;
    assert_int_equal(played_add(&vm, add, dup(fd)), EINVAL); /* a second descriptor for one channel */
    add.features = IOREGION_FEATURE_OUT_OF_ORDER;
    assert_int_equal(played_add(&vm, add, -1), EOPNOTSUPP);
    add.features = 0;
    add.flags = 2;
    assert_int_equal(played_add(&vm, add, -1), EINVAL);
    add.flags = 0;
    add.on_disconnect = 3;
    assert_int_equal(played_add(&vm, add, -1), EINVAL);
    add.on_disconnect = 0;
    add.timeout_usec = 1;
    assert_int_equal(played_add(&vm, add, -1), EINVAL); /* one channel, two deadlines */
    add.timeout_usec = 0;
    assert_int_equal(played_add(&vm, add, -1), 0);
    played_send_swap(&vm, 99, dup(fd));
    assert_int_equal(played_ack(&vm), ENOENT);
    played_send_swap(&vm, 1, eventfd(0, 0));
    assert_int_equal(played_ack(&vm), EINVAL);
    close(fd);
    played_vm_end(&vm);
}

/* 50: whatever breaks the protocol ends the lease, leaks no descriptor, and regions are served on. */
static void test_violations(void **state) {
    struct ioregion_lease_region_add add = plain;
    struct ioregion_lease_region_swap swap = {{IOREGION_LEASE_REGION_SWAP, sizeof(swap)}, .channel = 1, .zero = 1};
    struct ioregion_lease_header unknown = {13, sizeof(unknown)}, ack = {IOREGION_LEASE_ACK, sizeof(ack)};
    struct ioregion_lease_grant grant = {{IOREGION_LEASE_GRANT, sizeof(grant)}};
    struct ioregion_lease_revoke revoke = {{IOREGION_LEASE_REVOKE, sizeof(revoke)}, .zero = 1};
    struct {
        const void *message;
        size_t size, n_fds;
    } cases[] = {
        {&unknown, sizeof(unknown), 0}, {&ack, sizeof(ack), 0},           {&add, sizeof(add) - 1, 0},
        {&add, 4, 0},                   {&add, sizeof(add), 2},           {&swap, sizeof(swap), 1},
        {&swap, sizeof(swap), 0},       {&grant, sizeof(grant), 0},       {&grant, sizeof(grant), 64},
        {&revoke, sizeof(revoke), 0},   {&revoke, sizeof(revoke), 1},     {&grant, 0, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int before = dup(0), after, fd, fds[64];
        struct played_thread device;
        struct played_vm vm;
        uint32_t value;
        char byte;

        close(before);
        played_vm_start(&vm);
        fd = played_device(&vm, plain);
        played_thread_start(&device, played_serve, fd, NULL);
        add.header = (struct ioregion_lease_header){IOREGION_LEASE_REGION_ADD, (uint32_t) cases[i].size};
        for (size_t j = 0; j < cases[i].n_fds; j++)
            fds[j] = fd;
        played_send(vm.lease, cases[i].message, cases[i].size, fds, cases[i].n_fds);
        assert_int_equal(ioregion_vmm_process(vm.vmm), -ECONNRESET);
        assert_string_not_equal(ioregion_last_error(), "");
        assert_int_equal(ioregion_vmm_process(vm.vmm), -ECONNRESET);
        assert_int_equal(recv(vm.lease, &byte, 1, 0), 0);
        assert_int_equal(access_4(&vm, 0x1000, &value, 0), 1);
        played_vm_end(&vm);
        played_thread_end(&device);
        close(fd);
        after = dup(0);
        close(after);
        assert_int_equal(before, after);
    }
}

/* The broker hangs up without a word: regions stay. With a REVOKE: they go. */
static void test_end(void **state) {
    struct ioregion_lease_revoke revoke = {
        .header = {IOREGION_LEASE_REVOKE, sizeof(revoke)}, .reason = IOREGION_REVOKE_OPERATOR};

    for (int word = 0; word < 2; word++) {
        struct played_thread device;
        struct played_vm vm;
        uint32_t value = 0;
        int fd;

        played_vm_start(&vm);
        fd = played_device(&vm, plain);
        played_thread_start(&device, played_serve, fd, NULL);
        if (word)
            played_send(vm.lease, &revoke, sizeof(revoke), NULL, 0);
        shutdown(vm.lease, SHUT_RDWR);
        played_await(ioregion_vmm_fd(vm.vmm));
        assert_int_equal(ioregion_vmm_process(vm.vmm), -ECONNRESET);
        assert_int_equal(access_4(&vm, 0x1000, &value, 0), !word);
        played_vm_end(&vm);
        played_thread_end(&device);
        close(fd);
    }
}

static void test_release(void **state) {
    struct ioregion_lease_release release;
    struct played_vm vm;

    played_vm_start(&vm);
    assert_null(ioregion_vmm_free(vm.vmm));
    assert_int_equal(recv(vm.lease, &release, sizeof(release), 0), sizeof(release));
    assert_int_equal(release.header.type, IOREGION_LEASE_RELEASE);
    assert_int_equal(recv(vm.lease, &release, sizeof(release), 0), 0);
    close(vm.lease);
    assert_null(ioregion_vmm_free(NULL));
}

/* A broker that reads nothing is no broker: the VMM does not block, and gives the lease up. */
static void test_deaf_broker(void **state) {
    struct ioregion_lease_stats stats = {{IOREGION_LEASE_STATS, sizeof(stats)}, .region = 1};
    struct played_vm vm;
    int r = 0;

    played_vm_start(&vm);
    for (int i = 0; i < 100000 && r == 0; i++) {
        send(vm.lease, &stats, sizeof(stats), MSG_DONTWAIT | MSG_NOSIGNAL);
        r = ioregion_vmm_process(vm.vmm);
    }
    assert_int_equal(r, -ECONNRESET);
    played_vm_end(&vm);
}

static void test_bad_lease(void **state) {
    struct ioregion_vmm *vmm = (void *) 1;

    assert_int_equal(ioregion_vmm_from_lease(&vmm, -1), -EBADF);
    assert_ptr_equal(vmm, (void *) 1);
    assert_string_equal(ioregion_last_error(), "epoll: Bad file descriptor");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_access_remove), cmocka_unit_test(test_ranges),      cmocka_unit_test(test_refused_adds),
        cmocka_unit_test(test_violations),        cmocka_unit_test(test_end),         cmocka_unit_test(test_release),
        cmocka_unit_test(test_deaf_broker),       cmocka_unit_test(test_bad_lease),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
