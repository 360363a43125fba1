/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "names.h"

#define NAME_MAX_LENGTH 64
#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char *const spaces[] = {[IOREGION_MMIO] = "mmio", [IOREGION_PIO] = "pio"};
static const char *const on_disconnects[] = {
    [IOREGION_ON_DISCONNECT_ONES] = "ones",
    [IOREGION_ON_DISCONNECT_HOLD] = "hold",
    [IOREGION_ON_DISCONNECT_REMOVE] = "remove",
};

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

bool name_is_valid(const char *name) {
    size_t length = strspn(name, LETTERS_AND_DIGITS "._-");

    return length > 0 && length <= NAME_MAX_LENGTH && !name[length] && strspn(name, LETTERS_AND_DIGITS) > 0;
}

static int look_up(const char *const *names, size_t n_names, const char *name) {
    for (size_t i = 0; i < n_names; i++)
        if (strcmp(names[i], name) == 0)
            return (int) i;
    return -EINVAL;
}

const char *space_name(uint32_t space) {
    return space < N_ELEMENTS(spaces) ? spaces[space] : "unknown";
}

int space_from_name(const char *name) {
    return look_up(spaces, N_ELEMENTS(spaces), name);
}

const char *on_disconnect_name(enum ioregion_on_disconnect on_disconnect) {
    return on_disconnect < N_ELEMENTS(on_disconnects) ? on_disconnects[on_disconnect] : "unknown";
}

int on_disconnect_from_name(const char *name) {
    return look_up(on_disconnects, N_ELEMENTS(on_disconnects), name);
}
