/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "description.h"

#define REGION "{\"space\": \"pio\", \"base\": \"0x3f8\", \"size\": \"8\"}"

static struct description *parse(const char *text) {
    struct description *description = NULL;
    _cleanup_(freep) char *error = NULL;

    if (description_parse("d.json", text, strlen(text), &description, &error) < 0)
        fail_msg("refused: %s", error ? error : "out of memory");
    assert_null(error);
    return description;
}

/* Refused, at this place, with these words. */
static void assert_refused(const char *text, const char *where, const char *what) {
    struct description *const untouched = (struct description *) -1;
    struct description *description = untouched;
    _cleanup_(freep) char *error = NULL;

    assert_int_equal(description_parse("d.json", text, strlen(text), &description, &error), -EBADMSG);
    assert_ptr_equal(description, untouched);
    assert_non_null(error);
    assert_null(strchr(error, '\n'));
    if (strncmp(error, where, strlen(where)) != 0 || !strstr(error, what))
        fail_msg("expected '%s ... %s', got '%s'", where, what, error);
}

static void test_defaults(void **state) {
    _cleanup_(description_freep) struct description *d = parse("{\"version\": 1, \"regions\": [" REGION "]}");

    assert_int_equal(d->n_regions, 1);
    assert_int_equal(d->regions[0].space, IOREGION_PIO);
    assert_int_equal(d->regions[0].base, 0x3f8);
    assert_int_equal(d->regions[0].size, 8);
    assert_int_equal(d->regions[0].flags, 0);
    assert_int_equal(d->regions[0].user_data, 0);
    assert_int_equal(d->regions[0].channel, 0);
    assert_int_equal(d->options.struct_size, sizeof(d->options));
    assert_int_equal(d->options.channels, 1);
    assert_int_equal(d->options.require | d->options.want | d->options.timeout_usec, 0);
    assert_null(d->options.on_disconnect);
}

static void test_everything(void **state) {
    _cleanup_(description_freep) struct description *d =
        parse("{\"version\": 1, \"require\": [\"replay\"], \"want\": [\"posted-writes\"], \"channels\": 2,\n"
              " \"timeout\": \"250ms\", \"on-disconnect\": \"hold\", \"regions\": [\n"
              " {\"space\": \"mmio\", \"base\": \"0xd0000000\", \"size\": \"64K\", \"posted\": true, \"channel\": 1,\n"
              "  \"user-data\": \"0xfeed\"},\n" REGION "]}");

    assert_int_equal(d->options.require, IOREGION_FEATURE_REPLAY);
    assert_int_equal(d->options.want, IOREGION_FEATURE_POSTED_WRITES);
    assert_int_equal(d->options.channels, 2);
    assert_int_equal(d->options.timeout_usec, 250000);
    assert_string_equal(d->options.on_disconnect, "hold");
    assert_int_equal(d->n_regions, 2);
    assert_int_equal(d->regions[0].space, IOREGION_MMIO);
    assert_int_equal(d->regions[0].base, 0xd0000000);
    assert_int_equal(d->regions[0].size, 65536);
    assert_int_equal(d->regions[0].flags, IOREGION_REGION_POSTED);
    assert_int_equal(d->regions[0].channel, 1);
    assert_int_equal(d->regions[0].user_data, 0xfeed);
    assert_int_equal(d->regions[1].user_data, 1);
}

static void test_syntax(void **state) {
    assert_refused("", "d.json:1:1:", "");
    assert_refused("{\n  \"version\": 1,\n  \"regions\": [ " REGION ", ]\n}", "d.json:3:", "");
    assert_refused("{\"version\": 1, \"version\": 1, \"regions\": [" REGION "]}", "d.json:1:16:", "version");
    assert_refused("[]", "d.json:1:1:", "an object");
}

