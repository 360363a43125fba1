/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What people see: fdinfo and tracepoints. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

static const char *content(const char *path) {
    static char text[65536];
    int fd = open(path, O_RDONLY);
    size_t length = 0;
    ssize_t n;

    REQUIRE(fd >= 0);
    while ((n = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
        length += (size_t) n;
    text[length] = 0;
    close(fd);
    return text;
}

static const char *fdinfo(int fd) {
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    return content(path);
}

static void observe_fdinfo(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), KVM_IOREGION_POSTED_WRITES);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(region_set(vm.handle, region_at(0x300, 8, 2, region.fd, KVM_IOREGION_PIO)), 0);
    vm_write(&vm, WRITE8, 0, 1);
    CHECK(strstr(fdinfo(vm.handle), "vm:\talive\n"));
    CHECK(strstr(fdinfo(vm.handle), "mmio:\t0xd0000+0x100 flags 0x2 attached reads 0 writes 1 posted 1 failures 0 "
                                   "timeouts 0 user_data 0x"));
    CHECK(strstr(fdinfo(vm.handle), "pio:\t0x300+0x8 flags 0x1 attached"));
    CHECK(strstr(fdinfo(region.fd), "regions:\t2\nunread:\t1\nowed:\t0\nloss:\t0\n"));
    CHECK_EQ(answer(region.fd, 0), -EPROTO);
    CHECK(strstr(fdinfo(region.fd), "loss:\t3\n"));
    CHECK(strstr(fdinfo(vm.handle), "failed"));
    vm_free(&vm);
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_TRUNC);

    REQUIRE(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text));
    close(fd);
}

static void observe_tracepoints(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 77, channel_new(0), 0);
    const char *trace;
    pthread_t device;
    struct vm vm;

    REQUIRE(mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL) == 0 || errno == EBUSY);
    write_file("/sys/kernel/tracing/events/ioregionfd/enable", "1");
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    device_start(&device, region.fd);
    vm_write(&vm, WRITE16, 8, 0x1234);
    CHECK_EQ(vm_read(&vm, READ16, 8), 0x1234);
    CHECK_EQ(region_del(vm.handle, region), 0);
    pthread_join(device, NULL);
    write_file("/sys/kernel/tracing/events/ioregionfd/enable", "0");
    trace = content("/sys/kernel/tracing/trace");
    CHECK(strstr(trace, "ioregionfd_region: add 0xd0000+0x100 user_data 0x4d flags 0x0"));
    CHECK(strstr(trace, "ioregionfd_command: info 0x51 user_data 0x4d offset 0x8 data 0x1234"));
    CHECK(strstr(trace, "ioregionfd_response: data 0x1234"));
    CHECK(strstr(trace, "ioregionfd_region: delete 0xd0000+0x100"));
    CHECK(strstr(trace, "ioregionfd_loss: loss 1"));
    vm_free(&vm);
}

const struct test tests_observe[] = {TEST(observe_fdinfo), TEST(observe_tracepoints), {0}};
