/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "uart-16550.h"

#include <linux/serial_reg.h>
#include <string.h>

#define MSR_LINES (UART_MSR_CTS | UART_MSR_DSR | UART_MSR_RI | UART_MSR_DCD)
#define IER_BITS (UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI)
#define MCR_BITS (UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT1 | UART_MCR_OUT2 | UART_MCR_LOOP)
#define IIR_FIFO_ON 0xc0

static bool loopback(const struct uart_16550 *uart) {
    return uart->mcr & UART_MCR_LOOP;
}

static bool fifo_on(const struct uart_16550 *uart) {
    return uart->fcr & UART_FCR_ENABLE_FIFO;
}

static unsigned capacity(const struct uart_16550 *uart) {
    return fifo_on(uart) ? UART_16550_FIFO : 1;
}

/* The count of received bytes at which the data interrupt is raised. */
static unsigned trigger(const struct uart_16550 *uart) {
    static const uint8_t levels[] = {1, 4, 8, 14};

    return fifo_on(uart) ? levels[uart->fcr >> 6] : 1;
}

/* Which interrupt the guest sees: of all that are pending and enabled, the one of highest priority. */
static uint8_t interrupt_id(const struct uart_16550 *uart) {
    if ((uart->ier & UART_IER_RLSI) && uart->overrun)
        return UART_IIR_RLSI;
    if ((uart->ier & UART_IER_RDI) && uart->count >= trigger(uart))
        return UART_IIR_RDI;
    if ((uart->ier & UART_IER_RDI) && uart->count > 0)
        return UART_IIR_RX_TIMEOUT;
    if ((uart->ier & UART_IER_THRI) && uart->thr_empty)
        return UART_IIR_THRI;
    if ((uart->ier & UART_IER_MSI) && (uart->msr & UART_MSR_ANY_DELTA))
        return UART_IIR_MSI;
    return UART_IIR_NO_INT;
}

bool uart_16550_interrupt(const struct uart_16550 *uart) {
    return interrupt_id(uart) != UART_IIR_NO_INT;
}

/* A byte is complete in the receiver's shift register, whichever way it came. */
static void shift_in(struct uart_16550 *uart, uint8_t byte) {
    bool full = uart->count == capacity(uart);

    if (full)
        uart->overrun = true;
    if (!fifo_on(uart)) {
        uart->rbr = byte; /* if that was full, what it had is lost; */
        uart->count = 1;
    } else if (!full) { /* the FIFO keeps what it has */
        uart->fifo[(uart->first + uart->count++) % UART_16550_FIFO] = byte;
    }
}

unsigned uart_16550_room(const struct uart_16550 *uart) {
    return loopback(uart) ? 0 : capacity(uart) - uart->count;
}

void uart_16550_receive(struct uart_16550 *uart, uint8_t byte) {
    if (!loopback(uart))
        shift_in(uart, byte);
}

/* Every change leaves a delta, except for RI, which only tells its falling edge. */
void uart_16550_set_lines(struct uart_16550 *uart, uint8_t lines) {
    uint8_t now = lines & MSR_LINES, changed = (uart->msr ^ now) & MSR_LINES;

    if (now & UART_MSR_RI)
        changed &= ~UART_MSR_RI;
    uart->msr = now | (uart->msr & UART_MSR_ANY_DELTA) | changed >> 4;
}

void uart_16550_init(struct uart_16550 *uart, void (*transmit)(void *userdata, uint8_t byte), void *userdata) {
    memset(uart, 0, sizeof(*uart));
    uart->transmit = transmit;
    uart->userdata = userdata;
    uart->divisor[0] = 12; /* 9600 baud */
    uart->mcr = UART_MCR_OUT2;
    uart->msr = UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;
    uart->thr_empty = true;
}

/* What was read last can be read again until another byte is there; an empty FIFO has nothing. */
static uint8_t read_rbr(struct uart_16550 *uart) {
    if (!fifo_on(uart)) {
        uart->count = 0;
        return uart->rbr;
    }
    if (uart->count == 0)
        return 0;
    uart->count--;
    return uart->fifo[uart->first++ % UART_16550_FIFO];
}

