/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The scratch registers, and the switches of their control page. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "clients/devices/scratch-registers.h"

#define SIZE    256
#define CONTROL (SIZE - SCRATCH_CONTROL_SIZE)

static uint8_t memory[SIZE];
static struct scratch scratch;
static uint32_t argument;

static int power_on(void **state) {
    memset(memory, 0, sizeof(memory));
    scratch = (struct scratch){.memory = memory, .size = SIZE, .controls = true};
    return 0;
}

static uint64_t peek(uint64_t offset, unsigned size) {
    uint64_t value = 0x1111;

    assert_int_equal(scratch_read(&scratch, offset, size, &value, &argument), SCRATCH_ANSWER);
    return value;
}

static void poke(uint64_t offset, unsigned size, uint64_t value) {
    assert_int_equal(scratch_write(&scratch, offset, size, value, &argument), SCRATCH_ANSWER);
}

/* What the next plain access is told to do first. */
static enum scratch_action due(void) {
    uint64_t value;

    return scratch_read(&scratch, 0, 1, &value, &argument);
}

/* Edge case 25: all sizes, both directions, at every offset, neighbours untouched. */
static void test_all_sizes_at_all_offsets(void **state) {
    for (unsigned size = 1; size <= 8; size *= 2)
        for (uint64_t offset = 1; offset + size < CONTROL; offset++) {
            uint64_t value = UINT64_C(0xf1e2d3c4b5a69788) >> (64 - 8 * size);

            memset(memory, 0x55, sizeof(memory));
            poke(offset, size, value);
            assert_int_equal(peek(offset, size), value);
            assert_int_equal(memory[offset], (uint8_t) value);
            assert_int_equal(memory[offset - 1], 0x55);
            assert_int_equal(memory[offset + size], 0x55);
        }
}

static void test_without_controls_the_end_is_memory(void **state) {
    scratch.controls = false;
    poke(CONTROL + SCRATCH_SILENCE, 4, 7);
    assert_int_equal(peek(CONTROL + SCRATCH_SILENCE, 4), 7);
    poke(SIZE - 8, 8, UINT64_MAX);
    assert_int_equal(peek(SIZE - 8, 8), UINT64_MAX);
}

static void test_counters(void **state) {
    poke(0, 4, 1);
    poke(4, 1, 2);
    peek(0, 8);
    assert_int_equal(peek(CONTROL + SCRATCH_WRITES, 4), 2);
    assert_int_equal(peek(CONTROL + SCRATCH_READS, 4), 1);
    poke(CONTROL + SCRATCH_WRITES, 4, 0);
    poke(CONTROL + SCRATCH_READS, 4, 40);
    peek(0, 8);
    assert_int_equal(peek(CONTROL + SCRATCH_WRITES, 4), 0);
    assert_int_equal(peek(CONTROL + SCRATCH_READS, 4), 41);
}

static void test_switches_are_armed_for_one_access(void **state) {
    static const struct {
        enum scratch_control control;
        uint32_t value;
        enum scratch_action action;
    } switches[] = {{SCRATCH_DELAY, 250, SCRATCH_DO_DELAY}, {SCRATCH_CRASH, 1, SCRATCH_DO_CRASH},
                    {SCRATCH_GARBAGE, 33, SCRATCH_DO_GARBAGE}};

    for (unsigned i = 0; i < sizeof(switches) / sizeof(*switches); i++) {
        poke(CONTROL + switches[i].control, 4, switches[i].value);
        assert_int_equal(due(), switches[i].action);
        if (switches[i].action != SCRATCH_DO_CRASH)
            assert_int_equal(argument, switches[i].value);
        assert_int_equal(due(), SCRATCH_ANSWER);
    }
}

static void test_an_armed_switch_catches_writes_too(void **state) {
    poke(CONTROL + SCRATCH_DELAY, 4, 9);
    assert_int_equal(scratch_write(&scratch, 0, 4, 1, &argument), SCRATCH_DO_DELAY);
    assert_int_equal(argument, 9);
    assert_int_equal(memory[0], 1);
}

static void test_crash_now(void **state) {
    assert_int_equal(scratch_write(&scratch, CONTROL + SCRATCH_CRASH, 4, 0, &argument), SCRATCH_DO_CRASH);
}

static void test_silence_stays(void **state) {
    poke(CONTROL + SCRATCH_SILENCE, 4, 1);
    assert_int_equal(due(), SCRATCH_DO_SILENCE);
    assert_int_equal(due(), SCRATCH_DO_SILENCE);
}

/* Edge case 26, from inside: what is not a whole 4-byte access to one control does nothing. */
static void test_partial_and_straddling_accesses_of_the_control_page(void **state) {
    poke(CONTROL + SCRATCH_SILENCE, 1, 1);
    poke(CONTROL + SCRATCH_SILENCE, 8, 1);
    poke(CONTROL + SCRATCH_SILENCE + 2, 4, 1);
    poke(CONTROL + 0x20, 4, 1);
    poke(CONTROL - 2, 4, UINT32_MAX);
    assert_int_equal(due(), SCRATCH_ANSWER);
    assert_int_equal(memory[CONTROL - 1], 0);
    assert_int_equal(peek(CONTROL - 4, 8), 0);
    assert_int_equal(peek(CONTROL + SCRATCH_SILENCE, 4), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all_sizes_at_all_offsets, power_on),
        cmocka_unit_test_setup(test_without_controls_the_end_is_memory, power_on),
        cmocka_unit_test_setup(test_counters, power_on),
        cmocka_unit_test_setup(test_switches_are_armed_for_one_access, power_on),
        cmocka_unit_test_setup(test_an_armed_switch_catches_writes_too, power_on),
        cmocka_unit_test_setup(test_crash_now, power_on),
        cmocka_unit_test_setup(test_silence_stays, power_on),
        cmocka_unit_test_setup(test_partial_and_straddling_accesses_of_the_control_page, power_on),
    };

    return cmocka_run_group_tests_name("scratch", tests, NULL, NULL);
}
