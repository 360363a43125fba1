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

    .intel_syntax noprefix
    .section .rodata
    .code16
    .globl guest_demo, guest_demo_end

guest_demo:
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, GUEST_LOAD
    mov ax, SCRATCH_BASE >> 4
    mov es, ax                              /* es: the scratch device, everywhere below */
    cld
    mov si, AT(steps)                       /* si: the step */

next_step:
    cmp byte ptr [si + KIND], END
    je finish
    mov bx, AT(text_guest)
    call print
    mov bx, AT(text_uart)
    cmp byte ptr [si + DEVICE], UART
    je 1f
    mov bx, AT(text_scratch)
1:  call print
    cmp byte ptr [si + KIND], SEND
    je send

    mov bx, AT(text_offset)
    call print
    movzx eax, word ptr [si + OFFSET]
    mov cl, 1
    call print_hex
    mov al, ']'
    out DEBUG_PORT, al

    cmp byte ptr [si + KIND], READ
    je 2f
    mov bx, AT(text_wrote)
    call print
    mov eax, [si + VALUE]
    call print_value
    call write_value
    cmp byte ptr [si + KIND], WRITE
    je end_line
2:  mov bx, AT(text_read)
    call print
    call read_value
    call print_value
    cmp eax, [si + VALUE]
    je end_line
    mov byte ptr [AT(failed)], 1
    mov bx, AT(text_wanted)
    call print
    mov eax, [si + VALUE]
    call print_value

end_line:
    mov bx, AT(text_open)
    call print
    mov bx, [si + WORDS]
    call print
    mov bx, AT(text_close)
    call print
    add si, STEP_SIZE
    jmp next_step

finish:
    mov al, [AT(failed)]
    out EXIT_PORT, al
    hlt

/* send the step's words, each byte when the transmitter has room */
send:
    mov bx, AT(text_sends)
    call print
    mov bx, [si + WORDS]
1:  mov al, [bx]
    inc bx
    test al, al
    jz 2f
    call send_byte
    jmp 1b
2:  mov al, '\n'
    call send_byte
    jmp end_line

send_byte:
    mov ah, al
    mov cx, 10000
    mov dx, UART_BASE + 5
1:  in al, dx
    test al, 0x20
    loopz 1b
    mov dx, UART_BASE
    mov al, ah
    out dx, al
    ret

/* write eax to the step's register; ports are a byte wide */
write_value:
    cmp byte ptr [si + DEVICE], UART
    jne 1f
    mov dx, [si + OFFSET]
    add dx, UART_BASE
    out dx, al
    ret
1:  mov di, [si + OFFSET]
    cmp byte ptr [si + WIDTH], 2
    je 2f
    ja 3f
    mov es:[di], al
    ret
2:  mov es:[di], ax
    ret
3:  mov es:[di], eax
    ret

/* eax: read from the step's register */
read_value:
    xor eax, eax
    cmp byte ptr [si + DEVICE], UART
    jne 1f
    mov dx, [si + OFFSET]
    add dx, UART_BASE
    in al, dx
    ret
1:  mov di, [si + OFFSET]
    cmp byte ptr [si + WIDTH], 2
    je 2f
    ja 3f
    mov al, es:[di]
    ret
2:  mov ax, es:[di]
    ret
3:  mov eax, es:[di]
    ret

/* print the text at bx; eax, cx kept */
print:
    push ax
1:  mov al, [bx]
    inc bx
    test al, al
    jz 2f
    out DEBUG_PORT, al
    jmp 1b
2:  pop ax
    ret

/* print eax in as many bytes as the step's width; eax kept */
print_value:
    mov cl, [si + WIDTH]

/* print the cl lowest bytes of eax; eax kept */
print_hex:
    push eax
    mov bx, AT(text_0x)
    call print
    mov edx, eax
    add cl, cl
    mov ch, cl                              /* ch: digits left */
    mov cl, 8
    sub cl, ch
    shl cl, 2
    shl edx, cl                             /* the first digit is on top */
1:  rol edx, 4
    mov al, dl
    and al, 15
    add al, '0'
    cmp al, '9'
    jbe 2f
    add al, 'a' - '9' - 1
2:  out DEBUG_PORT, al
    dec ch
    jnz 1b
    pop eax
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