static uint8_t read_iir(struct uart_16550 *uart) {
    uint8_t id = interrupt_id(uart);

    if (id == UART_IIR_THRI)
        uart->thr_empty = false; /* seeing it acknowledges it */
    return id | (fifo_on(uart) ? IIR_FIFO_ON : 0);
}

static uint8_t read_lsr(struct uart_16550 *uart) {
    uint8_t lsr = UART_LSR_THRE | UART_LSR_TEMT;

    if (uart->count > 0)
        lsr |= UART_LSR_DR;
    if (uart->overrun)
        lsr |= UART_LSR_OE;
    uart->overrun = false;
    return lsr;
}

/* In loopback the modem outputs are tied to the modem inputs, and the lines with their deltas are out of sight. */
static uint8_t read_msr(struct uart_16550 *uart) {
    uint8_t msr = uart->msr;

    if (loopback(uart))
        return (uart->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) | (uart->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
               (uart->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) | (uart->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
    uart->msr &= MSR_LINES;
    return msr;
}

static uint8_t read_register(struct uart_16550 *uart, uint64_t offset) {
    if ((uart->lcr & UART_LCR_DLAB) && offset <= UART_DLM)
        return uart->divisor[offset];

    switch (offset) {
    case UART_RX:
        return read_rbr(uart);
    case UART_IER:
        return uart->ier;
    case UART_IIR:
        return read_iir(uart);
    case UART_LCR:
        return uart->lcr;
    case UART_MCR:
        return uart->mcr;
    case UART_LSR:
        return read_lsr(uart);
    case UART_MSR:
        return read_msr(uart);
    default:
        return uart->scr;
    }
}

static void write_thr(struct uart_16550 *uart, uint8_t byte) {
    if (loopback(uart))
        shift_in(uart, byte);
    else
        uart->transmit(uart->userdata, byte);
    uart->thr_empty = true; /* and so it is empty again already */
}

static void write_ier(struct uart_16550 *uart, uint8_t value) {
    if (value & ~uart->ier & UART_IER_THRI)
        uart->thr_empty = true; /* enabling it raises it */
    uart->ier = value & IER_BITS;
}

/* Turning the FIFOs on or off empties them. */
static void write_fcr(struct uart_16550 *uart, uint8_t value) {
    bool on = value & UART_FCR_ENABLE_FIFO, toggled = on != fifo_on(uart);

    if (toggled || (value & UART_FCR_CLEAR_RCVR))
        uart->count = 0;
    if (toggled || (value & UART_FCR_CLEAR_XMIT))
        uart->thr_empty = true; /* as it is after a byte */
    uart->fcr = on ? value & (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK) : 0;
}

static void write_register(struct uart_16550 *uart, uint64_t offset, uint8_t value) {
    if ((uart->lcr & UART_LCR_DLAB) && offset <= UART_DLM) {
        uart->divisor[offset] = value;
        return;
    }

    switch (offset) {
    case UART_TX:
        write_thr(uart, value);
        break;
    case UART_IER:
        write_ier(uart, value);
        break;
    case UART_FCR:
        write_fcr(uart, value);
        break;
    case UART_LCR:
        uart->lcr = value;
        break;
    case UART_MCR:
        uart->mcr = value & MCR_BITS;
        break;
    case UART_SCR:
        uart->scr = value;
        break;
    default: /* LSR and MSR are only read */
        break;
    }
}

uint64_t uart_16550_read(struct uart_16550 *uart, uint64_t offset, unsigned size) {
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t) read_register(uart, offset + i) << (8 * i);
    return value;
}

void uart_16550_write(struct uart_16550 *uart, uint64_t offset, unsigned size, uint64_t value) {
    for (unsigned i = 0; i < size; i++)
        write_register(uart, offset + i, value >> (8 * i));
}
