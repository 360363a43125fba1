/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VMM_BOARD_H
#define VMM_BOARD_H

/*
 * What the VMM emulates itself: a debug port, whose bytes are the transcript on standard output, and an exit port.
 * All else that no device claims is an empty bus: reads are all ones, writes go nowhere. One thread at a time, but
 * for stop.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <ioregion/vmm.h>

struct board {
    bool ended;          /* the guest wrote to the exit port */
    uint8_t status;      /* what it wrote */
    unsigned unclaimed;  /* accesses that hit the empty bus */
    atomic_bool stop;    /* set by any thread: no more guest */
};

/* The ranges that the board keeps for itself. */
#define BOARD_RANGES 2
extern const struct ioregion_range board_ranges[BOARD_RANGES];

/* An access of 1 to 8 bytes at @data that no device claims. */
void board_access(struct board *board, enum ioregion_space space, uint64_t address, void *data, unsigned size,
                  bool write);

/* The same for an exit of a vCPU that no device claims. 0, or -ENOTSUP when it is no access (and why, logged). */
int board_exit(struct board *board, struct kvm_run *run);

#endif
