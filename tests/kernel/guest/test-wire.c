/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What travels: every size, both ways, both spaces; accesses that are cut; posted writes. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

#define TOKEN UINT64_C(0x1122334455667788)

static void check_command(struct ioregionfd_cmd command, uint32_t info, uint64_t offset, uint64_t data) {
    CHECK_EQ(command.info, info);
    CHECK_EQ(command.padding, 0);
    CHECK_EQ(command.user_data, TOKEN);
    CHECK_EQ(command.offset, offset);
    CHECK_EQ(command.data, data);
}

/* One access, by hand. */
static uint64_t exchange(struct vm *vm, int channel, struct step step, uint32_t info, uint64_t data, uint64_t reply) {
    struct running running;

    vm_start(&running, vm, 0, &step, 1);
    check_command(next_command(channel), info, 0x10, data);
    CHECK_EQ(answer(channel, reply), 0);
    vm_join(&running);
    return step.value[0];
}

/* 25: values are zero-extended, and nothing else is in the packet */
static void wire_sizes_mmio(void) {
    const uint64_t value = UINT64_C(0x8182838485868788);
    int channel = channel_new(0);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 0x100, TOKEN, channel, 0)), 0);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t cut = value & UINT64_MAX >> (64 - (8 << i));

        CHECK_EQ(exchange(&vm, channel, STEP(READ8 + i, 0x10), 0x40 | i << 4, 0, cut), cut);
        exchange(&vm, channel, STEP(WRITE8 + i, 0x10, value), 0x41 | i << 4, cut, 0);
    }
    CHECK_EQ(vm.exits, 0);
    vm_free(&vm);
}

static void wire_sizes_pio(void) {
    const uint64_t value = 0x85868788;
    int channel = channel_new(0);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(0x300, 0x20, TOKEN, channel, KVM_IOREGION_PIO)), 0);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t cut = value & UINT64_MAX >> (64 - (8 << i));

        CHECK_EQ(exchange(&vm, channel, STEP(IN8 + i, 0x310), 0x40 | i << 4, 0, cut), cut);
        exchange(&vm, channel, STEP(OUT8 + i, 0x310, value), 0x41 | i << 4, cut, 0);
    }
    CHECK_EQ(vm.exits, 0);
    vm_free(&vm);
}

/* 33: byte by byte, whatever struct a compiler makes of it */
static void wire_bytes(void) {
    static const uint8_t written[] = {0x61, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
                                      0x10, 0, 0, 0, 0, 0, 0, 0, 0xef, 0xbe, 0xad, 0xde};
    uint8_t bytes[64] = {0}, response[32] = {0x21, 0x43, 0x65, 0x87};
    struct step steps[] = {STEP(WRITE32, 0x10, 0xdeadbeef), STEP(READ32, 0x10)};
    int channel = channel_new(0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 0x100, TOKEN, channel, 0)), 0);
    vm_start(&running, &vm, 0, steps, 2);
    CHECK_EQ(read(channel, bytes, sizeof(bytes)), 32);
    CHECK(memcmp(bytes, written, sizeof(written)) == 0);
    CHECK(memcmp(bytes + sizeof(written), "\0\0\0\0", 4) == 0);
    CHECK_EQ(answer(channel, 0), 0);
    CHECK_EQ(read(channel, bytes, sizeof(bytes)), 32);
    CHECK_EQ(bytes[0], 0x60);
    CHECK_EQ(write(channel, response, sizeof(response)), 32);
    vm_join(&running);
    CHECK_EQ(steps[1].value[0], 0x87654321);
    vm_free(&vm);
}

/* 28 */
static void wire_16_bytes_in_halves(void) {
    struct step steps[] = {STEP(WRITE128, 0x20, 0x1111, 0x2222), STEP(READ128, 0x20)};
    int channel = channel_new(0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 0x100, TOKEN, channel, 0)), 0);
    vm_start(&running, &vm, 0, steps, 2);
    check_command(next_command(channel), 0x71, 0x20, 0x1111);
    CHECK_EQ(answer(channel, 0), 0);
    check_command(next_command(channel), 0x71, 0x28, 0x2222);
    CHECK_EQ(answer(channel, 0), 0);
    check_command(next_command(channel), 0x70, 0x20, 0);
    CHECK_EQ(answer(channel, 0x3333), 0);
    check_command(next_command(channel), 0x70, 0x28, 0);
    CHECK_EQ(answer(channel, 0x4444), 0);
    vm_join(&running);
    CHECK_EQ(steps[1].value[0], 0x3333);
    CHECK_EQ(steps[1].value[1], 0x4444);
    vm_free(&vm);
}

