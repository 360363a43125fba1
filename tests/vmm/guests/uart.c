/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Drives a 16550 at 0x3f8 in all its ways, and tells what every register reads. Register names are the data sheet's.
 * Argument: the seed for what is done at random.
 */

#include "guest.h"

#define UART 0x3f8
enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = RBR, DLL = RBR, DLM = IER, FCR = IIR };

static const char *const names[] = {"rbr", "ier", "iir", "lcr", "mcr", "lsr", "msr", "scr"};

static uint8_t get(int reg) {
    uint8_t value = inb(UART + reg);

    tell(" %s %b", names[reg], value);
    return value;
}

static void put(int reg, uint8_t value) {
    outb(UART + reg, value);
}

/* All registers; what reading changes, last */
static void get_all(void) {
    static const uint8_t order[] = {LCR, IER, MCR, SCR, LSR, MSR, IIR, LSR, MSR, IIR};

    for (size_t i = 0; i < sizeof(order); i++)
        get(order[i]);
    tell("\n");
}

static void at_reset(void) {
    tell("reset:");
    get_all();
}

static void divisor(void) {
    tell("divisor:");
    put(LCR, 0x83);
    get(DLL), get(DLM);
    put(DLL, 0x01), put(DLM, 0x00);
    get(DLL), get(DLM), get(LSR), get(SCR), get(LCR);
    put(LCR, 0x03);
    get(LCR), get(IER);
    put(LCR, 0xff), get(LCR), get(DLL), put(LCR, 0x03);
    tell("\n");
}

static void scratch(void) {
    tell("scratch:");
    for (unsigned i = 0; i < 8; i++)
        put(SCR, 1 << i), get(SCR);
    put(SCR, 0xa5), put(LSR, 0), put(MSR, 0), get(SCR), get(LSR);
    tell("\n");
}

static void writable_bits(void) {
    tell("bits:");
    put(IER, 0xf0), get(IER);
    put(MCR, 0xef), get(MCR);
    put(MCR, 0x00), get(MCR);
    put(IER, 0), put(MCR, 0x0b), get(MCR), get(IER);
    tell("\n");
}

static void transmitter(void) {
    tell("transmitter:");
    put(IER, 0x02), get(IIR), get(IIR);
    put(THR, 'T'), get(LSR), get(IIR), get(IIR);
    put(IER, 0x00), get(IIR), put(IER, 0x02), get(IIR), get(IIR);
    put(FCR, 0x01), get(IIR), get(IIR);
    put(FCR, 0x05), get(IIR), get(IIR);
    put(FCR, 0x00), get(IIR), put(IER, 0), get(IIR);
    tell("\n");
    for (const char *text = "he quick brown fox jumps over the lazy dog\r\n"; *text; text++)
        put(THR, *text);
    for (unsigned i = 0; i < 256; i++) {
        while (!(inb(UART + LSR) & 0x20))
            ;
        put(THR, i);
    }
}

static void modem_lines(void) {
    tell("lines:");
    for (unsigned i = 0; i < 32; i++)
        put(MCR, i), get(MSR), get(MSR);
    put(MCR, 0x0b), get(MSR);
    tell("\n");
}

static void loop_one_byte(void) {
    tell("loopback:");
    put(FCR, 0), put(MCR, 0x1b);
    get(LSR), put(THR, 0x4c), get(LSR), get(RBR), get(LSR), get(RBR);
    put(THR, 1), put(THR, 2), get(LSR), get(LSR), get(RBR), get(LSR);
    put(IER, 0x0f), get(IIR), put(THR, 3), get(IIR), get(LSR), get(RBR), get(IIR), get(IIR);
    put(THR, 4), put(THR, 5), get(IIR), get(LSR), get(IIR), get(RBR), get(IIR), get(IIR);
    put(IER, 0), put(MCR, 0x0b), get(LSR);
    tell("\n");
}

/* The cause of an interrupt without what tells that time has passed, since a run's time is its own */
static void get_cause(void) {
    tell(" cause %b", inb(UART + IIR) & ~0x08);
}

