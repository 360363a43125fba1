/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <ioregion/device.h>

static uint64_t on_read(void *latch, uint64_t region, uint64_t offset, unsigned size) {
    return *(uint8_t *) latch;
}

static void on_write(void *latch, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
    *(uint8_t *) latch = (uint8_t) value;
}

/* A device with one byte of memory: the guest reads back from the port what it last wrote there. */
int main(int argc, char **argv) {
    static const struct ioregion_device_ops ops = {sizeof(ops), on_read, on_write, NULL, NULL};
    static const struct ioregion_region port = {.space = IOREGION_PIO, .base = 0x378, .size = 1};
    struct ioregion_device *device;
    uint8_t latch = 0;

    if (argc != 2 || ioregion_device_attach(&device, argv[1], "latch", &port, 1, NULL, &ops, &latch) < 0 ||
        ioregion_device_lockdown(device) < 0) {
        fprintf(stderr, "%s VM: %s\n", argv[0], ioregion_last_error());
        return 1;
    }
    ioregion_device_run(device);
    ioregion_device_free(device);
}
