/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Accesses of 8 bytes by 64-bit instructions, to 64 KiB of registers at 0xff000000 that keep what is written: QEMU's
 * pc-testdev has them, and so can ioregion-scratch. The guest stays 32-bit code, below a code segment of long mode that
 * single instructions are called in. After each it tells what they left in %rax and %rcx, and in the registers.
 */

#include "guest.h"

#define BASE 0xff000000u

/* 4 GiB of 2 MiB each, mapped as they are, in memory that nothing else is in */
#define LEVEL_4 ((volatile uint64_t *) 0x80000)
#define LEVEL_3 ((volatile uint64_t *) 0x81000)
#define LEVEL_2 ((volatile uint64_t *) 0x82000)
#define PRESENT_WRITABLE 3u
#define LARGE 0x80u

static void map_memory(void) {
    for (unsigned i = 0; i < 512; i++)
        LEVEL_4[i] = LEVEL_3[i] = 0;
    LEVEL_4[0] = (uint32_t) LEVEL_3 | PRESENT_WRITABLE;
    for (uint32_t i = 0; i < 4; i++)
        LEVEL_3[i] = ((uint32_t) LEVEL_2 + i * 0x1000) | PRESENT_WRITABLE;
    for (uint32_t i = 0; i < 4 * 512; i++)
        LEVEL_2[i] = i << 21 | LARGE | PRESENT_WRITABLE;
}

#define LONG_CODE 0x18
static struct {
    uint16_t padding, limit;
    uint64_t *base;
} descriptors_at;
static uint64_t descriptors[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff};

static void enter_long_mode(void) {
    uint32_t value, high;

    map_memory();
    descriptors_at.limit = sizeof(descriptors) - 1;
    descriptors_at.base = descriptors;
    __asm__ volatile("lgdt %0" : : "m"(descriptors_at.limit));
    __asm__ volatile("mov %%cr4, %0; or $0x20, %0; mov %0, %%cr4" : "=r"(value)); /* PAE */
    __asm__ volatile("mov %0, %%cr3" : : "r"(LEVEL_4));
    __asm__ volatile("rdmsr; or $0x100, %%eax; wrmsr" : "=a"(value), "=d"(high) : "c"(0xc0000080)); /* EFER.LME */
    __asm__ volatile("mov %%cr0, %0; or $0x80000000, %0; mov %0, %%cr0; jmp 1f; 1:" : "=r"(value)); /* PG */
}

/* One instruction on (%rdi) in long mode, with %rax and %rcx from values and back into them. */
#define INSTRUCTION(name, instruction)                                                                                 \
    void name(void);                                                                                                   \
    __asm__(".code64\n" #name ":\n"                                                                                    \
            "mov %edi, %edi; mov %esi, %esi; mov (%rsi), %rax; mov 8(%rsi), %rcx\n"                                    \
            "push %rsi\n" instruction "\npop %rsi\n"                                                                   \
            "mov %rax, (%rsi); mov %rcx, 8(%rsi)\n"                                                                    \
            "lretl\n.code32\n")

INSTRUCTION(load, "mov (%rdi), %rax");
INSTRUCTION(store, "mov %rax, (%rdi)");
INSTRUCTION(store_constant, "movq $-0x76543210, (%rdi)");
INSTRUCTION(add, "add %rax, (%rdi)");
INSTRUCTION(compare, "cmp %rax, (%rdi); sete %al");
INSTRUCTION(shift, "shlq $5, (%rdi)");
INSTRUCTION(push_pop, "pushq (%rdi); popq 8(%rdi)");
INSTRUCTION(extend, "movslq 4(%rdi), %rax; movzwl 2(%rdi), %ecx");
INSTRUCTION(add_locked, "lock addq $-3, (%rdi)");
INSTRUCTION(increment_locked, "lock incq (%rdi)");
INSTRUCTION(add_exchange, "lock xadd %rax, (%rdi)");
INSTRUCTION(exchange, "xchg %rax, (%rdi)");
INSTRUCTION(set_bit, "lock btsq $63, (%rdi); setc %cl");
INSTRUCTION(compare_exchange, "lock cmpxchg %rcx, (%rdi)");
INSTRUCTION(fill, "mov $5, %ecx; rep stosq");
INSTRUCTION(copy, "lea 0x23(%rdi), %rsi; xchg %rsi, %rdi; mov $4, %ecx; rep movsq");

static const struct {
    const char *name;
    void (*code)(void);
} instructions[] = {
    {"store", store},
    {"load", load},
    {"constant", store_constant},
    {"add", add},
    {"compare", compare},
    {"shift", shift},
    {"push", push_pop},
    {"extend", extend},
    {"lock add", add_locked},
    {"lock inc", increment_locked},
    {"xadd", add_exchange},
    {"xchg", exchange},
    {"bts", set_bit},
    {"cmpxchg", compare_exchange},
    {"fill", fill},
    {"copy", copy},
    {"load", load},
    {"compare and exchange", compare_exchange},
};

/* Far, by a pointer to offset and segment. */
static void call(void (*code)(void), uint32_t address, uint64_t *values) {
    const struct {
        void (*code)(void);
        uint16_t segment;
    } to = {code, LONG_CODE};

    __asm__ volatile("lcall *%2" : "+D"(address), "+S"(values) : "m"(to) : "eax", "ecx", "memory", "cc");
}

static void window(uint32_t offset) {
    for (uint32_t i = 0; i < 0x50; i += 4)
        tell(" %l", *(volatile uint32_t *) (BASE + offset + i));
    tell("\n");
}

static void at(uint32_t offset) {
    uint64_t values[2] = {0x8192a3b4c5d6e7f8 + offset, 0x0123456789abcdef};

    for (unsigned i = 0; i < sizeof(instructions) / sizeof(*instructions); i++) {
        call(instructions[i].code, BASE + offset, values);
        tell("%s at %w: %l%l %l%l |", instructions[i].name, offset, (uint32_t) (values[0] >> 32), (uint32_t) values[0],
             (uint32_t) (values[1] >> 32), (uint32_t) values[1]);
        window(offset - 8);
    }
}

void guest(void) {
    enter_long_mode();
    for (uint32_t offset = 0x100; offset < 0x108; offset++)
        at(offset);
    for (uint32_t offset = 0x1ff9; offset < 0x2000; offset++)
        at(offset);
    at(0x10000 - 0x48);
}
