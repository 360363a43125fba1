/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest.h"

#include <stdarg.h>

const volatile struct arguments arguments = {.mark = "guest arguments:"};

static char *put_hex(char *at, uint32_t value, int digits) {
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[value >> shift & 15];
    return at;
}

static char *put_argument(char *at, char kind, va_list *list) {
    switch (kind) {
    case 'b':
        return put_hex(at, va_arg(*list, uint32_t), 2);
    case 'w':
        return put_hex(at, va_arg(*list, uint32_t), 4);
    case 'l':
        return put_hex(at, va_arg(*list, uint32_t), 8);
    default:
        for (const char *text = va_arg(*list, const char *); *text; text++)
            *at++ = *text;
        return at;
    }
}

void tell(const char *format, ...) {
    char line[256], *at = line;
    const char *from = line;
    va_list list;
    size_t n;

    va_start(list, format);
    for (; *format; format++)
        if (*format == '%')
            at = put_argument(at, *++format, &list);
        else
            *at++ = *format;
    va_end(list);
    n = at - line;
    __asm__ volatile("cld; rep outsb" : "+S"(from), "+c"(n) : "d"(TELL_PORT) : "memory");
}

void finish(uint8_t status) {
    outb(EXIT_PORT, status);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* gcc calls these for what it makes of loops and initialisers */
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);

void *memcpy(void *to, const void *from, size_t n) {
    void *at = to;

    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
    return to;
}

void *memset(void *to, int byte, size_t n) {
    void *at = to;

    __asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
    return to;
}

void start(void) __attribute__((section(".entry"), noreturn));

void start(void) {
    guest();
    finish(0);
}
