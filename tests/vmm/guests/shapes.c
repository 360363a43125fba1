/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Accesses of every shape, to 64 KiB of registers at 0xff000000 and to four ports at 0xe0 that keep what is written:
 * QEMU's pc-testdev has them, and so can ioregion-scratch. After each step the guest tells what a window of them reads,
 * byte by byte.
 */

#include "guest.h"

#define BASE 0xff000000u
#define PORT 0xe0

struct sixteen {
    uint32_t words[4];
} __attribute__((aligned(16)));

static volatile uint8_t *at(uint32_t offset) {
    return (volatile uint8_t *) (BASE + offset);
}

static void tell_bytes(const volatile void *bytes, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        tell("%b", ((const volatile uint8_t *) bytes)[i]);
}

static void window(uint32_t offset, unsigned n) {
    tell(" |");
    tell_bytes(at(offset), n);
    tell("\n");
}

static struct sixteen pattern(uint32_t seed) {
    struct sixteen value;

    for (unsigned i = 0; i < 4; i++)
        value.words[i] = seed = seed * 1664525 + 1013904223;
    return value;
}

/* Writes of 8 and 16 bytes are MMX's and SSE's */
static void write(uint32_t offset, unsigned size, const struct sixteen *value) {
    volatile void *to = at(offset);

    switch (size) {
    case 1:
        *(volatile uint8_t *) to = value->words[0];
        break;
    case 2:
        *(volatile uint16_t *) to = value->words[0];
        break;
    case 4:
        *(volatile uint32_t *) to = value->words[0];
        break;
    case 8:
        __asm__ volatile("movq %1, %%mm0; movq %%mm0, %0"
                         : "=m"(*(volatile uint64_t *) to)
                         : "m"(*(const uint64_t *) value));
        break;
    default:
        __asm__ volatile("movdqu %1, %%xmm0; movdqu %%xmm0, %0" : "=m"(*(volatile struct sixteen *) to) : "m"(*value));
    }
}

static void read(uint32_t offset, unsigned size, struct sixteen *ret_value) {
    const volatile void *from = at(offset);

    switch (size) {
    case 1:
        ret_value->words[0] = *(const volatile uint8_t *) from;
        break;
    case 2:
        ret_value->words[0] = *(const volatile uint16_t *) from;
        break;
    case 4:
        ret_value->words[0] = *(const volatile uint32_t *) from;
        break;
    case 8:
        __asm__ volatile("movq %1, %%mm0; movq %%mm0, %0"
                         : "=m"(*(uint64_t *) ret_value)
                         : "m"(*(const volatile uint64_t *) from));
        break;
    default:
        __asm__ volatile("movdqu %1, %%xmm0; movdqu %%xmm0, %0"
                         : "=m"(*ret_value)
                         : "m"(*(const volatile struct sixteen *) from));
    }
}

/* One write and one read there; both are told */
static void access(uint32_t offset, unsigned size, uint32_t window_at) {
    struct sixteen value = pattern(offset * 32 + size), back = {{0}};

    write(offset, size, &value);
    read(offset, size, &back);
    tell("%b at %w: ", size, offset);
    tell_bytes(&back, 16);
    window(window_at, 32);
}

static const uint8_t sizes[] = {1, 2, 4, 8, 16};

static void aligned_and_not(void) {
    for (unsigned i = 0; i < sizeof(sizes); i++)
        for (unsigned offset = 0; offset < 8; offset++)
            access(0x100 + offset, sizes[i], 0x100);
}

static void across_pages(void) {
    for (unsigned i = 1; i < sizeof(sizes); i++)
        for (unsigned before = 1; before < sizes[i]; before++)
            access(0x2000 - before, sizes[i], 0x1ff0);
}

/* The first and the last bytes, and those that reach over the end: what lies behind is nobody's */
static void ends(void) {
    for (unsigned i = 0; i < sizeof(sizes); i++) {
        access(0, sizes[i], 0);
        access(0x10000 - sizes[i], sizes[i], 0xffe0);
    }
    for (unsigned i = 1; i < sizeof(sizes); i++) {
        struct sixteen value = pattern(i);

        write(0x10000 - sizes[i] / 2, sizes[i], &value);
        tell("%b over the end:", sizes[i]);
        window(0xffe0, 32);
    }
}

