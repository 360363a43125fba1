/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Typed reading, and the words and quantities that it knows. */

#include <ioregion/wire.h>

#include "policy-test.h"
#include "internal/names.h"
#include "policy/negotiate.h"
#include "policy/quantity.h"
#include "policy/reader.h"
#include "policy/suggest.h"

/* One text, read. */
struct fixture {
    struct json_document *document;
    struct pool pool;
    struct reader reader;
    char *error;
};

static const struct json_node *begin(struct fixture *f, const char *text) {
    *f = (struct fixture){0};
    assert_int_equal(json_scan("t", text, strlen(text), &f->document, &f->error), 0);
    f->reader = (struct reader){.document = f->document, .pool = &f->pool, .ret_error = &f->error};
    return f->document->nodes;
}

static void end(struct fixture *f) {
    json_document_free(f->document);
    pool_clear(&f->pool);
    free(f->error);
}

/* The read said @r: nothing wrong, or the one line. */
static void expect(struct fixture *f, int r, const char *error) {
    if (error) {
        assert_int_equal(r, -EBADMSG);
        assert_string_equal(f->error, error);
    } else {
        assert_int_equal(r, 0);
        assert_null(f->error);
    }
    end(f);
}

static void test_object(void **state) {
    static const struct reader_key keys[] = {{"name", JSON_STRING, true}, {"limits", JSON_OBJECT}, {"on", JSON_BOOLEAN}};
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"{\"name\":\"x\"}", NULL},
        {"{\"on\":true,\"limits\":{\"a\":[]},\"name\":\"x\"}", NULL},
        {"[]", "t:1:1: expected an object {...}, not a list [...]"},
        {"{}", "t:1:1: the key \"name\" is missing; it takes a string"},
        {"{\"name\":1}", "t:1:9: \"name\" must be a string, not a number"},
        {"{\"name\":null}", "t:1:9: \"name\" must be a string, not null"},
        {"{\"name\":\"x\",\"limit\":{}}", "t:1:13: unknown key \"limit\"; did you mean \"limits\"? known: name, limits, on"},
        {"{\"nam\xc3\xa9\":\"x\"}", "t:1:2: unknown key \"nam??\"; did you mean \"name\"? known: name, limits, on"},
        {"{\"quite-another\":1}", "t:1:2: unknown key \"quite-another\"; known: name, limits, on"},
        {"{\"nam\":1}", "t:1:2: unknown key \"nam\"; did you mean \"name\"? known: name, limits, on"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct json_node *found[3] = {(void *) 1, (void *) 1, (void *) 1};
        struct fixture f;
        const struct json_node *node = begin(&f, cases[i].text);
        int r = READ_OBJECT(&f.reader, node, keys, found);

        if (r >= 0) {
            assert_int_equal(found[0]->kind, JSON_STRING);
            assert_int_equal(!found[1], !found[2]);
        } else
            assert_ptr_equal(found[0], (void *) 1);
        expect(&f, r, cases[i].error);
    }
}

