/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A guest in place of the BIOS: the processor's first instruction is here, and the payload is copied into memory. */

#include "protected.S"

.code16
.section .loader, "ax"
load:
    enter_protected_mode cs, copy

.code32
copy:
    load_data_segments
    mov $payload_from, %esi
    mov $payload, %edi
    mov $payload_size, %ecx
    rep movsb
    mov $payload, %eax
    jmp *%eax
    define_descriptors

.code16
.section .reset, "ax"
    jmp load
    .org 16
