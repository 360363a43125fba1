/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which ranges can be together, with one another and with what the VMM has on its buses. */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

#define FREE_PAGE 0x1000 /* of the guest's memory, between its code and its tables */

static int add(struct vm *vm, uint64_t address, uint64_t size, uint32_t flags) {
    return region_set(vm->handle, region_at(address, size, 1, channel_new(0), flags));
}

static int add_ioeventfd(struct vm *vm, uint64_t address, uint32_t size, uint32_t flags) {
    struct kvm_ioeventfd event = {.addr = address, .len = size, .fd = eventfd(0, 0), .flags = flags};
    int r = ioctl(vm->fd, KVM_IOEVENTFD, &event) < 0 ? -errno : 0;

    close(event.fd);
    return r;
}

/* 1, 2, 3, 4 */
static void ranges_overlap(void) {
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(add(&vm, VM_MMIO, 1, 0), 0);
    CHECK_EQ(add(&vm, VM_MMIO, 1, KVM_IOREGION_POSTED_WRITES), -EEXIST);
    CHECK_EQ(add(&vm, VM_MMIO + 0x10, 0x10, 0), 0);
    CHECK_EQ(add(&vm, VM_MMIO + 0x1f, 1, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_MMIO + 0x10, 1, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_MMIO + 0x14, 4, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_MMIO + 0x8, 0x20, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_MMIO + 0x8, 9, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_MMIO + 0x1, 0xf, 0), 0);
    CHECK_EQ(add(&vm, VM_MMIO + 0x20, 1, 0), 0);
    vm_free(&vm);
}

/* 5, 7, 8, 9: what may be */
static void ranges_allowed(void) {
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(add(&vm, 0x9000, 8, 0), 0);
    CHECK_EQ(add(&vm, 0x9000, 8, KVM_IOREGION_PIO), 0);
    CHECK_EQ(add(&vm, UINT64_MAX - 15, 16, 0), 0);
    CHECK_EQ(add(&vm, UINT64_MAX - 15, 16, KVM_IOREGION_POSTED_WRITES), -EEXIST);
    CHECK_EQ(add(&vm, UINT64_C(1) << 40, 0x7fffffff, 0), 0);
    CHECK_EQ(add(&vm, 0xffff, 1, KVM_IOREGION_PIO), 0);
    CHECK_EQ(add(&vm, 0x9008, 0x10000 - 0x9009, KVM_IOREGION_PIO), 0);
    vm_free(&vm);
}

/* Every region is found, whatever the order in which they came. */
static void ranges_look_up(void) {
    static const uint16_t order[] = {0x300, 0x100, 0x500, 0x200, 0x700, 0x400, 0x600, 0};
    struct step step = STEP(READ8, 0);
    struct running running;
    int channel = channel_new(0);
    struct vm vm;

    vm_new(&vm);
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO + order[i], 0x100, order[i], channel, 0)), 0);
    for (unsigned address = 0; address < 0x800; address += 0x7f) {
        struct ioregionfd_cmd command;

        step.address = (uint16_t) address;
        vm_start(&running, &vm, 0, &step, 1);
        command = next_command(channel);
        CHECK_EQ(command.user_data, address & 0x700);
        CHECK_EQ(command.offset, address & 0xff);
        CHECK_EQ(answer(channel, 1), 0);
        vm_join(&running);
    }
    CHECK_EQ(vm.exits, 0);
    vm_free(&vm);
}

/* 6 */
static void ranges_ioeventfd_first(void) {
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(add_ioeventfd(&vm, VM_MMIO + 0x10, 4, 0), 0);
    CHECK_EQ(add(&vm, VM_MMIO, 0x100, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_MMIO + 0x13, 1, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_MMIO + 0x14, 1, 0), 0);
    CHECK_EQ(add_ioeventfd(&vm, VM_MMIO + 0x200, 0, 0), 0);
    CHECK_EQ(add(&vm, VM_MMIO + 0x1ff, 2, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_MMIO + 0x200, 1, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_MMIO + 0x1ff, 1, 0), 0);
    CHECK_EQ(add(&vm, VM_MMIO + 0x201, 1, 0), 0);
    CHECK_EQ(add_ioeventfd(&vm, 0x310, 1, KVM_IOEVENTFD_FLAG_PIO), 0);
    CHECK_EQ(add(&vm, 0x300, 0x20, KVM_IOREGION_PIO), -EEXIST);
    vm_free(&vm);
}

/* Nobody can keep the VMM from it; then accesses may go to the VMM, and none is lost or mixed up. */
static void add_ioeventfd_later(uint32_t size) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    pthread_t device;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(add_ioeventfd(&vm, VM_MMIO + 0x10, size, 0), 0);
    device_start(&device, region.fd);
    for (uint16_t address = 0; address < 0x100; address += 4) {
        unsigned exits = vm.exits;
        uint64_t value;

        vm_write(&vm, WRITE32, address, address);
        value = vm_read(&vm, READ32, address);
        CHECK(value == (vm.exits > exits ? 0x5a5a5a5a : address) || address == 0x10);
    }
    CHECK_EQ(region_del(vm.handle, region), 0);
    CHECK_EQ(vm_read(&vm, READ32, 0x20), 0x5a5a5a5a);
    vm_free(&vm);
}

