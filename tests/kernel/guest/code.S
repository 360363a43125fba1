/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the tests' guest runs: 16-bit real mode code that does the accesses of a table, one after the other.
 * %si points to the table; struct step and the order of the operations are those of vm.h. Values are read from the
 * step, and put there. It is data of the VMM, copied to address 0 of the guest.
 */

#define ADDRESS 2
#define VALUE   8
#define STEP    24
#define BUFFER  0x6000

    .section .rodata
    .code16
    .globl guest_code, guest_code_end

guest_code:
    xorw %ax, %ax
    movw %ax, %ds
    movw $0xd000, %ax
    movw %ax, %es                           /* es: where the tests have their MMIO regions */
next:
    movw (%si), %bx
    movw ADDRESS(%si), %di
    movw %di, %dx
    addw %bx, %bx
    jmpw *operations - guest_code(%bx)
advance:
    addw $STEP, %si
    jmp next

finish: hlt
    jmp finish
read8:  movb %es:(%di), %al
    movb %al, VALUE(%si)
    jmp advance
read16: movw %es:(%di), %ax
    movw %ax, VALUE(%si)
    jmp advance
read32: movl %es:(%di), %eax
    movl %eax, VALUE(%si)
    jmp advance
read64: movq %es:(%di), %mm0
    movq %mm0, VALUE(%si)
    jmp advance
read128: movdqu %es:(%di), %xmm0
    movdqu %xmm0, VALUE(%si)
    jmp advance
write8: movb VALUE(%si), %al
    movb %al, %es:(%di)
    jmp advance
write16: movw VALUE(%si), %ax
    movw %ax, %es:(%di)
    jmp advance
write32: movl VALUE(%si), %eax
    movl %eax, %es:(%di)
    jmp advance
write64: movq VALUE(%si), %mm0
    movq %mm0, %es:(%di)
    jmp advance
write128: movdqu VALUE(%si), %xmm0
    movdqu %xmm0, %es:(%di)
    jmp advance
in8:    inb %dx, %al
    movb %al, VALUE(%si)
    jmp advance
in16:   inw %dx, %ax
    movw %ax, VALUE(%si)
    jmp advance
in32:   inl %dx, %eax
    movl %eax, VALUE(%si)
    jmp advance
out8:   movb VALUE(%si), %al
    outb %al, %dx
    jmp advance
out16:  movw VALUE(%si), %ax
    outw %ax, %dx
    jmp advance
out32:  movl VALUE(%si), %eax
    outl %eax, %dx
    jmp advance
insb8:  pushw %es                           /* as many bytes as the value says, into the buffer */
    xorw %cx, %cx
    movw %cx, %es
    movw $BUFFER, %di
    movw VALUE(%si), %cx
    rep insb
    popw %es
    jmp advance
outsb8: movw VALUE(%si), %cx
    pushw %si
    movw $BUFFER, %si
    rep outsb
    popw %si
    jmp advance

operations:
    .irp target, finish, read8, read16, read32, read64, read128, write8, write16, write32, write64, write128, \
                 in8, in16, in32, out8, out16, out32, insb8, outsb8
    .word \target - guest_code
    .endr
guest_code_end:

    .section .note.GNU-stack, "", @progbits