#define LOCKED(name, instruction, type, constraint, operand)                                                           \
    do {                                                                                                               \
        type value = (type) (operand);                                                                                 \
        uint8_t carry;                                                                                                 \
        __asm__ volatile("lock; " instruction "; setc %2"                                                              \
                         : "+" constraint(value), "+m"(*(volatile type *) at(offset)), "=q"(carry));                   \
        tell("%s at %w: %l %b", name, offset, (uint32_t) value, carry);                                                \
        window(0x200, 16);                                                                                             \
    } while (0)

static void locked_at(uint32_t offset) {
    LOCKED("incb", "incb %1", uint8_t, "q", 0);
    LOCKED("incl", "incl %1", uint32_t, "r", 0);
    LOCKED("addw", "addw %0, %1", uint16_t, "r", 0xfff1);
    LOCKED("xaddl", "xaddl %0, %1", uint32_t, "r", 0x01020304);
    LOCKED("xchgl", "xchgl %0, %1", uint32_t, "r", 0xa5a5a5a5);
    LOCKED("xorl", "xorl %0, %1", uint32_t, "r", 0xffff0000);
    LOCKED("btsl", "btsl $7, %1", uint32_t, "r", 0);
    LOCKED("btrl", "btrl $7, %1", uint32_t, "r", 0);
    LOCKED("negl", "negl %1", uint32_t, "r", 0);
    LOCKED("notw", "notw %1", uint16_t, "r", 0);
    LOCKED("decl", "decl %1", uint32_t, "r", 0);
}

static void compare_and_exchange(uint32_t offset, uint32_t expected, uint32_t value) {
    __asm__ volatile("lock; cmpxchgl %2, %1"
                     : "+a"(expected), "+m"(*(volatile uint32_t *) at(offset))
                     : "r"(value)
                     : "cc");
    tell("cmpxchgl at %w: %l", offset, expected);
    window(0x200, 16);
}

static void compare_and_exchange_8(uint32_t offset, uint32_t low, uint32_t high) {
    __asm__ volatile("lock; cmpxchg8b %2"
                     : "+a"(low), "+d"(high), "+m"(*(volatile uint64_t *) at(offset))
                     : "b"(0x11223344), "c"(0x55667788)
                     : "cc");
    tell("cmpxchg8b at %w: %l %l", offset, low, high);
    window(0x200, 16);
}

static void locked(void) {
    struct sixteen value = pattern(0);

    write(0x200, 16, &value);
    locked_at(0x200);
    locked_at(0x203);
    compare_and_exchange(0x204, 0, 1);
    compare_and_exchange(0x204, *(volatile uint32_t *) at(0x204), 0xcafef00d);
    compare_and_exchange_8(0x208, 0, 0);
    compare_and_exchange_8(0x208, *(volatile uint32_t *) at(0x208), *(volatile uint32_t *) at(0x20c));
}

static void read_modify_write(void) {
    volatile uint32_t *word = (volatile uint32_t *) at(0x210);
    uint32_t value = 0x80000001;

    *word = value;
    __asm__ volatile("addl $0x7fff, %0; orb $0x40, 3+%0; shll $3, %0; rorw $5, 1+%0" : "+m"(*word) : : "cc");
    __asm__ volatile("movsbl %1, %0" : "=r"(value) : "m"(*(volatile uint8_t *) at(0x213)));
    tell("rmw: %l", value);
    __asm__ volatile("movzwl %1, %0" : "=r"(value) : "m"(*(volatile uint16_t *) at(0x211)));
    tell(" %l", value);
    __asm__ volatile("pushl %1; popl %0" : "=r"(value) : "m"(*word));
    tell(" %l", value);
    __asm__ volatile("movl $0x1234abcd, %0; cmpl $0x1234abcd, %0; sete %b1" : "=m"(*word), "=q"(value) : : "cc");
    tell(" %b", value & 0xff);
    window(0x210, 8);
}

static uint8_t buffer[0x1100];