/* 6: of a length, and for accesses of any */
static void ranges_ioeventfd_later(void) {
    add_ioeventfd_later(4);
    add_ioeventfd_later(0);
}

/* 14: the interrupt controllers and coalesced ranges are on the bus, too */
static void ranges_of_kvm(void) {
    int kvm, vm_fd, handle, channel = channel_new(0);
    struct kvm_coalesced_mmio_zone zone = {.addr = VM_MMIO, .size = 0x10};
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(ioctl(vm.fd, KVM_REGISTER_COALESCED_MMIO, &zone), 0);
    CHECK_EQ(add(&vm, VM_MMIO + 0xf, 1, 0), -EEXIST);
    CHECK_EQ(add(&vm, 0xfee00000, 0x1000, 0), 0); /* this VM has no interrupt controllers in the kernel */
    vm_free(&vm);

    kvm = open("/dev/kvm", O_RDWR);
    vm_fd = ioctl(kvm, KVM_CREATE_VM, 0);
    CHECK_EQ(ioctl(vm_fd, KVM_CREATE_IRQCHIP, 0), 0);
    handle = vm_bind(vm_fd, getpid());
    CHECK(handle >= 0);
    CHECK_EQ(region_set(handle, region_at(0xfec00010, 4, 1, channel, 0)), -EEXIST);
    CHECK_EQ(region_set(handle, region_at(0x20, 1, 1, channel, KVM_IOREGION_PIO)), -EEXIST);
    CHECK_EQ(region_set(handle, region_at(0x4d0, 1, 1, channel, KVM_IOREGION_PIO)), -EEXIST);
    CHECK_EQ(region_set(handle, region_at(0xfec00100, 4, 1, channel, 0)), 0);
    CHECK_EQ(region_set(handle, region_at(0xfee00ff0, 4, 2, channel, 0)), -EEXIST);
    CHECK_EQ(region_set(handle, region_at(0xfedff000, 0x1001, 2, channel, 0)), -EEXIST);
    CHECK_EQ(region_set(handle, region_at(0xfedff000, 0x1000, 2, channel, 0)), 0);
    CHECK_EQ(region_set(handle, region_at(0xfee01000, 0x1000, 3, channel, 0)), 0);
}

/* Some of the guest's RAM that it does not use itself, at another address. */
static int set_slot(struct vm *vm, uint64_t address, uint64_t size, uint32_t flags) {
    struct kvm_userspace_memory_region slot = {.slot = 1, .flags = flags, .guest_phys_addr = address,
                                               .memory_size = size, .userspace_addr = (uintptr_t) vm->memory + FREE_PAGE};

    return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? -errno : 0;
}

/* 14: no access to memory reaches the bus, so no region lies there */
static void ranges_under_memory(void) {
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(add(&vm, 0, 1, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_RAM - 1, 1, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_RAM - 1, 2, 0), -EEXIST);
    CHECK_EQ(add(&vm, 0, 0x7fffffff, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_RAM, 1, 0), 0);
    CHECK_EQ(add(&vm, 0x1000, 1, KVM_IOREGION_PIO), 0);
    CHECK_EQ(set_slot(&vm, VM_MMIO, 0x1000, KVM_MEM_READONLY), 0);
    CHECK_EQ(add(&vm, VM_MMIO - 0x1000, 0x1001, 0), -EEXIST);
    CHECK_EQ(add(&vm, VM_MMIO - 0x1000, 0x1000, 0), 0);
    CHECK_EQ(add(&vm, VM_MMIO + 0xfff, 1, 0), -EEXIST);
    CHECK_EQ(set_slot(&vm, VM_MMIO, 0, 0), 0);
    CHECK_EQ(add(&vm, VM_MMIO + 0xfff, 1, 0), 0);
    vm_free(&vm);
}

/* 14: nobody can keep the VMM from putting memory there later; without it the region is there again */
static void ranges_memory_later(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    pthread_t device;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    device_start(&device, region.fd);
    vm_write(&vm, WRITE32, 0, 0x12345678);
    CHECK_EQ(set_slot(&vm, VM_MMIO, 0x1000, 0), 0);
    memset(vm.memory + FREE_PAGE, 0x77, 4);
    CHECK_EQ(vm_read(&vm, READ32, 0), 0x77777777);
    vm_write(&vm, WRITE32, 0, 0);
    CHECK_EQ(set_slot(&vm, VM_MMIO, 0, 0), 0);
    CHECK_EQ(vm_read(&vm, READ32, 0), 0x12345678);
    CHECK_EQ(region_stats(vm.handle, region).writes, 1);
    vm_free(&vm);
}

