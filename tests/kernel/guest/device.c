/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tests' devices, and the ioctls that give them regions. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

int channel_new(int flags) {
    int fd = ioctl(ioregionfd_node, KVM_CREATE_IOREGIONFD, flags);

    REQUIRE(fd >= 0);
    return fd;
}

struct kvm_ioregion region_at(uint64_t address, uint64_t size, uint64_t user_data, int fd, uint32_t flags) {
    return (struct kvm_ioregion){
        .guest_paddr = address, .memory_size = size, .user_data = user_data, .fd = fd, .flags = flags};
}

struct kvm_ioregion region_holding(int channel, uint64_t grace_usec, uint32_t flags) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel, IOREGIONFD_REGION_HOLD | flags);

    region.grace_usec = grace_usec;
    return region;
}

struct kvm_ioregion region_on(struct kvm_ioregion region, int channel) {
    region.fd = channel;
    return region;
}

int region_set(int handle, struct kvm_ioregion region) {
    return ioctl(handle, KVM_SET_IOREGION, &region) < 0 ? -errno : 0;
}

int region_del(int handle, struct kvm_ioregion region) {
    region.fd = -1;
    return region_set(handle, region);
}

struct ioregionfd_stats region_stats(int handle, struct kvm_ioregion region) {
    struct ioregionfd_stats stats = {.guest_paddr = region.guest_paddr,
                                     .memory_size = region.memory_size,
                                     .flags = region.flags & KVM_IOREGION_PIO};

    REQUIRE(ioctl(handle, IOREGIONFD_GET_STATS, &stats) == 0);
    return stats;
}

int poll_for(int fd, int events, int msec) {
    struct pollfd poll_fd = {.fd = fd, .events = (short) events};

    REQUIRE(poll(&poll_fd, 1, msec) >= 0);
    return poll_fd.revents;
}

struct ioregionfd_event next_event(const struct vm *vm) {
    struct ioregionfd_event event;

    REQUIRE(poll_for(vm->handle, POLLIN, 10000) == POLLIN);
    REQUIRE(read(vm->handle, &event, sizeof(event)) == sizeof(event));
    return event;
}

uint32_t next_loss(const struct vm *vm) {
    return next_event(vm).loss;
}

struct ioregionfd_cmd next_command(int fd) {
    struct ioregionfd_cmd command;

    REQUIRE(poll_for(fd, POLLIN, 10000) == POLLIN);
    REQUIRE(read(fd, &command, sizeof(command)) == sizeof(command));
    return command;
}

int answer(int fd, uint64_t data) {
    struct ioregionfd_resp response = {.data = data};

    return write(fd, &response, sizeof(response)) == sizeof(response) ? 0 : -errno;
}

void device_loop(int fd) {
    uint8_t registers[0x1000 + 8] = {0};
    struct ioregionfd_cmd command;

    while (read(fd, &command, sizeof(command)) == sizeof(command)) {
        size_t size = 1u << (command.info >> IOREGIONFD_CMD_SIZE_SHIFT & 3);
        uint8_t *at = registers + command.offset % 0x1000;
        uint64_t value = 0;

        if (command.info & IOREGIONFD_CMD_WRITE)
            memcpy(at, &command.data, size);
        else
            memcpy(&value, at, size);
        if (command.info & IOREGIONFD_CMD_RESP && answer(fd, value) < 0)
            break;
    }
}

static void *device_thread(void *argument) {
    device_loop((int) (intptr_t) argument);
    return NULL;
}

void device_start(pthread_t *thread, int fd) {
    REQUIRE(pthread_create(thread, NULL, device_thread, (void *) (intptr_t) fd) == 0);
}
