/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The demo guest: 16-bit real mode code that walks the steps of guest-script.h and writes a line about each to the
 * debug port. It is data of the VMM, copied to GUEST_LOAD; so no relocations, all addresses count from there.
 */

#include "guest-script.h"

#define AT(label) (GUEST_LOAD + (label) - guest_demo)

/* a step in the table, by offset */
#define KIND   0
#define DEVICE 1
#define WIDTH  2
#define OFFSET 4
#define VALUE  6
#define WORDS  10
#define STEP_SIZE 12

    .section .rodata
    .code16
    .globl guest_demo, guest_demo_end

guest_demo:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $GUEST_LOAD, %sp
    movw $(SCRATCH_BASE >> 4), %ax
    movw %ax, %es                           /* es: the scratch device, everywhere below */
    movw $AT(steps), %si                    /* si: the step */

next_step:
    cmpb $END, KIND(%si)
    je finish
    movw $AT(text_guest), %bx
    call print
    movw $AT(text_uart), %bx
    cmpb $UART, DEVICE(%si)
    je 1f
    movw $AT(text_scratch), %bx
1:  call print
    cmpb $SEND, KIND(%si)
    je send

    movw $AT(text_offset), %bx
    call print
    movzwl OFFSET(%si), %eax
    movb $1, %cl
    call print_hex
    movb $']', %al
    outb %al, $DEBUG_PORT

    cmpb $READ, KIND(%si)
    je 2f
    movw $AT(text_wrote), %bx
    call print
    movl VALUE(%si), %eax
    call print_value
    call write_value
    cmpb $WRITE, KIND(%si)
    je end_line
2:  movw $AT(text_read), %bx
    call print
    call read_value
    call print_value
    cmpl VALUE(%si), %eax
    je end_line
    movb $1, AT(failed)
    movw $AT(text_wanted), %bx
    call print
    movl VALUE(%si), %eax
    call print_value

end_line:
    movw $AT(text_open), %bx
    call print
    movw WORDS(%si), %bx
    call print
    movw $AT(text_close), %bx
    call print
    addw $STEP_SIZE, %si
    jmp next_step

finish:
    movb AT(failed), %al
    outb %al, $EXIT_PORT
    hlt

/* send the step's words, each byte when the transmitter has room */
send:
    movw $AT(text_sends), %bx
    call print
    movw WORDS(%si), %bx
1:  movb (%bx), %al
    incw %bx
    testb %al, %al
    jz 2f
    call send_byte
    jmp 1b
2:  movb $'\n', %al
    call send_byte
    jmp end_line

send_byte:
    movb %al, %ah
    movw $10000, %cx
    movw $(UART_BASE + 5), %dx
1:  inb %dx, %al
    testb $0x20, %al
    loopz 1b
    movw $UART_BASE, %dx
    movb %ah, %al
    outb %al, %dx
    ret

/* write eax to the step's register; ports are a byte wide */
write_value:
    cmpb $UART, DEVICE(%si)
    jne 1f
    movw OFFSET(%si), %dx
    addw $UART_BASE, %dx
    outb %al, %dx
    ret
1:  movw OFFSET(%si), %di
    cmpb $2, WIDTH(%si)
    je 2f
    ja 3f
    movb %al, %es:(%di)
    ret
2:  movw %ax, %es:(%di)
    ret
3:  movl %eax, %es:(%di)
    ret

/* eax: read from the step's register */
read_value:
    xorl %eax, %eax
    cmpb $UART, DEVICE(%si)
    jne 1f
    movw OFFSET(%si), %dx
    addw $UART_BASE, %dx
    inb %dx, %al
    ret
1:  movw OFFSET(%si), %di
    cmpb $2, WIDTH(%si)
    je 2f
    ja 3f
    movb %es:(%di), %al
    ret
2:  movw %es:(%di), %ax
    ret
3:  movl %es:(%di), %eax
    ret

/* print the text at bx; eax, cx kept */
print:
    pushw %ax
1:  movb (%bx), %al
    incw %bx
    testb %al, %al
    jz 2f
    outb %al, $DEBUG_PORT
    jmp 1b
2:  popw %ax
    ret

/* print eax in as many bytes as the step's width; eax kept */
print_value:
    movb WIDTH(%si), %cl

/* print the cl lowest bytes of eax; eax kept */
print_hex:
    pushl %eax
    movw $AT(text_0x), %bx
    call print
    movl %eax, %edx
    addb %cl, %cl
    movb %cl, %ch                           /* ch: digits left */
    movb $8, %cl
    subb %ch, %cl
    shlb $2, %cl
    shll %cl, %edx                          /* the first digit is on top */
1:  roll $4, %edx
    movb %dl, %al
    andb $15, %al
    addb $'0', %al
    cmpb $'9', %al
    jbe 2f
    addb $('a' - '9' - 1), %al
2:  outb %al, $DEBUG_PORT
    decb %ch
    jnz 1b
    popl %eax
    ret

failed:       .byte 0
text_guest:   .asciz "guest: "
text_uart:    .asciz "uart"
text_scratch: .asciz "scratch"
text_offset:  .asciz "["
text_0x:      .asciz "0x"
text_wrote:   .asciz " wrote "
text_read:    .asciz " read "
text_wanted:  .asciz " but wanted "
text_sends:   .asciz " sends"
text_open:    .asciz " ("
text_close:   .asciz ")\n"

#define STEP(kind, device, offset, width, value, words) \
    .byte kind, device, width, 0; \
    .word offset; \
    .long value; \
    .word AT(9f); \
    .pushsection .rodata, 1; \
9:  .asciz words; \
    .popsection;

steps:
#include "guest-script.h"
    .byte END

    .subsection 1
guest_demo_end:

    .section .note.GNU-stack, "", @progbits
