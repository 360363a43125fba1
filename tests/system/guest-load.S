/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A guest that does nothing but use one register (registers.c has it), as fast as it goes, and that looks at each value
 * itself: 16-bit real mode code, flat, for ioregion-demo-vmm --guest. Two of them are made of this:
 *
 *     guest-counts    reads the register that counts: each value has to be the one after the last
 *     guest-keeps     writes the next number to the register that keeps, and reads it back
 *
 * After each 250 rounds it says a line on the debug port, in hexadecimal digits: how many rounds there were, how
 * many values were all ones, how many were the one of the round before, and how many were something else.
 */

#define DEBUG_PORT  0xe9
#define SEGMENT     0xd000 /* of the device, at 0xd0000 */
#define COUNTING    0
#define KEEPING     4
#define ROUNDS      250

    .code16
    .globl _start
_start:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $_start, %sp
    movw $SEGMENT, %ax
    movw %ax, %es
    xorl %esi, %esi                         /* rounds */
    xorl %edi, %edi                         /* values that were all ones */
    xorl %ebp, %ebp                         /* values that were those of the round before */
    xorl %ecx, %ecx                         /* others that were not right */
#ifdef COUNTS
    movl %es:COUNTING, %ebx                 /* the last value that was right */
#else
    xorl %ebx, %ebx
#endif

lap:
    movw $ROUNDS, rounds_left
round:
    incl %ebx
#ifdef COUNTS
    movl %es:COUNTING, %eax
#else
    movl %ebx, %es:KEEPING
    movl %es:KEEPING, %eax
#endif
    incl %esi
    cmpl %ebx, %eax
    jne odd
judged:
    decw rounds_left
    jnz round

    movl %esi, %eax
    call print
    movl %edi, %eax
    call print
    movl %ebp, %eax
    call print
    movl %ecx, %eax
    call print
    movb $'\n', %al
    outb %al, $DEBUG_PORT
    jmp lap

odd:
    cmpl $-1, %eax
    je 1f
    incl %eax
    cmpl %ebx, %eax
    je 2f
    incl %ecx
    jmp 3f
1:  incl %edi
    jmp 3f
2:  incl %ebp
3:
#ifdef COUNTS
    decl %ebx                               /* it is still the next one that is due */
#endif
    jmp judged

/* print eax, eight digits, and a space */
print:
    movb $8, digits_left
1:  roll $4, %eax
    movl %eax, %edx
    andb $15, %al
    addb $'0', %al
    cmpb $'9', %al
    jbe 2f
    addb $('a' - '9' - 1), %al
2:  outb %al, $DEBUG_PORT
    movl %edx, %eax
    decb digits_left
    jnz 1b
    movb $' ', %al
    outb %al, $DEBUG_PORT
    ret

rounds_left: .word 0
digits_left: .byte 0

    .section .note.GNU-stack, "", @progbits