static void test_values(void **state) {
    static const char *const choices[] = {"ones", "hold", NULL};
    uint64_t number = 0, last = 0;
    const char *text, **texts;
    uint32_t *numbers, space;
    struct fixture f;
    unsigned bits;
    size_t n;

    expect(&f, read_string(&f.reader, begin(&f, "1"), &text), "t:1:1: expected a string, not a number");
    expect(&f, read_strings(&f.reader, begin(&f, "[\"a\",true]"), &texts, &n),
           "t:1:6: expected a string, not true or false");
    expect(&f, read_strings(&f.reader, begin(&f, "{}"), &texts, &n),
           "t:1:1: expected a list [...], not an object {...}");
    expect(&f, read_strings(&f.reader, begin(&f, "[\"a\",\"b\"]"), &texts, &n), NULL);
    assert_int_equal(n, 2);
    expect(&f, read_number(&f.reader, begin(&f, "7"), 7, &number), NULL);
    assert_int_equal(number, 7);
    expect(&f, read_number(&f.reader, begin(&f, "8"), 7, &number), "t:1:1: 8 is too large; 7 is the most");
    expect(&f, read_number(&f.reader, begin(&f, "\"8\""), 7, &number), "t:1:1: expected a number, not a string");
    expect(&f, read_numbers(&f.reader, begin(&f, "[1,2,9]"), 8, &numbers, &n), "t:1:6: 9 is too large; 8 is the most");
    expect(&f, read_numbers(&f.reader, begin(&f, "1"), 8, &numbers, &n), "t:1:1: expected a list [...], not a number");
    expect(&f, read_name(&f.reader, begin(&f, "\"a.b\""), &text), NULL);
    expect(&f, read_name(&f.reader, begin(&f, "[]"), &text), "t:1:1: expected a string, not a list [...]");
    expect(&f, read_name(&f.reader, begin(&f, "\"a\\nb\""), &text),
           "t:1:1: \"a?b\" is no name; names are 1 to 64 of A-Z a-z 0-9 . _ -, and begin with a letter or digit");
    expect(&f, read_range(&f.reader, begin(&f, "[\"0x10\",\"0x1f\"]"), &number, &last), NULL);
    assert_int_equal(number, 0x10);
    assert_int_equal(last, 0x1f);
    expect(&f, read_range(&f.reader, begin(&f, "[\"1\"]"), &number, &last),
           "t:1:1: a range is [\"FIRST\", \"LAST\"], both within it");
    expect(&f, read_range(&f.reader, begin(&f, "[\"2\",\"1\"]"), &number, &last),
           "t:1:1: the range ends before it begins; write [\"FIRST\", \"LAST\"], both within it");
    expect(&f, read_range(&f.reader, begin(&f, "[\"2\",\"x\"]"), &number, &last),
           "t:1:6: \"x\" is not understood; write an address or size such as \"0x3f8\", \"8\" or \"64K\"");
    expect(&f, read_range(&f.reader, begin(&f, "{}"), &number, &last),
           "t:1:1: expected a list [...], not an object {...}");
    expect(&f, read_quantity(&f.reader, begin(&f, "16"), &number),
           "t:1:1: write the number as a string: an address or size such as \"0x3f8\", \"8\" or \"64K\"");
    expect(&f, read_quantity(&f.reader, begin(&f, "null"), &number), "t:1:1: expected a string, not null");
    expect(&f, read_duration(&f.reader, begin(&f, "\"1\""), &number),
           "t:1:1: \"1\" is not understood; write a duration of at most a day, such as \"500ms\", \"1s\" or \"2min\"");
    expect(&f, read_rate(&f.reader, begin(&f, "\"9\""), &number),
           "t:1:1: \"9\" is not understood; write a rate such as \"100/s\"");
    expect(&f, read_choices(&f.reader, begin(&f, "[\"hold\",\"ones\",\"hold\"]"), choices, &bits), NULL);
    assert_int_equal(bits, 3);
    expect(&f, read_choices(&f.reader, begin(&f, "[\"Hold\"]"), choices, &bits),
           "t:1:2: unknown \"Hold\"; did you mean \"hold\"? known: ones, hold");
    expect(&f, read_choices(&f.reader, begin(&f, "7"), choices, &bits), "t:1:1: expected a list [...], not a number");
    expect(&f, read_choice(&f.reader, begin(&f, "7"), choices, &bits), "t:1:1: expected a string, not a number");
    expect(&f, read_features(&f.reader, begin(&f, "[\"replay\",\"state\"]"), &number), NULL);
    assert_int_equal(number, IOREGION_FEATURE_REPLAY | IOREGION_FEATURE_STATE);
    expect(&f, read_features(&f.reader, begin(&f, "[\"posted-write\"]"), &number),
           "t:1:2: unknown \"posted-write\"; did you mean \"posted-writes\"? "
           "known: posted-writes, replay, out-of-order, interrupts, state");
    expect(&f, read_space(&f.reader, begin(&f, "\"pio\""), &space), NULL);
    assert_int_equal(space, IOREGION_PIO);
    expect(&f, read_space(&f.reader, begin(&f, "\"io\""), &space),
           "t:1:1: unknown \"io\"; did you mean \"pio\"? known: mmio, pio");
}

