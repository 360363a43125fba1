/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From real mode with %ds or %cs over this code to 32-bit code at \entry; flat segments, no interrupts. */

.macro enter_protected_mode segment, entry
    cli
    cld
    lgdtl %\segment:descriptors_offset
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $\entry
.endm

.macro define_descriptors
    .balign 8
    .global descriptors
descriptors:
    .quad 0
    .quad 0x00cf9b000000ffff    /* code */
    .quad 0x00cf93000000ffff    /* data */
    .global descriptors_pointer
descriptors_pointer:
    .word . - descriptors - 1
    .long descriptors
.endm

.macro load_data_segments
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov %ax, %fs
    mov %ax, %gs
    mov $payload, %esp          /* downwards from the payload */
.endm
