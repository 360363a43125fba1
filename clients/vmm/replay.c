/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "replay.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guest-script.h"

#define SEND_TRIES 10000

struct step {
    uint8_t kind, device, width;
    uint16_t offset;
    uint32_t value;
    const char *words;
};

static const struct step steps[] = {
#define STEP(kind, device, offset, width, value, words) {kind, device, width, offset, value, words},
#include "guest-script.h"
};

struct replay {
    struct ioregion_vmm *vmm;
    struct board *board;
};

/* As a vCPU's exit would go: to a device, else to the board. */
static uint64_t access_bus(const struct replay *replay, int device, uint64_t offset, unsigned width, uint64_t value,
                           bool write) {
    enum ioregion_space space = device == UART ? IOREGION_PIO : IOREGION_MMIO;
    uint64_t address = (device == UART ? UART_BASE : SCRATCH_BASE) + offset;

    if (ioregion_vmm_access(replay->vmm, space, address, &value, width, write) != 1)
        board_access(replay->board, space, address, &value, width, write);
    return value;
}

static void say(const struct replay *replay, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(const struct replay *replay, const char *format, ...) {
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++)
        board_access(replay->board, IOREGION_PIO, DEBUG_PORT, c, 1, true);
}

static void send_byte(const struct replay *replay, uint8_t byte) {
    for (unsigned i = 0; i < SEND_TRIES; i++)
        if (access_bus(replay, UART, 5, 1, 0, false) & 0x20)
            break;
    access_bus(replay, UART, 0, 1, byte, true);
}

static void send_words(const struct replay *replay, const char *words) {
    say(replay, " sends");
    for (; *words; words++)
        send_byte(replay, *words);
    send_byte(replay, '\n');
}

/* Returns whether the step went as it should. */
static bool play_access(const struct replay *replay, const struct step *step) {
    int digits = 2 * step->width;
    uint64_t value;

    say(replay, "[0x%02x]", step->offset);
    if (step->kind != READ) {
        say(replay, " wrote 0x%0*" PRIx32, digits, step->value);
        access_bus(replay, step->device, step->offset, step->width, step->value, true);
    }
    if (step->kind == WRITE)
        return true;
    value = access_bus(replay, step->device, step->offset, step->width, 0, false);
    say(replay, " read 0x%0*" PRIx64, digits, value);
    if (value == step->value)
        return true;
    say(replay, " but wanted 0x%0*" PRIx32, digits, step->value);
    return false;
}

void replay_run(struct ioregion_vmm *vmm, struct board *board) {
    struct replay replay = {.vmm = vmm, .board = board};
    uint8_t failed = 0;

    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps) && !board->stop; i++) {
        const struct step *step = &steps[i];

        say(&replay, "guest: %s", step->device == UART ? "uart" : "scratch");
        if (step->kind == SEND)
            send_words(&replay, step->words);
        else if (!play_access(&replay, step))
            failed = 1;
        say(&replay, " (%s)\n", step->words);
    }
    if (!board->stop)
        board_access(board, IOREGION_PIO, EXIT_PORT, &failed, 1, true);
}