static void test_keys(void **state) {
    assert_refused("{\"version\": 1}", "d.json:1:1:", "\"regions\"");
    assert_refused("{\"regions\": [" REGION "]}", "d.json:1:1:", "\"version\"");
    assert_refused("{\"version\": 2, \"regions\": [" REGION "]}", "d.json:1:13:", "version 1");
    assert_refused("{\"version\": 1,\n \"region\": []}", "d.json:2:2:", "region");
    assert_refused("{\"version\": 1, \"regions\": [\n{\"space\": \"pio\", \"base\": 1016, \"size\": \"8\"}]}",
                   "d.json:2:26:", "\"base\" must be a string");
    assert_refused("{\"version\": 1, \"regions\": [\n{\"space\": \"io\", \"base\": \"0\", \"size\": \"8\"}]}",
                   "d.json:2:11:", "io");
}

#define ONE(members) "{\"version\": 1, \"regions\": [\n{" members "}]}"

/* Edge cases 7, 9, 10, 11. */
static void test_ranges(void **state) {
    assert_refused("{\"version\": 1, \"regions\": []}", "d.json:1:27:", "1 to 256 regions");
    assert_refused(ONE("\"space\": \"pio\", \"base\": \"0\", \"size\": \"0\""), "d.json:2:39:", "at least one byte");
    assert_refused(ONE("\"space\": \"pio\", \"base\": \"0xfffc\", \"size\": \"8\""), "d.json:2:26:", "0x10003");
    assert_refused(ONE("\"space\": \"mmio\", \"base\": \"0xffffffffffffffff\", \"size\": \"2\""),
                   "d.json:2:57:", "2^64");
    description_free(parse(ONE("\"space\": \"mmio\", \"base\": \"0xffffffffffffffff\", \"size\": \"1\"")));
    description_free(parse(ONE("\"space\": \"pio\", \"base\": \"0xfff8\", \"size\": \"8\"")));
}

static void test_what_does_not_fit_together(void **state) {
    assert_refused(ONE("\"space\": \"pio\", \"base\": \"0\", \"size\": \"8\", \"channel\": 1"), "d.json:2:55:", "1 is");
    assert_refused(ONE("\"space\": \"pio\", \"base\": \"0\", \"size\": \"8\", \"posted\": true"),
                   "d.json:2:54:", "posted-writes");
    assert_refused("{\"version\": 1, \"regions\": [" REGION ",\n"
                   " {\"space\": \"pio\", \"base\": \"0\", \"size\": \"8\", \"user-data\": \"0\"}]}",
                   "d.json:2:2:", "region 0");
    assert_refused("{\"version\": 1, \"channels\": 2, \"regions\": [" REGION "]}", "d.json:1:42:", "channel 1 has");
    assert_refused("{\"version\": 1, \"channels\": 0, \"regions\": [" REGION "]}", "d.json:1:28:", "at least one");
    assert_refused("{\"version\": 1, \"channels\": 65, \"regions\": [" REGION "]}", "d.json:1:28:", "64");
    assert_refused("{\"version\": 1, \"timeout\": \"soon\", \"regions\": [" REGION "]}", "d.json:1:27:", "soon");
    assert_refused("{\"version\": 1, \"on-disconnect\": \"x\", \"regions\": [" REGION "]}", "d.json:1:33:", "hold");
    assert_refused("{\"version\": 1, \"want\": [\"speed\"], \"regions\": [" REGION "]}", "d.json:1:25:", "speed");
}

static void test_files(void **state) {
    _cleanup_(description_freep) struct description *d = NULL;
    _cleanup_(freep) char *error = NULL;

    assert_int_equal(description_load("/nonexistent/d.json", &d, &error), -ENOENT);
    assert_null(d);
    assert_string_equal(error, "/nonexistent/d.json: No such file or directory");
    free(STEAL(error));
    assert_int_equal(description_load("/", &d, &error), -EISDIR);
    free(STEAL(error));
    if (description_load(SOURCE_ROOT "/units/uart.json", &d, &error) < 0)
        fail_msg("%s", error);
    assert_int_equal(d->n_regions, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_everything),
        cmocka_unit_test(test_syntax),   cmocka_unit_test(test_keys),
        cmocka_unit_test(test_ranges),   cmocka_unit_test(test_what_does_not_fit_together),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
