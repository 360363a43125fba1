/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 *     registers FILE       a device for fd at start whose registers are in FILE, where its next start finds them.
 *     registers FILE VM    one that attaches itself, at 0xd0000, with hold and replay
 *
 * The first 32 bits count: each read gives the next number. All else keeps what is written to it, so that what a dead
 * process left unanswered may be done once more: this is safe under replay, but for the register that counts.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clients/devices/service.h"

#define BASE 0xd0000
#define SIZE 4096

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    uint8_t *registers = userdata;
    uint64_t value = 0;

    if (offset == 0 && size == sizeof(uint32_t))
        ++*(uint32_t *) userdata;
    memcpy(&value, registers + offset, size);
    return value;
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
    uint8_t *registers = userdata;

    memcpy(registers + offset, &value, size);
}

static void *map(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *registers = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, SIZE) == 0)
        registers = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    return registers;
}

int main(int argc, char **argv) {
    static const struct ioregion_device_ops ops = {.struct_size = sizeof(ops), .read = on_read, .write = on_write};
    struct service service = {
        .program = "registers",
        .name = "registers",
        .vm = argc > 2 ? argv[2] : NULL,
        .fds = argc == 2,
        .region = {.space = IOREGION_MMIO, .base = argc > 2 ? BASE : 0, .size = SIZE},
        .options = {.require = IOREGION_FEATURE_REPLAY, .on_disconnect = "hold"},
        .lockdown = true,
    };
    void *registers = argc > 1 ? map(argv[1]) : MAP_FAILED;
    int r;

    if (registers == MAP_FAILED) {
        service_log(&service, "no registers: %s", strerror(errno));
        return SERVICE_FAILED;
    }
    r = service_attach(&service, &ops, registers);
    return r == SERVICE_OK ? service_run(&service, NULL, NULL) : r;
}