static void move(const volatile void *from, volatile void *to, uint32_t n, unsigned size) {
    if (size == 1)
        __asm__ volatile("cld; rep movsb" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
    else if (size == 2)
        __asm__ volatile("cld; rep movsw" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
    else
        __asm__ volatile("cld; rep movsl" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
}

static void strings(void) {
    volatile uint8_t *to = at(0x300);
    uint32_t n = 21;

    for (unsigned i = 0; i < sizeof(buffer); i++)
        buffer[i] = i * 7 + 3;
    for (unsigned size = 1; size <= 4; size *= 2) {
        move(buffer + size, at(0x300), 24 / size, size);
        move(at(0x301), at(0x2ffd), 24 / size, size);
        move(at(0x2ffb), buffer, 28 / size, size);
        tell("move %b: ", size);
        tell_bytes(buffer, 32);
        window(0x2ff8, 32);
    }
    __asm__ volatile("cld; rep stosb" : "+D"(to), "+c"(n) : "a"(0xe7) : "memory");
    tell("store:");
    window(0x300, 32);
    to = at(0x31c), n = 5;
    __asm__ volatile("std; rep stosl; cld" : "+D"(to), "+c"(n) : "a"(0x12345678) : "memory");
    tell("store downwards: %l", n);
    window(0x300, 32);
}

static void ports(void) {
    outl(PORT, 0x04030201);
    for (unsigned port = PORT; port < PORT + 4; port++) {
        tell("port %b: %b", port, inb(port));
        if (port < PORT + 3)
            tell(" %w", inw(port)), outw(port, 0xa000 + port * 3);
        tell(" %l", inl(PORT));
        outb(port, port * 5);
        tell(" %l\n", inl(PORT));
    }
}

/* @n elements of @size bytes, out of the buffer and back into it; @down: from its end */
static void port_string(unsigned port, unsigned size, uint32_t n, uint32_t down) {
    const uint8_t *from = buffer + (down ? (n - 1) * size : 0);
    uint8_t *to = (uint8_t *) from;
    uint32_t left = n, taken = n;

    for (unsigned i = 0; i < n * size; i++)
        buffer[i] = i * 11 + n;
    if (down)
        __asm__ volatile("std");
    switch (size) {
    case 1:
        __asm__ volatile("rep outsb; cld" : "+S"(from), "+c"(left) : "d"(port) : "memory");
        break;
    case 2:
        __asm__ volatile("rep outsw; cld" : "+S"(from), "+c"(left) : "d"(port) : "memory");
        break;
    default:
        __asm__ volatile("rep outsl; cld" : "+S"(from), "+c"(left) : "d"(port) : "memory");
    }
    tell("outs %b at %b, %l times: %l %l", size, port, n, left, inl(PORT));
    if (down)
        __asm__ volatile("std");
    switch (size) {
    case 1:
        __asm__ volatile("rep insb; cld" : "+D"(to), "+c"(taken) : "d"(port) : "memory");
        break;
    case 2:
        __asm__ volatile("rep insw; cld" : "+D"(to), "+c"(taken) : "d"(port) : "memory");
        break;
    default:
        __asm__ volatile("rep insl; cld" : "+D"(to), "+c"(taken) : "d"(port) : "memory");
    }
    tell(" ins: %l %l ", taken, (uint32_t) (to - buffer));
    tell_bytes(buffer, n * size < 24 ? n * size : 24);
    tell("\n");
}

static void port_strings(void) {
    static const uint16_t counts[] = {0, 1, 2, 3, 16, 200, 1030};

    for (unsigned size = 1; size <= 4; size *= 2)
        for (unsigned i = 0; i < sizeof(counts) / sizeof(*counts); i++)
            for (uint32_t down = 0; down < 2; down++)
                port_string(PORT + (size < 4), size, counts[i], down);
}

/* FXSR, without which there is no SSE */
static void enable_sse(void) {
    uint32_t value;

    __asm__ volatile("mov %%cr0, %0; and $~0xc, %0; mov %0, %%cr0" : "=r"(value));
    __asm__ volatile("mov %%cr4, %0; or $0x600, %0; mov %0, %%cr4" : "=r"(value));
}

void guest(void) {
    enable_sse();
    aligned_and_not();
    across_pages();
    ends();
    locked();
    read_modify_write();
    strings();
    ports();
    port_strings();
}
