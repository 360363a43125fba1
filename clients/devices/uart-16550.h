/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DEVICES_UART_16550_H
#define DEVICES_UART_16550_H

/*
 * A 16550A serial port: its eight registers, nothing else.
 *
 * Pure: no descriptor, no clock, no global; one thread at a time. Bytes leave through a callback and come in through
 * uart_16550_receive(). Register and bit names are those of <linux/serial_reg.h>.
 *
 * Where a chip would take time this one takes none: a transmitted byte is gone at once, so that THRE and TEMT are
 * always set, and the character timeout has always passed, so that received data below the trigger level shows as a
 * timeout interrupt. Parity, framing and break errors don't exist on a line without a line. The divisor is kept and
 * read back, and sets no speed.
 *
 * Where chips differ from each other, a guest reads what it reads on QEMU's isa-serial: OUT2 is set at power on, an
 * empty FIFO reads as 0, FIFOs can be cleared while they are off, and the loopback shows no deltas.
 */

#include <stdbool.h>
#include <stdint.h>

#define UART_16550_SIZE 8  /* bytes of register space */
#define UART_16550_FIFO 16 /* bytes of the receive FIFO */

struct uart_16550 {
    uint8_t rbr, ier, fcr, lcr, mcr, scr;
    uint8_t divisor[2]; /* low, high */
    uint8_t msr;        /* the far end's CTS, DSR, RI, DCD, and what of them has changed */
    bool overrun;       /* LSR.OE */
    bool thr_empty;     /* a THR-empty interrupt was raised, and not yet seen */
    uint8_t fifo[UART_16550_FIFO];
    unsigned first, count; /* oldest byte, and how many: at most 1 while the FIFO is off */
    void (*transmit)(void *userdata, uint8_t byte);
    void *userdata;
};

/* Power on. @transmit gets what the guest sends; never called while the loopback is on. The far end is ready. */
void uart_16550_init(struct uart_16550 *uart, void (*transmit)(void *userdata, uint8_t byte), void *userdata);

/*
 * The guest's access of @size bytes at @offset; both lie within UART_16550_SIZE. The chip is eight bits wide: a wider
 * access is that many byte accesses at ascending offsets, lowest byte first.
 */
uint64_t uart_16550_read(struct uart_16550 *uart, uint64_t offset, unsigned size);
void uart_16550_write(struct uart_16550 *uart, uint64_t offset, unsigned size, uint64_t value);

/* How many bytes can come in before one is lost. None in loopback: the chip is cut off from the line then. */
unsigned uart_16550_room(const struct uart_16550 *uart);

/* A byte arrives from the line. Without room it is an overrun; in loopback it is lost. */
void uart_16550_receive(struct uart_16550 *uart, uint8_t byte);

/* The far end's modem lines change: UART_MSR_CTS, _DSR, _RI, _DCD. */
void uart_16550_set_lines(struct uart_16550 *uart, uint8_t lines);

/* The level of the interrupt pin. That PC boards let it through only while UART_MCR_OUT2 is set is their affair. */
bool uart_16550_interrupt(const struct uart_16550 *uart);

#endif