/* The cause is asked for at the trigger level and above only: below it a chip takes its time */
static void loop_fifo(uint8_t level, unsigned count) {
    tell("fifo %b:", level);
    put(FCR, 0x07 | level), put(MCR, 0x1b), put(IER, 0x05);
    get_cause(), get(LSR);
    for (unsigned i = 0; i < 20; i++)
        put(THR, 0x40 + i);
    get_cause(), get(LSR), get(LSR), get_cause();
    for (unsigned i = 0; i < 16 - count; i++)
        get(RBR), get_cause(), get(LSR);
    put(IER, 0);
    while (get(LSR) & 1)
        get(RBR);
    get(RBR), get(LSR);
    tell("\n");
}

/* What is left below the trigger level shows as a timeout, at once or after four characters' time */
static void loop_timeout(void) {
    unsigned tries = 0;

    put(FCR, 0xc7), put(IER, 0x01), put(THR, 0x77);
    while (inb(UART + IIR) != 0xcc && ++tries < 1000000)
        ;
    tell("timeout:");
    get(IIR), get(LSR), get(RBR), get(IIR), get(LSR);
    put(THR, 0x78), put(FCR, 0xc3), get(LSR), get(IIR);
    put(THR, 0x79), put(FCR, 0x00), get(LSR), get(IIR);
    put(IER, 0), put(MCR, 0x0b);
    tell("\n");
}

static void wide(void) {
    tell("wide:");
    put(LCR, 0x83), outw(UART, 0x1234);
    tell(" %w %l", inw(UART), inl(UART));
    outw(UART, 0x0001), put(LCR, 0x03);
    outw(UART + LCR, 0x1b03), outw(UART + MSR, 0x5a00);
    tell(" %w %w %l", inw(UART + LCR), inw(UART + MSR), inl(UART + MCR));
    outl(UART + MCR, 0x3c00000b);
    tell(" %l %w\n", inl(UART + MCR), inw(UART + LCR));
}

static void string_out(const void *from, uint32_t n) {
    __asm__ volatile("cld; rep outsb" : "+S"(from), "+c"(n) : "d"(UART + THR) : "memory");
}

static void string_in(int reg, uint32_t n) {
    uint8_t bytes[20];
    void *to = bytes;
    uint32_t left = n;

    __asm__ volatile("cld; rep insb" : "+D"(to), "+c"(left) : "d"(UART + reg) : "memory");
    tell(" %s %l", names[reg], left);
    for (uint32_t i = 0; i < n; i++)
        tell(" %b", bytes[i]);
}

static void strings(void) {
    static const char text[] = "a string instruction's bytes\r\n";

    tell("strings:");
    string_out(text, sizeof(text) - 1);
    string_in(LSR, 4);
    put(FCR, 0x07), put(MCR, 0x1b);
    string_out(text, 20);
    string_in(LSR, 2);
    string_in(RBR, 20);
    string_in(LSR, 2);
    put(FCR, 0), put(MCR, 0x0b);
    tell("\n");
}

/* Anything at all, from a generator: but for interrupt identification, where time plays a part with the FIFO on */
static void random(unsigned steps) {
    uint32_t state = arguments.values[0];

    tell("random:\n");
    for (unsigned i = 0; i < steps; i++) {
        state = state * 1664525 + 1013904223;
        unsigned reg = state >> 29, value = state >> 20 & 0xff;
        if (state >> 12 & 1)
            put(reg, value), tell("%b<%b ", reg, value);
        else if (reg != IIR)
            get(reg);
        if (i % 16 == 15)
            tell("\n");
    }
}

void guest(void) {
    at_reset();
    divisor();
    scratch();
    writable_bits();
    transmitter();
    modem_lines();
    loop_one_byte();
    loop_fifo(0x00, 1);
    loop_fifo(0x40, 4);
    loop_fifo(0x80, 8);
    loop_fifo(0xc0, 14);
    loop_timeout();
    wide();
    strings();
    random(2000);
}