/* 26: KVM cuts at the page, and three and five bytes become powers of two */
static void wire_page_crossing(void) {
    struct step steps[] = {STEP(WRITE64, 0xffd, UINT64_C(0x0807060504030201)), STEP(READ64, 0xffd)};
    int channel = channel_new(0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 0x2000, TOKEN, channel, 0)), 0);
    vm_start(&running, &vm, 0, steps, 2);
    check_command(next_command(channel), 0x51, 0xffd, 0x0201);
    CHECK_EQ(answer(channel, 0), 0);
    check_command(next_command(channel), 0x41, 0xfff, 0x03);
    CHECK_EQ(answer(channel, 0), 0);
    check_command(next_command(channel), 0x61, 0x1000, 0x07060504);
    CHECK_EQ(answer(channel, 0), 0);
    check_command(next_command(channel), 0x41, 0x1004, 0x08);
    CHECK_EQ(answer(channel, 0), 0);
    check_command(next_command(channel), 0x50, 0xffd, 0);
    CHECK_EQ(answer(channel, 0x1211), 0);
    check_command(next_command(channel), 0x40, 0xfff, 0);
    CHECK_EQ(answer(channel, 0x13), 0);
    check_command(next_command(channel), 0x60, 0x1000, 0);
    CHECK_EQ(answer(channel, 0x17161514), 0);
    check_command(next_command(channel), 0x40, 0x1004, 0);
    CHECK_EQ(answer(channel, 0x18), 0);
    vm_join(&running);
    CHECK_EQ(steps[1].value[0], UINT64_C(0x1817161514131211));
    vm_free(&vm);
}

/* 26: what is not wholly inside goes to the VMM */
static void wire_straddles_the_end(void) {
    int channel = channel_new(O_NONBLOCK);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 0x12, TOKEN, channel, 0)), 0);
    CHECK_EQ(vm_read(&vm, READ32, 0x10), 0x5a5a5a5a);
    CHECK_EQ(vm_read(&vm, READ8, 0x12), VMM_ANSWER);
    CHECK_EQ(vm.exits, 2);
    CHECK_EQ(poll_for(channel, POLLIN, 0), 0);
    vm_free(&vm);
}

/* 26: ports, too; and the region's first one */
static void wire_straddles_ports(void) {
    int channel = channel_new(O_NONBLOCK);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(0x300, 0x12, TOKEN, channel, KVM_IOREGION_PIO)), 0);
    CHECK_EQ(vm_read(&vm, IN32, 0x310), 0x5a5a5a5a);
    CHECK_EQ(vm_read(&vm, IN16, 0x311), 0x5a5a);
    CHECK_EQ(vm_read(&vm, IN8, 0x312), VMM_ANSWER);
    CHECK_EQ(vm_read(&vm, IN16, 0x2ff), 0x5a5a);
    vm_write(&vm, OUT32, 0x30f, 1);
    vm_write(&vm, OUT16, 0x2ff, 1);
    CHECK_EQ(vm.exits, 6);
    CHECK_EQ(poll_for(channel, POLLIN, 0), 0);
    vm_free(&vm);
}

/* 27 */
static void wire_string_instructions(void) {
    struct step steps[] = {STEP(INSB, 0x310, 8), STEP(OUTSB, 0x310, 8)};
    int channel = channel_new(0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(0x300, 0x20, TOKEN, channel, KVM_IOREGION_PIO)), 0);
    vm_start(&running, &vm, 0, steps, 2);
    for (unsigned i = 0; i < 8; i++) {
        check_command(next_command(channel), 0x40, 0x10, 0);
        CHECK_EQ(answer(channel, 0xa0 + i), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        check_command(next_command(channel), 0x41, 0x10, 0xa0 + i);
        CHECK_EQ(answer(channel, 0), 0);
    }
    vm_join(&running);
    CHECK_EQ(vm.exits, 0);
    vm_free(&vm);
}