static void test_quantities(void **state) {
    static const struct {
        bool (*parse)(const char *, uint64_t *);
        const char *text;
        bool valid;
        uint64_t value;
    } cases[] = {
        {parse_quantity, "0", true, 0},
        {parse_quantity, "0x3f8", true, 0x3f8},
        {parse_quantity, "0xDeadBeef", true, 0xdeadbeef},
        {parse_quantity, "010", true, 10},
        {parse_quantity, "4K", true, 4096},
        {parse_quantity, "0x10M", true, 16 << 20},
        {parse_quantity, "3G", true, UINT64_C(3) << 30},
        {parse_quantity, "1T", true, UINT64_C(1) << 40},
        {parse_quantity, "18446744073709551615", true, UINT64_MAX},
        {parse_quantity, "0xffffffffffffffff", true, UINT64_MAX},
        {parse_quantity, "18446744073709551616", false, 0},
        {parse_quantity, "0x10000000000000000", false, 0},
        {parse_quantity, "16777216T", false, 0},
        {parse_quantity, "", false, 0},
        {parse_quantity, "0x", false, 0},
        {parse_quantity, "0xg", false, 0},
        {parse_quantity, "0X10", false, 0},
        {parse_quantity, "ff", false, 0},
        {parse_quantity, "-1", false, 0},
        {parse_quantity, "+1", false, 0},
        {parse_quantity, " 1", false, 0},
        {parse_quantity, "1 ", false, 0},
        {parse_quantity, "4k", false, 0},
        {parse_quantity, "4KB", false, 0},
        {parse_quantity, "K", false, 0},
        {parse_duration, "7us", true, 7},
        {parse_duration, "500ms", true, 500000},
        {parse_duration, "1s", true, 1000000},
        {parse_duration, "2min", true, 120000000},
        {parse_duration, "24h", true, UINT64_C(86400000000)},
        {parse_duration, "25h", false, 0},
        {parse_duration, "18446744073709551615h", false, 0},
        {parse_duration, "1", false, 0},
        {parse_duration, "1.5s", false, 0},
        {parse_duration, "0x1s", false, 0},
        {parse_duration, "as", false, 0},
        {parse_rate, "100/s", true, 100},
        {parse_rate, "100", false, 0},
        {parse_rate, "100/m", false, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t value = 77;

        if (cases[i].parse(cases[i].text, &value) != cases[i].valid)
            fail_msg("%s", cases[i].text);
        assert_true(value == (cases[i].valid ? cases[i].value : 77));
    }
}

static void test_suggestions(void **state) {
    static const char *const words[] = {"regions", "within", NULL};
    char buffer[SUGGESTION_SIZE];

    assert_string_equal(suggest("region", words, buffer), "did you mean \"regions\"? known: regions, within");
    assert_string_equal(suggest("wihtin", words, buffer), "did you mean \"within\"? known: regions, within");
    assert_string_equal(suggest("", words, buffer), "known: regions, within");
    assert_string_equal(suggest("regionsregionsregionsregionsregionsregions", words, buffer), "known: regions, within");
}

static void test_features(void **state) {
    for (uint64_t bit = 1; bit <= IOREGION_FEATURES_ALL; bit <<= 1)
        assert_true(feature_from_name(feature_name(bit)) == bit);
    assert_null(feature_name(IOREGION_FEATURES_ALL + 1));
    assert_null(feature_name(0));
    assert_null(feature_name(3));
    assert_int_equal(feature_from_name("posted"), 0);
    assert_string_equal(feature_name(IOREGION_FEATURE_POSTED_WRITES), "posted-writes");
}

/* 62: a required feature is granted or refused, never left out; every combination of the low two bits. */
static void test_62_negotiation(void **state) {
    for (unsigned i = 0; i < 1024; i++) {
        struct negotiation n = {i & 3, i >> 2 & 3, i >> 4 & 3, i >> 6 & 3, i >> 8 & 3};
        uint64_t granted = 99, feature = 99, all = n.dispatcher & n.ceiling & n.policy;
        const char *party = "";
        int r = negotiate(&n, &granted, &feature, &party);

        if (n.require & ~all) {
            uint64_t theirs = !strcmp(party, "dispatcher") ? n.dispatcher
                              : !strcmp(party, "VM ceiling") ? n.ceiling : n.policy;

            assert_int_equal(r, -EOPNOTSUPP);
            assert_int_equal(granted, 99);
            assert_true(n.require & feature);
            assert_false(theirs & feature);
            assert_true(feature == 1 || feature == 2);
        } else {
            assert_int_equal(r, 0);
            assert_true(granted == (n.require | (n.want & all)));
            assert_int_equal(feature, 99);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_object),      cmocka_unit_test(test_values),   cmocka_unit_test(test_quantities),
        cmocka_unit_test(test_suggestions), cmocka_unit_test(test_features), cmocka_unit_test(test_62_negotiation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
