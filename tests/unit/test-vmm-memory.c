/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Memory runs out at each allocation in turn (edges 15, 58): the change is refused whole, and the rest goes on. */

#include <stdlib.h>

#include "played-broker.h"

static int fail_at = -1; /* the allocation to fail, counted down; negative: none */

void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *old, size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_reallocarray(void *old, size_t n, size_t size);

void *__wrap_calloc(size_t n, size_t size) {
    return fail_at >= 0 && fail_at-- == 0 ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *old, size_t n, size_t size) {
    return fail_at >= 0 && fail_at-- == 0 ? NULL : __real_reallocarray(old, n, size);
}

static struct ioregion_lease_region_add nth(uint64_t n) {
    return (struct ioregion_lease_region_add){
        .region = n + 1, .base = 0x1000 * (n + 1), .size = 16, .user_data = n, .channel = (uint32_t) (n + 1)};
}

static int value_of(struct played_vm *vm, uint64_t n, uint64_t *value) {
    return ioregion_vmm_access(vm->vmm, IOREGION_MMIO, 0x1000 * (n + 1), value, 8, 0);
}

static void test_add(void **state) {
    struct played_thread devices[20];
    struct played_vm vm;
    unsigned refused = 0;

    played_vm_start(&vm);
    for (uint64_t n = 0; n < 20; n++) {
        int fail = 0, error, pair[2];

        do {
            played_pair(pair);
            fail_at = fail++;
            error = played_add(&vm, nth(n), pair[0]);
            fail_at = -1;
            if (error) {
                uint64_t value;
                char byte;

                assert_int_equal(error, ENOMEM);
                assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), 0); /* nobody kept the other end */
                assert_int_equal(value_of(&vm, n, &value), 0);
                close(pair[1]);
                refused++;
            }
        } while (error);
        played_thread_start(devices + n, played_serve, pair[1], NULL);
    }
    assert_in_range(refused, 40, 60); /* region and channel each time, and the tables now and then */
    for (uint64_t n = 0; n < 20; n++) {
        struct ioregion_command command = {.info = 0x70, .user_data = n};
        uint64_t value;

        assert_int_equal(value_of(&vm, n, &value), 1);
        assert_true(value == played_value(&command));
    }
    /* removing needs no memory */
    fail_at = 0;
    for (uint64_t n = 0; n < 20; n++)
        assert_int_equal(played_remove(&vm, n + 1), 0);
    assert_int_equal(fail_at, 0);
    fail_at = -1;
    played_vm_end(&vm);
    for (uint64_t n = 0; n < 20; n++) {
        played_thread_end(devices + n);
        close(devices[n].fd);
    }
}

static void test_new(void **state) {
    struct ioregion_vmm *vmm;
    int pair[2];

    played_pair(pair);
    fail_at = 0;
    assert_int_equal(ioregion_vmm_from_lease(&vmm, pair[0]), -ENOMEM);
    fail_at = -1;
    assert_int_equal(ioregion_vmm_from_lease(&vmm, pair[0]), 0);
    fail_at = 0;
    assert_int_equal(ioregion_vmm_memory_slot(vmm, 0, 0, 1), -ENOMEM);
    fail_at = -1;
    ioregion_vmm_free(vmm);
    close(pair[1]);
}

/* Ten thousand regions come, are found, and go, in a time that nobody notices. */
static void test_many(void **state) {
    struct played_thread device;
    struct played_vm vm;
    int fd = -1;

    played_vm_start(&vm);
    for (uint64_t n = 0; n < 10000; n++) {
        struct ioregion_lease_region_add add = nth((n * 7919) % 10000);

        add.channel = 1;
        if (n == 0)
            fd = played_device(&vm, add);
        else
            assert_int_equal(played_add(&vm, add, -1), 0);
    }
    played_thread_start(&device, played_serve, fd, NULL);
    for (uint64_t n = 0; n < 10000; n += 97) {
        struct ioregion_command command = {.info = 0x70, .user_data = n};
        uint64_t value;

        assert_int_equal(value_of(&vm, n, &value), 1);
        assert_true(value == played_value(&command));
    }
    for (uint64_t n = 0; n < 10000; n++)
        assert_int_equal(played_remove(&vm, n + 1), 0);
    played_thread_end(&device);
    close(fd);
    played_vm_end(&vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add), cmocka_unit_test(test_new), cmocka_unit_test(test_many)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
