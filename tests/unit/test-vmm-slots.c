/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Guest memory and regions (edge 14): who comes second is refused or told. */

#include "played-broker.h"

#define SMM (1u << 16) /* a slot of x86's second address space */

static const struct ioregion_lease_region_add plain = {
    .region = 1, .base = 0x10000, .size = 0x1000, .space = IOREGION_MMIO, .channel = 1};

/* Add @add on a new channel, whose device's end is closed; the error of the ACK. */
static int add_region(struct played_vm *vm, struct ioregion_lease_region_add add) {
    int pair[2], r;

    played_pair(pair);
    r = played_add(vm, add, pair[0]);
    close(pair[1]);
    return r;
}

static void test_memory_first(void **state) {
    struct ioregion_lease_region_add add = plain;
    struct ioregion_range range;
    struct played_vm vm;

    played_vm_start(&vm);
    assert_int_equal(ioregion_vmm_memory_slot(vm.vmm, 3, 0x10000, 0x1000), 0);
    assert_int_equal(add_region(&vm, add), EADDRINUSE);
    add.base = 0x10fff; /* one byte of it */
    assert_int_equal(add_region(&vm, add), EADDRINUSE);
    add.base = 0xf001;
    assert_int_equal(add_region(&vm, add), EADDRINUSE);
    add.base = 0;
    add.size = UINT64_MAX;
    assert_int_equal(add_region(&vm, add), EADDRINUSE);
    add.size = 0x10000; /* neighbours */
    assert_int_equal(add_region(&vm, add), 0);
    add = plain;
    add.base = 0x11000;
    add.region = add.channel = 2;
    assert_int_equal(add_region(&vm, add), 0);
    add.space = IOREGION_PIO; /* ports are elsewhere */
    add.base = 0x1000;
    add.size = 1;
    add.region = add.channel = 3;
    assert_int_equal(ioregion_vmm_memory_slot(vm.vmm, 4, 0x800000, 0x1000), 0);
    assert_int_equal(add_region(&vm, add), 0);
    assert_int_equal(ioregion_vmm_covered(vm.vmm, &range), 0);
    played_vm_end(&vm);
}

static void test_regions_first(void **state) {
    struct ioregion_lease_region_add add = plain;
    struct ioregion_range range = {0};
    struct played_vm vm;

    played_vm_start(&vm);
    assert_int_equal(ioregion_vmm_covered(vm.vmm, &range), 0);
    assert_int_equal(ioregion_vmm_memory_slot(vm.vmm, 0, 0, 0x10000), 0);
    assert_int_equal(add_region(&vm, add), 0);
    add.base = 0x20000;
    add.region = add.channel = 2;
    assert_int_equal(add_region(&vm, add), 0);
    assert_int_equal(ioregion_vmm_covered(vm.vmm, &range), 0);
    assert_int_equal(ioregion_vmm_memory_slot(vm.vmm, 1, 0x20fff, 0x10000), 0);
    assert_int_equal(ioregion_vmm_covered(vm.vmm, &range), 1);
    assert_int_equal(range.space, IOREGION_MMIO);
    assert_int_equal(range.base, 0x20000);
    assert_int_equal(range.size, 0x1000);
    assert_int_equal(ioregion_vmm_memory_slot(vm.vmm, 1, 0x21000, 0x10000), 0); /* it moved */
    assert_int_equal(ioregion_vmm_covered(vm.vmm, &range), 0);
    assert_int_equal(ioregion_vmm_memory_slot(vm.vmm, 1, 0xf000, 0x1001), 0);
    assert_int_equal(ioregion_vmm_covered(vm.vmm, &range), 1);
    assert_int_equal(range.base, 0x10000);
    assert_int_equal(played_remove(&vm, 1), 0);
    assert_int_equal(ioregion_vmm_covered(vm.vmm, &range), 0);
    played_vm_end(&vm);
}

static void test_slots_come_and_go(void **state) {
    struct played_vm vm;

    played_vm_start(&vm);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(ioregion_vmm_memory_slot(vm.vmm, i, 0x10000, 0x1000), 0);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(add_region(&vm, plain), EADDRINUSE);
        assert_int_equal(ioregion_vmm_memory_slot(vm.vmm, i, 0, 0), 0);
        assert_int_equal(ioregion_vmm_memory_slot(vm.vmm, i, 0, 0), 0); /* again */
    }
    assert_int_equal(ioregion_vmm_memory_slot(vm.vmm, SMM | 1, 0x10000, 0x1000), 0);
    assert_int_equal(ioregion_vmm_memory_slot(vm.vmm, 1, UINT64_MAX, 2), -EINVAL);
    assert_int_equal(add_region(&vm, plain), 0);
    played_vm_end(&vm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_first),
        cmocka_unit_test(test_regions_first),
        cmocka_unit_test(test_slots_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