/* 32: a posted write waits for nobody, and a read that follows comes after it */
static void wire_posted_writes_keep_order(void) {
    struct step steps[] = {STEP(WRITE8, 0, 1), STEP(WRITE16, 2, 2), STEP(READ8, 4)};
    int channel = channel_new(0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 0x100, TOKEN, channel, KVM_IOREGION_POSTED_WRITES)), 0);
    vm_run(&vm, 0, steps, 2); /* ends though nobody reads */
    vm_start(&running, &vm, 0, steps + 2, 1);
    check_command(next_command(channel), 0x01, 0, 1);
    check_command(next_command(channel), 0x11, 2, 2);
    check_command(next_command(channel), 0x40, 4, 0);
    CHECK_EQ(answer(channel, 9), 0);
    vm_join(&running);
    CHECK_EQ(steps[2].value[0], 9);
    CHECK_EQ(region_stats(vm.handle, region_at(VM_MMIO, 0x100, 0, 0, 0)).posted, 2);
    CHECK_EQ(region_stats(vm.handle, region_at(VM_MMIO, 0x100, 0, 0, 0)).writes, 2);
    CHECK_EQ(region_stats(vm.handle, region_at(VM_MMIO, 0x100, 0, 0, 0)).reads, 1);
    vm_free(&vm);
}

/* 31: more posted writes than there is room for: they wait, and none is lost */
static void wire_posted_writes_fill_up(void) {
    struct step steps[150];
    int channel = channel_new(0);
    struct running running;
    struct vm vm;

    for (unsigned i = 0; i < 150; i++)
        steps[i] = STEP(WRITE8, 0, i);
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 0x100, TOKEN, channel, KVM_IOREGION_POSTED_WRITES)), 0);
    vm_start(&running, &vm, 0, steps, 150);
    for (unsigned i = 0; i < 150; i++)
        check_command(next_command(channel), 0x01, 0, i);
    vm_join(&running);
    vm_free(&vm);
}

/* poll() and O_NONBLOCK, also set later; positions mean nothing here */
static void wire_descriptor_manners(void) {
    int channel = channel_new(0);
    struct ioregionfd_cmd command;
    struct running running;
    struct step step = STEP(READ8, 0);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region_at(VM_MMIO, 0x100, TOKEN, channel, 0)), 0);
    CHECK_EQ(fcntl(channel, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(vm.handle, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(channel, F_SETFL, O_NONBLOCK), 0);
    CHECK(read(channel, &command, sizeof(command)) < 0 && errno == EAGAIN);
    CHECK(read(channel, &command, sizeof(command) - 1) < 0 && errno == EINVAL);
    CHECK(pread(channel, &command, sizeof(command), 0) < 0 && errno == ESPIPE);
    CHECK_EQ(poll_for(channel, POLLIN | POLLOUT, 0), 0);
    vm_start(&running, &vm, 0, &step, 1);
    CHECK_EQ(poll_for(channel, POLLIN | POLLOUT, 10000), POLLIN);
    next_command(channel);
    CHECK_EQ(poll_for(channel, POLLIN | POLLOUT, 0), POLLOUT);
    CHECK_EQ(answer(channel, 0), 0);
    CHECK_EQ(poll_for(channel, POLLIN | POLLOUT, 0), 0);
    vm_join(&running);
    vm_free(&vm);
}

/* One read that does not wait, on a descriptor that does. */
static void read_without_waiting(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    struct ioregionfd_cmd command;
    struct iovec vector = {&command, sizeof(command)};
    struct step step = STEP(READ8, 0);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(preadv2(region.fd, &vector, 1, -1, RWF_NOWAIT), -1);
    CHECK_EQ(errno, EAGAIN);
    vm_start(&running, &vm, 0, &step, 1);
    CHECK_EQ(poll_for(region.fd, POLLIN, 10000), POLLIN);
    CHECK_EQ(preadv2(region.fd, &vector, 1, -1, RWF_NOWAIT), sizeof(command));
    CHECK_EQ(answer(region.fd, 7), 0);
    vm_join(&running);
    CHECK_EQ(step.value[0], 7);
    vm_free(&vm);
}

const struct test tests_wire[] = {
    TEST(wire_sizes_mmio), TEST(wire_sizes_pio), TEST(wire_bytes), TEST(wire_16_bytes_in_halves),
    TEST(wire_page_crossing), TEST(wire_straddles_the_end), TEST(wire_straddles_ports),
    TEST(wire_string_instructions),
    TEST(wire_posted_writes_keep_order), TEST(wire_posted_writes_fill_up), TEST(wire_descriptor_manners),
    TEST(read_without_waiting), {0},
};
