/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every register of the UART, as a driver would meet it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <linux/serial_reg.h>

#include "clients/devices/uart-16550.h"

#define TX_IDLE (UART_LSR_THRE | UART_LSR_TEMT)
#define READY (UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD)

static struct uart_16550 uart;
static uint8_t sent[64];
static unsigned n_sent;

static void on_transmit(void *userdata, uint8_t byte) {
    assert_ptr_equal(userdata, &uart);
    assert_true(n_sent < sizeof(sent));
    sent[n_sent++] = byte;
}

static int power_on(void **state) {
    n_sent = 0;
    uart_16550_init(&uart, on_transmit, &uart);
    return 0;
}

static uint8_t in(uint64_t offset) {
    return uart_16550_read(&uart, offset, 1);
}

static void out(uint64_t offset, uint8_t value) {
    uart_16550_write(&uart, offset, 1, value);
}

static void receive(unsigned n) {
    for (unsigned i = 0; i < n; i++)
        uart_16550_receive(&uart, 'a' + i);
}

static void test_power_on(void **state) {
    assert_int_equal(in(UART_IER), 0);
    assert_int_equal(in(UART_IIR), UART_IIR_NO_INT);
    assert_int_equal(in(UART_LCR), 0);
    assert_int_equal(in(UART_MCR), UART_MCR_OUT2);
    assert_int_equal(in(UART_LSR), TX_IDLE);
    assert_int_equal(in(UART_MSR), READY);
    assert_int_equal(in(UART_SCR), 0);
    assert_false(uart_16550_interrupt(&uart));
}

/* What of a written byte each register keeps, for all 256 values. */
static void test_writable_bits(void **state) {
    static const struct {
        uint8_t offset, bits;
    } registers[] = {{UART_IER, 0x0f}, {UART_LCR, 0xff}, {UART_MCR, 0x1f}, {UART_SCR, 0xff}};

    for (unsigned r = 0; r < sizeof(registers) / sizeof(*registers); r++)
        for (unsigned value = 0; value < 256; value++) {
            if (registers[r].offset == UART_IER)
                out(UART_LCR, 0);
            out(registers[r].offset, value);
            assert_int_equal(in(registers[r].offset), value & registers[r].bits);
        }
}

static void test_status_is_read_only(void **state) {
    for (unsigned value = 0; value < 256; value++) {
        out(UART_LSR, value);
        out(UART_MSR, value);
        assert_int_equal(in(UART_LSR), TX_IDLE);
        assert_int_equal(in(UART_MSR), READY);
    }
}

