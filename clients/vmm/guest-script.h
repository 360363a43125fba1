/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the demo guest does, step by step: one list for the guest's own code (guest-demo.S) and for the replay without
 * a vCPU (replay.c). Each includes it with its own STEP(), so there is no include guard; nothing here but the
 * preprocessor, since an assembler reads it.
 *
 * STEP(kind, device, offset, width in bytes, value, words)
 *   WRITE: write the value · READ: read, the value must come · CHECK: write, then read it back
 *   SEND: send the words and a newline through the UART, waiting for its transmitter before each byte
 */

#ifndef GUEST_LOAD
#define GUEST_LOAD   0x1000  /* where the guest is loaded and entered, in real mode */
#define DEBUG_PORT   0xe9    /* a byte written here is a byte of the transcript; the VMM's own device */
#define EXIT_PORT    0xf4    /* a byte written here ends the guest with that status; the VMM's own device */
#define UART_BASE    0x3f8   /* ports */
#define SCRATCH_BASE 0xd0000 /* guest physical address, within a real mode segment's reach */
#define UART         0
#define SCRATCH      1
#define END          0
#define WRITE        1
#define READ         2
#define CHECK        3
#define SEND         4
#endif

#ifdef STEP
STEP(CHECK, UART, 7, 1, 0x5a, "the scratch register keeps its value")
STEP(WRITE, UART, 3, 1, 0x80, "open the divisor latch")
STEP(CHECK, UART, 0, 1, 0x01, "115200 baud, low byte")
STEP(CHECK, UART, 1, 1, 0x00, "115200 baud, high byte")
STEP(WRITE, UART, 3, 1, 0x03, "8 data bits, latch closed")
STEP(WRITE, UART, 2, 1, 0x07, "FIFOs on and emptied")
STEP(READ, UART, 2, 1, 0xc1, "a 16550A, no interrupt pending")
STEP(WRITE, UART, 4, 1, 0x1a, "loopback on, RTS and OUT2 set")
STEP(READ, UART, 6, 1, 0x90, "they come back as CTS and DCD")
STEP(WRITE, UART, 0, 1, 0x4c, "a byte into the loop")
STEP(READ, UART, 5, 1, 0x61, "data has arrived")
STEP(READ, UART, 0, 1, 0x4c, "the byte")
STEP(WRITE, UART, 4, 1, 0x03, "loopback off")
STEP(SEND, UART, 0, 1, 0, "Hello from a guest, through a device in a process of its own.")
STEP(CHECK, SCRATCH, 0x00, 1, 0xa5, "one byte")
STEP(CHECK, SCRATCH, 0x10, 2, 0xcafe, "two bytes")
STEP(CHECK, SCRATCH, 0x20, 4, 0xdeadbeef, "four bytes")
STEP(READ, SCRATCH, 0x20, 1, 0xef, "the lowest comes first")
STEP(READ, SCRATCH, 0x22, 2, 0xdead, "the upper half")
STEP(CHECK, SCRATCH, 0x31, 4, 0x01020304, "unaligned")
STEP(READ, SCRATCH, 0x10, 2, 0xcafe, "still there")
#endif
