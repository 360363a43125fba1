/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "board.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>

#include "guest-script.h"

const struct ioregion_range board_ranges[BOARD_RANGES] = {
    {.space = IOREGION_PIO, .base = DEBUG_PORT, .size = 1},
    {.space = IOREGION_PIO, .base = EXIT_PORT, .size = 1},
};

void board_access(struct board *board, enum ioregion_space space, uint64_t address, void *data, unsigned size,
                  bool write) {
    uint8_t byte = *(uint8_t *) data;

    if (write && space == IOREGION_PIO && address == DEBUG_PORT && size == 1) {
        putchar(byte);
        if (byte == '\n')
            fflush(stdout);
    } else if (write && space == IOREGION_PIO && address == EXIT_PORT && size == 1) {
        board->ended = true;
        board->status = byte;
    } else {
        board->unclaimed++;
        if (!write)
            memset(data, 0xff, size);
    }
}

int board_exit(struct board *board, struct kvm_run *run) {
    uint8_t *data = (uint8_t *) run + run->io.data_offset;

    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
            board_access(board, IOREGION_PIO, run->io.port, data, run->io.size, run->io.direction == KVM_EXIT_IO_OUT);
        return 0;
    case KVM_EXIT_MMIO:
        board_access(board, IOREGION_MMIO, run->mmio.phys_addr, run->mmio.data, run->mmio.len, run->mmio.is_write);
        return 0;
    case KVM_EXIT_INTR:
        return 0;
    default:
        fprintf(stderr, "ioregion-demo-vmm: the guest stopped in disorder: KVM exit %u\n", run->exit_reason);
        return -ENOTSUP;
    }
}
