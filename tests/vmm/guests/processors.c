/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Starts all processors. Each has a register of its own at 0xff000000 and a port of its own at 0xe0 and up, and finds
 * in both what it wrote last, however many others are at it. Arguments: processors (1 to 4), rounds.
 */

#include "guest.h"

#define REGISTERS 0xff000000u
#define PORTS 0xe0
#define INTERRUPT_COMMAND ((volatile uint32_t *) 0xfee00300)
#define SPURIOUS ((volatile uint32_t *) 0xfee000f0)
#define TO_ALL_OTHERS 0xc0000
#define INIT 0x4500
#define STARTUP 0x4600
#define TRAMPOLINE 0x8000

extern const uint8_t trampoline[], trampoline_end[];

static volatile uint32_t arrived, done, wrong;

static uint32_t add(volatile uint32_t *counter, uint32_t n) {
    __asm__ volatile("lock; xaddl %0, %1" : "+r"(n), "+m"(*counter) : : "memory");
    return n;
}

static void work(uint32_t id) {
    volatile uint32_t *mine = (volatile uint32_t *) REGISTERS + id;

    for (uint32_t i = 0; i < arguments.values[1]; i++) {
        uint32_t value = i * 0x01010101 + id;

        *mine = value;
        outb(PORTS + id, value);
        if (*mine != value)
            add(&wrong, 1);
        if (inb(PORTS + id) != (uint8_t) value)
            add(&wrong, 1);
    }
    add(&done, 1);
}

/* Where the others come to from the trampoline, one after the other or all at once */
__attribute__((regparm(1), noreturn, used)) static void work_of_another(uint32_t id) {
    work(id);
    for (;;)
        __asm__ volatile("cli; hlt");
}

__attribute__((used)) static uint8_t stacks[4][1024];

__asm__(".code16\n"
        "trampoline:\n"
        "    cli\n"
        "    xor %ax, %ax\n"
        "    mov %ax, %ds\n"
        "    lgdtl 0x8000 + trampoline_pointer - trampoline\n"
        "    mov %cr0, %eax\n"
        "    or $1, %al\n"
        "    mov %eax, %cr0\n"
        "    ljmpl $8, $another\n"
        "trampoline_pointer:\n"
        "    .word 23\n"
        "    .long descriptors\n"
        "trampoline_end:\n"
        ".code32\n"
        "another:\n"
        "    mov $16, %ax\n"
        "    mov %ax, %ds\n"
        "    mov %ax, %es\n"
        "    mov %ax, %ss\n"
        "    mov $1, %eax\n"
        "    lock xaddl %eax, arrived\n"
        "    inc %eax\n"
        "    mov %eax, %ecx\n"
        "    shl $10, %ecx\n"
        "    lea stacks + 1024(%ecx), %esp\n"
        "    jmp work_of_another\n");

static void start_others(uint32_t others) {
    volatile uint8_t *to = (volatile uint8_t *) TRAMPOLINE;

    for (size_t i = 0; i < (size_t) (trampoline_end - trampoline); i++)
        to[i] = trampoline[i];
    *SPURIOUS |= 0x100; /* the local APIC is on */
    *INTERRUPT_COMMAND = TO_ALL_OTHERS | INIT;
    while (arrived < others) { /* which counts once for each, after it has taken the first one */
        *INTERRUPT_COMMAND = TO_ALL_OTHERS | STARTUP | TRAMPOLINE >> 12;
        for (uint32_t i = 0; i < 10000 && arrived < others; i++)
            ;
    }
}

void guest(void) {
    uint32_t processors = arguments.values[0];

    if (processors > 1)
        start_others(processors - 1);
    work(0);
    while (done < processors)
        ;
    tell("%b processors, wrong %l\n", processors, wrong);
    for (uint32_t id = 0; id < processors; id++)
        tell("%b: %l %b\n", id, ((volatile uint32_t *) REGISTERS)[id], inb(PORTS + id));
    finish(wrong != 0);
}
