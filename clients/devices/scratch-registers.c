/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scratch-registers.h"

#include <endian.h>
#include <string.h>

static bool is_control(const struct scratch *scratch, uint64_t offset, unsigned size) {
    return scratch->controls && offset + size > scratch->size - SCRATCH_CONTROL_SIZE;
}

/* Which control an access names; something that is none of them if it isn't whole. */
static uint64_t control_register(const struct scratch *scratch, uint64_t offset, unsigned size) {
    return size == 4 ? offset - (scratch->size - SCRATCH_CONTROL_SIZE) : UINT64_MAX;
}

/* What was armed for this access; it is due once, but for silence, which stays. */
static enum scratch_action take_action(struct scratch *scratch, uint32_t *ret_argument) {
    enum scratch_action action = scratch->next;

    *ret_argument = scratch->argument;
    if (action != SCRATCH_DO_SILENCE)
        scratch->next = SCRATCH_ANSWER;
    return action;
}

static enum scratch_action arm(struct scratch *scratch, enum scratch_action action, uint32_t argument) {
    scratch->next = action;
    scratch->argument = argument;
    return SCRATCH_ANSWER;
}

static enum scratch_action write_control(struct scratch *scratch, uint64_t control, uint32_t value) {
    switch (control) {
    case SCRATCH_WRITES:
        scratch->writes = value;
        return SCRATCH_ANSWER;
    case SCRATCH_READS:
        scratch->reads = value;
        return SCRATCH_ANSWER;
    case SCRATCH_DELAY:
        return arm(scratch, SCRATCH_DO_DELAY, value);
    case SCRATCH_CRASH:
        return value == 0 ? SCRATCH_DO_CRASH : arm(scratch, SCRATCH_DO_CRASH, 0);
    case SCRATCH_SILENCE:
        return arm(scratch, SCRATCH_DO_SILENCE, 0);
    case SCRATCH_GARBAGE:
        return arm(scratch, SCRATCH_DO_GARBAGE, value);
    default:
        return SCRATCH_ANSWER;
    }
}

enum scratch_action scratch_read(struct scratch *scratch, uint64_t offset, unsigned size, uint64_t *ret_value,
                                 uint32_t *ret_argument) {
    uint64_t value = 0, control;

    if (is_control(scratch, offset, size)) {
        control = control_register(scratch, offset, size);
        *ret_value = control == SCRATCH_WRITES ? scratch->writes : control == SCRATCH_READS ? scratch->reads : 0;
    } else {
        scratch->reads++;
        memcpy(&value, scratch->memory + offset, size);
        *ret_value = le64toh(value);
    }
    return take_action(scratch, ret_argument);
}

enum scratch_action scratch_write(struct scratch *scratch, uint64_t offset, unsigned size, uint64_t value,
                                  uint32_t *ret_argument) {
    enum scratch_action action = take_action(scratch, ret_argument), now;

    if (is_control(scratch, offset, size)) {
        now = write_control(scratch, control_register(scratch, offset, size), value);
        return now == SCRATCH_ANSWER ? action : now;
    }
    scratch->writes++;
    value = htole64(value);
    memcpy(scratch->memory + offset, &value, size);
    return action;
}