static void test_divisor_latch(void **state) {
    out(UART_IER, UART_IER_RDI);
    out(UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
    assert_int_equal(in(UART_DLL), 12);
    out(UART_DLL, 0x34);
    out(UART_DLM, 0x12);
    assert_int_equal(in(UART_DLL), 0x34);
    assert_int_equal(in(UART_DLM), 0x12);
    assert_int_equal(n_sent, 0);
    out(UART_SCR, 0x77); /* the latches cover only the first two registers */
    assert_int_equal(in(UART_SCR), 0x77);

    out(UART_LCR, UART_LCR_WLEN8);
    assert_int_equal(in(UART_IER), UART_IER_RDI);
    receive(1);
    assert_int_equal(in(UART_RX), 'a');
    out(UART_LCR, UART_LCR_DLAB);
    assert_int_equal(in(UART_DLL), 0x34);
}

static void test_transmit(void **state) {
    out(UART_TX, 'h');
    assert_int_equal(in(UART_LSR), TX_IDLE);
    out(UART_TX, 'i');
    assert_int_equal(n_sent, 2);
    assert_memory_equal(sent, "hi", 2);
}

static void test_receive_without_fifo(void **state) {
    assert_int_equal(uart_16550_room(&uart), 1);
    uart_16550_receive(&uart, 'x');
    assert_int_equal(uart_16550_room(&uart), 0);
    assert_int_equal(in(UART_LSR), TX_IDLE | UART_LSR_DR);
    assert_int_equal(in(UART_LSR), TX_IDLE | UART_LSR_DR);
    assert_int_equal(in(UART_RX), 'x');
    assert_int_equal(in(UART_LSR), TX_IDLE);
    assert_int_equal(in(UART_RX), 'x'); /* RBR is a register: it holds its byte until the next one */
    uart_16550_receive(&uart, 'y');
    for (int i = 0; i < 3; i++)
        assert_int_equal(in(UART_RX), 'y');
}

static void test_overrun_without_fifo_keeps_the_newest(void **state) {
    receive(3);
    assert_int_equal(in(UART_LSR), TX_IDLE | UART_LSR_DR | UART_LSR_OE);
    assert_int_equal(in(UART_LSR), TX_IDLE | UART_LSR_DR);
    assert_int_equal(in(UART_RX), 'c');
    assert_int_equal(in(UART_LSR), TX_IDLE);
}

static void test_fifo_keeps_order_and_overrun_keeps_the_oldest(void **state) {
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    for (unsigned round = 0; round < 3; round++) { /* wraps around */
        receive(10);
        for (unsigned i = 0; i < 10; i++)
            assert_int_equal(in(UART_RX), 'a' + i);
        assert_int_equal(in(UART_RX), 0); /* empty */
    }
    receive(UART_16550_FIFO);
    assert_int_equal(uart_16550_room(&uart), 0);
    assert_int_equal(in(UART_LSR), TX_IDLE | UART_LSR_DR);
    uart_16550_receive(&uart, '!');
    assert_int_equal(in(UART_LSR), TX_IDLE | UART_LSR_DR | UART_LSR_OE);
    for (unsigned i = 0; i < UART_16550_FIFO; i++)
        assert_int_equal(in(UART_RX), 'a' + i);
    assert_int_equal(in(UART_LSR), TX_IDLE);
}

static void test_fifo_shows_in_iir(void **state) {
    assert_int_equal(in(UART_IIR) &0xc0, 0);
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    assert_int_equal(in(UART_IIR), 0xc0 | UART_IIR_NO_INT);
    out(UART_FCR, UART_FCR_TRIGGER_14); /* without the enable bit: off, and nothing else counts */
    assert_int_equal(in(UART_IIR), UART_IIR_NO_INT);
}

static void test_fifo_resets(void **state) {
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    receive(5);
    out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_XMIT);
    assert_int_equal(uart_16550_room(&uart), 11);
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    assert_int_equal(uart_16550_room(&uart), 11);
    out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
    assert_int_equal(uart_16550_room(&uart), 16);
    receive(5); /* the reset clears itself */
    assert_int_equal(uart_16550_room(&uart), 11);
    out(UART_FCR, 0);
    assert_int_equal(uart_16550_room(&uart), 1);
    assert_int_equal(in(UART_LSR), TX_IDLE);
    receive(1);
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    assert_int_equal(in(UART_LSR), TX_IDLE);
}

static void test_trigger_levels(void **state) {
    static const struct {
        uint8_t bits, level;
    } triggers[] = {
        {UART_FCR_TRIGGER_1, 1}, {UART_FCR_TRIGGER_4, 4}, {UART_FCR_TRIGGER_8, 8}, {UART_FCR_TRIGGER_14, 14}};

    out(UART_IER, UART_IER_RDI);
    for (unsigned t = 0; t < 4; t++) {
        out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | triggers[t].bits);
        assert_int_equal(in(UART_IIR), 0xc0 | UART_IIR_NO_INT);
        for (unsigned n = 1; n <= UART_16550_FIFO; n++) {
            uart_16550_receive(&uart, n);
            assert_true(uart_16550_interrupt(&uart));
            assert_int_equal(in(UART_IIR), 0xc0 | (n < triggers[t].level ? UART_IIR_RX_TIMEOUT : UART_IIR_RDI));
        }
    }
}

static void test_data_interrupt_ends_with_the_data(void **state) {
    receive(1);
    assert_false(uart_16550_interrupt(&uart)); /* not enabled */
    out(UART_IER, UART_IER_RDI);
    assert_int_equal(in(UART_IIR), UART_IIR_RDI);
    assert_int_equal(in(UART_IIR), UART_IIR_RDI); /* reading IIR doesn't end it */
    in(UART_RX);
    assert_false(uart_16550_interrupt(&uart));
}

static void test_thr_interrupt(void **state) {
    out(UART_IER, UART_IER_THRI);
    assert_true(uart_16550_interrupt(&uart)); /* raised by enabling it */
    assert_int_equal(in(UART_IIR), UART_IIR_THRI);
    assert_int_equal(in(UART_IIR), UART_IIR_NO_INT); /* seen: gone */
    out(UART_IER, UART_IER_THRI);
    assert_false(uart_16550_interrupt(&uart)); /* enabled already: not raised anew */
    out(UART_TX, '.');
    assert_int_equal(in(UART_IIR), UART_IIR_THRI);
    out(UART_IER, 0);
    out(UART_IER, UART_IER_THRI);
    assert_int_equal(in(UART_IIR), UART_IIR_THRI);
}

