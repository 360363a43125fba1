/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DEVICES_SCRATCH_REGISTERS_H
#define DEVICES_SCRATCH_REGISTERS_H

/*
 * Registers that keep what is written to them, in little-endian order, at any offset and width.
 *
 * Pure: no descriptor, no clock, no global; one thread at a time. With the control page on, the last 64 bytes aren't
 * memory but switches by which a test makes the device misbehave; the misbehaviour itself is the caller's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRATCH_CONTROL_SIZE 64

/*
 * Offsets within the control page. Only these, whole and 4 bytes wide, do something; all else there reads zero and
 * drops writes. Reads of the switches give zero.
 */
enum scratch_control {
    SCRATCH_WRITES = 0x00,  /* read: writes so far, but for those to the control page; write: set it */
    SCRATCH_READS = 0x04,   /* the same for reads */
    SCRATCH_DELAY = 0x08,   /* write N: the next access is answered N milliseconds late */
    SCRATCH_CRASH = 0x0c,   /* write N: the device dies, now (0) or when the next access comes (1) */
    SCRATCH_SILENCE = 0x10, /* write: the next access is never answered, nor any after it */
    SCRATCH_GARBAGE = 0x14, /* write N: the next access is answered by N bytes of garbage, and then again rightly */
};

/* What is to be done before an access is answered. */
enum scratch_action {
    SCRATCH_ANSWER,
    SCRATCH_DO_DELAY,
    SCRATCH_DO_CRASH,
    SCRATCH_DO_SILENCE,
    SCRATCH_DO_GARBAGE,
};

struct scratch {
    uint8_t *memory; /* the caller's, size bytes */
    uint64_t size;
    bool controls; /* the last SCRATCH_CONTROL_SIZE bytes are the control page */
    uint32_t reads, writes;
    enum scratch_action next; /* armed: due at the next access */
    uint32_t argument;        /* of that */
};

/*
 * The guest's access of @size bytes at @offset, checked by the caller to lie within. Each returns what is to be done
 * first, and in *ret_argument with what; a read gives its value in *ret_value.
 */
enum scratch_action scratch_read(struct scratch *scratch, uint64_t offset, unsigned size, uint64_t *ret_value,
                                 uint32_t *ret_argument);
enum scratch_action scratch_write(struct scratch *scratch, uint64_t offset, unsigned size, uint64_t value,
                                  uint32_t *ret_argument);

#endif
