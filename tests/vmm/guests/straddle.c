/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Accesses around the ends of a region of 128 bytes at 0xff000100, and of one of 2 ports at 0xe1: around them is
 * QEMU's pc-testdev, which keeps what is written, too. Tells what each access reads, then what each byte reads.
 */

#include "guest.h"

#define FIRST 0xff000100u
#define BEHIND (FIRST + 0x80)

static void fill(uint32_t from, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        *(volatile uint8_t *) (from + i) = i + 1;
}

static void show(uint32_t from, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        tell("%b", *(volatile uint8_t *) (from + i));
    tell("\n");
}

static void across(uint32_t end) {
    uint32_t high, low;

    for (uint32_t before = 1; before < 2; before++) {
        *(volatile uint16_t *) (end - before) = 0xa1a2;
        tell("2 %b: %w\n", before, *(volatile uint16_t *) (end - before));
    }
    show(end - 8, 16);
    for (uint32_t before = 1; before < 4; before++) {
        *(volatile uint32_t *) (end - before) = 0xb1b2b3b0 + before;
        tell("4 %b: %l\n", before, *(volatile uint32_t *) (end - before));
    }
    show(end - 8, 16);
    for (uint32_t before = 1; before < 8; before++) {
        uint64_t value = 0xc1c2c3c4c5c6c7c0 + before;

        __asm__ volatile("movq %1, %%mm0; movq %%mm0, %0" : "=m"(*(volatile uint64_t *) (end - before)) : "m"(value));
        __asm__ volatile("movq %1, %%mm0; movq %%mm0, %0" : "=m"(value) : "m"(*(volatile uint64_t *) (end - before)));
        low = value, high = value >> 32;
        tell("8 %b: %l%l\n", before, high, low);
    }
    show(end - 8, 16);
}

static void ports(void) {
    outl(0xe0, 0x44332211);
    tell("ports %l", inl(0xe0));
    for (uint32_t port = 0xe0; port < 0xe3; port++) {
        outw(port, 0xd0d1 + port);
        tell(" %w", inw(port));
    }
    for (uint32_t port = 0xe0; port < 0xe4; port++)
        tell(" %b", inb(port));
    tell(" %l\n", inl(0xe0));
}

void guest(void) {
    fill(FIRST - 8, 16);
    fill(BEHIND - 8, 16);
    across(FIRST);
    across(BEHIND);
    ports();
}