/* 15: 256 in each space, and the VMM's own still find room; what was refused left nothing behind */
static void ranges_quota(void) {
    int channel = channel_new(0);
    struct vm vm;

    vm_new(&vm);
    for (unsigned i = 0; i < 256; i++) {
        CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO + 16 * i, 16, i, channel, 0)), 0);
        CHECK_EQ(region_set(vm.handle, region_at(16 * i, 16, 1000 + i, channel, KVM_IOREGION_PIO)), 0);
    }
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO + 0x8000, 16, 256, channel, 0)), -ENOSPC);
    CHECK_EQ(region_set(vm.handle, region_at(0x8000, 16, 1256, channel, KVM_IOREGION_PIO)), -ENOSPC);
    for (unsigned i = 0; i < 50; i++)
        CHECK_EQ(add_ioeventfd(&vm, VM_MMIO + 0x10000 + 8 * i, 4, 0), 0);
    CHECK_EQ(region_del(vm.handle, region_at(VM_MMIO + 16, 16, 0, -1, 0)), 0);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO + 0x8000, 16, 256, channel, 0)), 0);
    vm_free(&vm);
}

static int set_zone(struct vm *vm, unsigned i, unsigned long request) {
    struct kvm_coalesced_mmio_zone zone = {.addr = VM_MMIO + 0x1000 + 16 * i, .size = 16};

    return ioctl(vm->fd, request, &zone) < 0 ? -errno : 0;
}

/* 15: a VM whose buses are full is bound all the same, though others may be on the bus that the handle marks */
static void ranges_full_before_the_handle(void) {
    unsigned zones = 0;
    struct vm vm;

    vm_new(&vm);
    close(vm.handle);
    while (set_zone(&vm, zones, KVM_REGISTER_COALESCED_MMIO) == 0)
        zones++;
    for (unsigned i = 0; i <= zones; i++)
        CHECK_EQ(add_ioeventfd(&vm, 8 * i, 4, KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY), 0);
    vm.handle = vm_bind(vm.fd, getpid());
    CHECK(vm.handle >= 0);
    CHECK_EQ(add(&vm, VM_MMIO, 16, 0), -ENOSPC);
    CHECK_EQ(add(&vm, 0x300, 16, KVM_IOREGION_PIO), 0);
    vm_free(&vm);
}

/* 15: a bus that is full of the VMM's own: nothing changes, and who leaves makes room */
static void ranges_full_bus(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 16, 1, channel_new(0), 0);
    unsigned zones = 0;
    pthread_t device;
    struct vm vm;
    int r;

    vm_new(&vm);
    while ((r = set_zone(&vm, zones, KVM_REGISTER_COALESCED_MMIO)) == 0)
        zones++;
    CHECK_EQ(r, -ENOSPC);
    CHECK_EQ(zones, 1000);
    CHECK_EQ(region_set(vm.handle, region), -ENOSPC);
    CHECK_EQ(region_del(vm.handle, region), -ENOENT);
    CHECK_EQ(vm_read(&vm, READ32, 0), 0x5a5a5a5a);
    CHECK_EQ(region_set(vm.handle, region_at(0x300, 16, 1, channel_new(0), KVM_IOREGION_PIO)), 0);
    CHECK_EQ(set_zone(&vm, 500, KVM_UNREGISTER_COALESCED_MMIO), 0);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(set_zone(&vm, 500, KVM_REGISTER_COALESCED_MMIO), -ENOSPC);
    device_start(&device, region.fd);
    vm_write(&vm, WRITE32, 0, 0x12345678);
    CHECK_EQ(vm_read(&vm, READ32, 0), 0x12345678);
    vm_free(&vm);
}

/* 15: ioeventfds KVM does not count as taking places, so they take none from regions, or handles */
static void ranges_many_ioeventfds(void) {
    struct vm vm;

    vm_new(&vm);
    for (unsigned i = 0; i < 1001; i++) {
        CHECK_EQ(add_ioeventfd(&vm, VM_MMIO + 0x1000 + 8 * i, 4, 0), 0);
        CHECK_EQ(add_ioeventfd(&vm, 8 * i, 4, KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY), 0);
    }
    CHECK_EQ(add(&vm, VM_MMIO, 16, 0), 0);
    close(vm.handle);
    vm.handle = vm_bind(vm.fd, getpid());
    CHECK(vm.handle >= 0);
    CHECK_EQ(add(&vm, VM_MMIO, 16, 0), 0);
    vm_free(&vm);
}

/* Tokens are unique on a channel, not on a VM. */
static void ranges_tokens(void) {
    int channel = channel_new(0);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 16, 7, channel, 0)), 0);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO + 16, 16, 7, channel, 0)), -EEXIST);
    CHECK_EQ(region_set(vm.handle, region_at(0x300, 16, 7, channel, KVM_IOREGION_PIO)), -EEXIST);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO + 16, 16, 7, channel_new(0), 0)), 0);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO + 32, 16, 8, channel, 0)), 0);
    vm_free(&vm);
}

const struct test tests_ranges[] = {
    TEST(ranges_overlap), TEST(ranges_allowed), TEST(ranges_look_up), TEST(ranges_ioeventfd_first),
    TEST(ranges_ioeventfd_later), TEST(ranges_of_kvm), TEST(ranges_under_memory), TEST(ranges_memory_later),
    TEST(ranges_quota), TEST(ranges_full_bus), TEST(ranges_full_before_the_handle), TEST(ranges_many_ioeventfds),
    TEST(ranges_tokens), {0},
};