/* Only the reading that shows the THR interrupt acknowledges it. */
static void test_thr_interrupt_survives_a_higher_one(void **state) {
    out(UART_IER, UART_IER_THRI | UART_IER_RDI);
    receive(1);
    assert_int_equal(in(UART_IIR), UART_IIR_RDI);
    in(UART_RX);
    assert_int_equal(in(UART_IIR), UART_IIR_THRI);
}

static void test_interrupt_priority(void **state) {
    out(UART_IER, UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI);
    uart_16550_set_lines(&uart, 0);
    receive(2);
    assert_int_equal(in(UART_IIR), UART_IIR_RLSI);
    in(UART_LSR);
    assert_int_equal(in(UART_IIR), UART_IIR_RDI);
    in(UART_RX);
    assert_int_equal(in(UART_IIR), UART_IIR_THRI);
    assert_int_equal(in(UART_IIR), UART_IIR_MSI);
    assert_int_equal(in(UART_IIR), UART_IIR_MSI);
    in(UART_MSR);
    assert_int_equal(in(UART_IIR), UART_IIR_NO_INT);
    assert_false(uart_16550_interrupt(&uart));
}

static void test_each_interrupt_needs_its_enable_bit(void **state) {
    static const uint8_t bits[] = {UART_IER_RLSI, UART_IER_RDI, UART_IER_THRI, UART_IER_MSI};
    static const uint8_t ids[] = {UART_IIR_RLSI, UART_IIR_RDI, UART_IIR_THRI, UART_IIR_MSI};

    uart_16550_set_lines(&uart, 0);
    receive(2);
    for (unsigned i = 0; i < 4; i++) {
        out(UART_IER, bits[i]);
        assert_int_equal(in(UART_IIR), ids[i]);
    }
    out(UART_IER, 0);
    assert_int_equal(in(UART_IIR), UART_IIR_NO_INT);
}

static void test_modem_lines_and_deltas(void **state) {
    uart_16550_set_lines(&uart, 0xff);                   /* of these, only the four lines count */
    assert_int_equal(in(UART_MSR), READY | UART_MSR_RI); /* ringing starts: no delta */
    uart_16550_set_lines(&uart, READY);
    assert_int_equal(in(UART_MSR), READY | UART_MSR_TERI);
    assert_int_equal(in(UART_MSR), READY); /* reading clears */
    uart_16550_set_lines(&uart, 0);
    assert_int_equal(in(UART_MSR), UART_MSR_DCTS | UART_MSR_DDSR | UART_MSR_DDCD);
    uart_16550_set_lines(&uart, UART_MSR_CTS);
    uart_16550_set_lines(&uart, 0); /* a delta remembers a change that was undone */
    assert_int_equal(in(UART_MSR), UART_MSR_DCTS);
}

static void test_loopback_data(void **state) {
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    out(UART_MCR, UART_MCR_LOOP);
    assert_int_equal(uart_16550_room(&uart), 0);
    out(UART_TX, 'L');
    uart_16550_receive(&uart, 'z'); /* cut off from the line */
    assert_int_equal(in(UART_LSR), TX_IDLE | UART_LSR_DR);
    assert_int_equal(in(UART_RX), 'L');
    assert_int_equal(in(UART_LSR), TX_IDLE);
    for (unsigned i = 0; i < 17; i++)
        out(UART_TX, i);
    assert_int_equal(in(UART_LSR), TX_IDLE | UART_LSR_DR | UART_LSR_OE);
    assert_int_equal(n_sent, 0);

    out(UART_MCR, 0);
    out(UART_TX, 'o');
    assert_int_equal(n_sent, 1);
}

