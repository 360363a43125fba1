/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A boot sector: the BIOS loads it and runs it, and it has the BIOS load the payload, which follows on the disk. */

#include "protected.S"

.code16
.section .loader, "ax"
load:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $load, %sp
    mov $packet, %si
    mov $0x42, %ah              /* the disk that it was booted from is in %dl */
    int $0x13
    jc failed
    enter_protected_mode ds, run
failed:
    mov $1, %al
    mov $0x501, %dx             /* EXIT_PORT */
    out %al, %dx
1:  hlt
    jmp 1b

.code32
run:
    load_data_segments
    mov $payload, %eax
    jmp *%eax
    define_descriptors

packet:
    .word 16, payload_sectors, 0, payload_segment
    .quad 1
    .org 510
    .word 0xaa55
