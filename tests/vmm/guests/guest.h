/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GUESTS_GUEST_H
#define GUESTS_GUEST_H

/*
 * What guests of the comparison are made of: 32-bit code on a bare machine, no interrupts, no paging.
 *
 * A guest tells what it reads on QEMU's debug console, and ends QEMU through its debug exit. It has its arguments from
 * whoever starts it: guests.py writes them into the image.
 */

#include <stddef.h>
#include <stdint.h>

#define TELL_PORT 0x500 /* isa-debugcon */
#define EXIT_PORT 0x501 /* isa-debug-exit: QEMU's exit status is twice what is written here, and one */

#define ARGUMENTS 4
struct arguments {
    char mark[16];
    uint32_t values[ARGUMENTS];
};
extern const volatile struct arguments arguments;

#define DEFINE_PORT_ACCESS(type, letter, operand)                                                                      \
    static inline void out##letter(uint16_t port, type value) {                                                        \
        __asm__ volatile("out" #letter " %" operand "0, %1" : : "a"(value), "Nd"(port));                               \
    }                                                                                                                  \
    static inline type in##letter(uint16_t port) {                                                                     \
        type value;                                                                                                    \
        __asm__ volatile("in" #letter " %1, %" operand "0" : "=a"(value) : "Nd"(port));                                \
        return value;                                                                                                  \
    }
DEFINE_PORT_ACCESS(uint8_t, b, "b")
DEFINE_PORT_ACCESS(uint16_t, w, "w")
DEFINE_PORT_ACCESS(uint32_t, l, "k")

/* %s, and in hexadecimal %b, %w, %l for 1, 2 and 4 bytes; one exit a call. At most 256 characters. */
void tell(const char *format, ...);

void finish(uint8_t status) __attribute__((noreturn));

/* Each guest is this function; returning is finish(0). */
void guest(void);

#endif