/* All 16 states of the modem outputs. The far end is not seen meanwhile, and its changes are kept. */
static void test_loopback_modem_lines(void **state) {
    uart_16550_set_lines(&uart, READY & ~UART_MSR_CTS);
    for (unsigned mcr = 0; mcr < 16; mcr++) {
        out(UART_MCR, UART_MCR_LOOP | mcr);
        assert_int_equal(in(UART_MSR),
                         (mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) | (mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
                             (mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) | (mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0));
    }
    uart_16550_set_lines(&uart, READY & ~UART_MSR_DSR);
    out(UART_MCR, 0);
    assert_int_equal(in(UART_MSR), (READY & ~UART_MSR_DSR) | UART_MSR_DCTS | UART_MSR_DDSR);
    assert_int_equal(in(UART_MSR), READY & ~UART_MSR_DSR);
}

static void test_loopback_interrupts(void **state) {
    out(UART_IER, UART_IER_RDI | UART_IER_MSI);
    out(UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
    assert_int_equal(in(UART_IIR), UART_IIR_NO_INT);
    out(UART_TX, 1);
    assert_int_equal(in(UART_IIR), UART_IIR_RDI);
}

/* Turning the FIFOs on or off, or emptying the transmitter's, leaves it empty anew. */
static void test_thr_interrupt_of_an_emptied_fifo(void **state) {
    static const uint8_t emptying[] = {UART_FCR_ENABLE_FIFO, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_XMIT, 0};

    out(UART_IER, UART_IER_THRI);
    in(UART_IIR);
    for (unsigned i = 0; i < sizeof(emptying); i++) {
        out(UART_FCR, emptying[i]);
        assert_int_equal(in(UART_IIR) &0x0f, UART_IIR_THRI);
        out(UART_FCR, emptying[i] & UART_FCR_ENABLE_FIFO);
        assert_int_equal(in(UART_IIR) &0x0f, UART_IIR_NO_INT);
    }
}

/* Edge case 25: wide accesses are byte accesses, ascending, lowest byte first. */
static void test_wide_accesses(void **state) {
    out(UART_SCR, 0x5a);
    assert_int_equal(uart_16550_read(&uart, UART_MSR, 2), 0x5a00 | READY);

    uart_16550_write(&uart, UART_LCR, 4, 0xff000003); /* LCR, MCR, and the two that are only read */
    assert_int_equal(in(UART_LCR), UART_LCR_WLEN8);
    assert_int_equal(in(UART_MCR), 0);

    out(UART_LCR, UART_LCR_DLAB);
    uart_16550_write(&uart, UART_DLL, 2, 0xbeef);
    assert_int_equal(uart_16550_read(&uart, UART_DLL, 2), 0xbeef);
    assert_int_equal(in(UART_DLL), 0xef);

    assert_int_equal(uart_16550_read(&uart, 0, 8), 0x5a00000000000000 | (uint64_t) READY << 48 |
                                                       (uint64_t) TX_IDLE << 40 | (uint64_t) UART_LCR_DLAB << 24 |
                                                       UART_IIR_NO_INT << 16 | 0xbeef);
    uart_16550_write(&uart, 0, 8, UINT64_C(0x99000003) << 32 | 0x03000000 | 0x4321);
    assert_int_equal(in(UART_SCR), 0x99);
    assert_int_equal(in(UART_MCR), 3);
    out(UART_LCR, UART_LCR_DLAB);
    assert_int_equal(uart_16550_read(&uart, UART_DLL, 2), 0x4321);
}

/* The sequence by which drivers tell a 16550A from its ancestors. */
static void test_looks_like_a_16550a(void **state) {
    out(UART_IER, 0x0f);
    assert_int_equal(in(UART_IER), 0x0f);
    out(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
    assert_int_equal(in(UART_MSR) &0xf0, UART_MSR_DCD | UART_MSR_CTS);
    out(UART_MCR, 0);
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    assert_int_equal(in(UART_IIR) >> 6, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_power_on, power_on),
        cmocka_unit_test_setup(test_writable_bits, power_on),
        cmocka_unit_test_setup(test_status_is_read_only, power_on),
        cmocka_unit_test_setup(test_divisor_latch, power_on),
        cmocka_unit_test_setup(test_transmit, power_on),
        cmocka_unit_test_setup(test_receive_without_fifo, power_on),
        cmocka_unit_test_setup(test_overrun_without_fifo_keeps_the_newest, power_on),
        cmocka_unit_test_setup(test_fifo_keeps_order_and_overrun_keeps_the_oldest, power_on),
        cmocka_unit_test_setup(test_fifo_shows_in_iir, power_on),
        cmocka_unit_test_setup(test_fifo_resets, power_on),
        cmocka_unit_test_setup(test_trigger_levels, power_on),
        cmocka_unit_test_setup(test_data_interrupt_ends_with_the_data, power_on),
        cmocka_unit_test_setup(test_thr_interrupt, power_on),
        cmocka_unit_test_setup(test_thr_interrupt_survives_a_higher_one, power_on),
        cmocka_unit_test_setup(test_interrupt_priority, power_on),
        cmocka_unit_test_setup(test_each_interrupt_needs_its_enable_bit, power_on),
        cmocka_unit_test_setup(test_modem_lines_and_deltas, power_on),
        cmocka_unit_test_setup(test_loopback_data, power_on),
        cmocka_unit_test_setup(test_loopback_modem_lines, power_on),
        cmocka_unit_test_setup(test_loopback_interrupts, power_on),
        cmocka_unit_test_setup(test_thr_interrupt_of_an_emptied_fifo, power_on),
        cmocka_unit_test_setup(test_wide_accesses, power_on),
        cmocka_unit_test_setup(test_looks_like_a_16550a, power_on),
    };

    return cmocka_run_group_tests_name("uart", tests, NULL, NULL);
}
