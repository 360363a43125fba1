/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "internal/cleanup.h"
#include "table.h"
#include "text.h"

static const char *const titles[] = {"VM", ">PID", "UNIT"};

static void assert_table(const char *const *cells, size_t n_cells, bool legend, const char *expected) {
    struct table table = TABLE(titles);
    _cleanup_(freep) char *printed = NULL;
    size_t size;
    FILE *file = open_memstream(&printed, &size);

    assert_non_null(file);
    for (size_t i = 0; i < n_cells; i++)
        assert_int_equal(table_add(&table, cells[i]), 0);
    table_print(&table, file, legend);
    table_done(&table);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(printed, expected);
}

#define ASSERT_TABLE(legend, expected, ...)                                                                            \
    do {                                                                                                               \
        static const char *const cells[] = {__VA_ARGS__};                                                              \
        assert_table(cells, sizeof(cells) / sizeof(cells[0]), legend, expected);                                       \
    } while (0)

static void test_columns_are_as_wide_as_their_widest_cell(void **state) {
    ASSERT_TABLE(true,
                 "VM        PID  UNIT\n"
                 "alpha       7  vm-alpha.service\n"
                 "b      123456  x\n",
                 "alpha", "7", "vm-alpha.service", "b", "123456", "x");
}

static void test_titles_count_for_the_width_only_when_shown(void **state) {
    ASSERT_TABLE(true, "VM  PID  UNIT\na     1  u\n", "a", "1", "u");
    ASSERT_TABLE(false, "a  1  u\n", "a", "1", "u");
}

static void test_empty_cells_and_tables(void **state) {
    struct table table = TABLE(titles);
    char buffer[64] = "";
    FILE *file = fmemopen(buffer, sizeof(buffer), "w");

    assert_non_null(file);
    table_print(&table, file, true);
    fclose(file);
    table_done(&table);
    assert_string_equal(buffer, "VM  PID  UNIT\n");
    ASSERT_TABLE(false, "a  1  -\n", "a", "1", "");
}

static void test_a_row_that_is_not_full_is_not_printed(void **state) {
    ASSERT_TABLE(false, "a  1  u\n", "a", "1", "u", "b", "2");
}

/* Edge case 61: no name moves the cursor, or passes for a row of its own. */
static void test_control_characters_are_escaped(void **state) {
    ASSERT_TABLE(false, "a\\x1b[2J  1  \\x0aroot\\x7f\\x09\n", "a\033[2J", "1", "\nroot\177\t");
}

static void assert_escaped(const char *text, const char *expected, size_t width) {
    _cleanup_(freep) char *escaped = text_escape(text);

    assert_string_equal(escaped, expected);
    assert_int_equal(text_width(escaped), width);
}

static void test_utf8_is_kept_where_it_is_visible(void **state) {
    if (!setlocale(LC_CTYPE, "C.UTF-8")) {
        print_message("# no locale C.UTF-8\n");
        skip();
    }
    assert_escaped("J\303\274rgen", "J\303\274rgen", 6);
    assert_escaped("\344\270\255", "\344\270\255", 2);
    assert_escaped("a\302\233m", "a\\xc2\\x9bm", 10);          /* a control character of the upper half */
    assert_escaped("a\342\200\256b", "a\\xe2\\x80\\xaeb", 14); /* turns the direction of what follows */
    assert_escaped("\303", "\\xc3", 4);                        /* cut short */
    setlocale(LC_CTYPE, "C");
    assert_escaped("J\303\274", "J\\xc3\\xbc", 9);
}

static void assert_text(char *text, const char *expected) {
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static void test_sizes(void **state) {
    assert_text(text_size(0), "0");
    assert_text(text_size(8), "8");
    assert_text(text_size(1023), "1023");
    assert_text(text_size(1024), "1K");
    assert_text(text_size(4097), "4097");
    assert_text(text_size(UINT64_C(1536) << 10), "1536K");
    assert_text(text_size(UINT64_C(1) << 63), "8E");
    assert_text(text_size(UINT64_MAX), "18446744073709551615");
}

static void test_times(void **state) {
    assert_text(text_usec(0), "0s");
    assert_text(text_usec(1), "1us");
    assert_text(text_usec(250000), "250ms");
    assert_text(text_usec(1500000), "1500ms");
    assert_text(text_usec(60000000), "60s");
    assert_text(text_usec(UINT64_MAX), "infinity");
    setenv("TZ", "UTC", 1);
    assert_text(text_time(UINT64_C(1700000000123456)), "2023-11-14 22:13:20.123");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(test_titles_count_for_the_width_only_when_shown),
        cmocka_unit_test(test_empty_cells_and_tables),
        cmocka_unit_test(test_a_row_that_is_not_full_is_not_printed),
        cmocka_unit_test(test_control_characters_are_escaped),
        cmocka_unit_test(test_utf8_is_kept_where_it_is_visible),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
