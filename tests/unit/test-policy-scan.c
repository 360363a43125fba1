/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The scanner: what it refuses, where, and what it finds. Edge case 66. */

#include "policy-test.h"
#include "policy/json-scan.h"

static void refuses(const char *text, size_t size, const char *place, const char *part) {
    struct json_document *document = NULL;
    char *error = NULL, start[32];
    int r = json_scan("t", text, size, &document, &error);

    snprintf(start, sizeof(start), "t:%s: ", place);
    if (r != -EBADMSG || strncmp(error, start, strlen(start)) || !strstr(error, part))
        fail_msg("%.100s\n gave %d \"%s\"\n not %s... %s", text, r, error ?: "", start, part);
    assert_null(document);
    free(error);
}

static struct json_document *scan(const char *text) {
    struct json_document *document = NULL;
    char *error = NULL;

    if (json_scan("t", text, strlen(text), &document, &error) < 0)
        fail_msg("%s: %s", text, error);
    assert_null(error);
    return document;
}

static void test_refused(void **state) {
    static const struct {
        const char *text, *place, *part;
    } cases[] = {
        {"", "1:1", "ends early"},
        {" \n ", "2:2", "ends early"},
        {"{\"a\":1,\"a\":2}", "1:8", "duplicate key \"a\"; the first is in line 1"},
        {"{\"a\":1,\n\"b\":{\"a\":0},\"a\":2}", "2:13", "duplicate key"},
        {"{\"\\u0061\":1}", "1:2", "without backslashes"},
        {"{'a':1}", "1:2", "double quotes"},
        {"'a'", "1:1", "double quotes"},
        {"NaN", "1:1", "unexpected 'N'"},
        {"Infinity", "1:1", "unexpected 'I'"},
        {"-Infinity", "1:1", "negative"},
        {"[-0]", "1:2", "negative"},
        {"/* a */ 1", "1:1", "no comments"},
        {"1 // a", "1:3", "no comments"},
        {"# a\n1", "1:1", "no comments"},
        {"\"a\nb\"", "1:3", "control character"},
        {"\"a\tb\"", "1:3", "control character"},
        {"\"\\u0000\"", "1:2", "\\u0000"},
        {"\"\\u00g0\"", "1:2", "four hexadecimal"},
        {"\"\\u00", "1:2", "four hexadecimal"},
        {"\"\\u12\\u34\"", "1:2", "four hexadecimal"},
        {"\"\\ud800\"", "1:2", "surrogate"},
        {"\"\\ud800\\u0041\"", "1:2", "surrogate"},
        {"\"\\udc00\"", "1:2", "surrogate"},
        {"\"\\udc00\\ud800\"", "1:2", "surrogate"},
        {"\"\\ud836\\ude00\"", "1:2", "surrogate"},
        {"\"\\udfff\"", "1:2", "surrogate"},
        {"\"\\x\"", "1:2", "unknown escape"},
        {"\"\\", "1:2", "unknown escape"},
        {"\"\\'\"", "1:2", "unknown escape"},
        {"\"a", "1:3", "has no end"},
        {"\"", "1:2", "has no end"},
        {"\"\xff\"", "1:2", "UTF-8"},
        {"\"\x80\"", "1:2", "UTF-8"},
        {"\"\xc0\x80\"", "1:2", "UTF-8"},
        {"\"\xc1\xbf\"", "1:2", "UTF-8"},
        {"\"\xe0\x80\x80\"", "1:2", "UTF-8"},
        {"\"\xed\xa0\x80\"", "1:2", "UTF-8"},
        {"\"\xf0\x80\x80\x80\"", "1:2", "UTF-8"},
        {"\"\xf4\x90\x80\x80\"", "1:2", "UTF-8"},
        {"\"\xf8\x88\x80\x80\x80\"", "1:2", "UTF-8"},
        {"\"\xe2\x82\"", "1:2", "UTF-8"},
        {"\"\xe2\x82", "1:2", "UTF-8"},
        {"\xef\xbb\xbf{}", "1:1", "byte 0xef"},
        {"18446744073709551616", "1:20", "too large"},
        {"99999999999999999999999", "1:20", "too large"},
        {"01", "1:3", "begin with 0"},
        {"00", "1:3", "begin with 0"},
        {"1.5", "1:2", "whole decimal"},
        {"1e3", "1:2", "whole decimal"},
        {"0x10", "1:2", "whole decimal"},
        {"+1", "1:1", "unexpected '+'"},
        {"{} {}", "1:4", "end of the text"},
        {"{}x", "1:3", "end of the text"},
        {"truex", "1:5", "end of the text"},
        {"tru", "1:1", "unexpected 't'"},
        {"True", "1:1", "unexpected 'T'"},
        {"[1,]", "1:4", "unexpected ']'"},
        {"[,1]", "1:2", "unexpected ','"},
        {"[1 2]", "1:4", "',' or ']'"},
        {"[1", "1:3", "ends early"},
        {"[1}", "1:3", "',' or ']'"},
        {"{\"a\" 1}", "1:6", "':'"},
        {"{\"a\":}", "1:6", "unexpected '}'"},
        {"{\"a\":1,}", "1:8", "string in double quotes"},
        {"{\"a\":1 \"b\":2}", "1:8", "',' or '}'"},
        {"{a:1}", "1:2", "string in double quotes"},
        {"{1:1}", "1:2", "string in double quotes"},
        {"{", "1:2", "ends early"},
        {"]", "1:1", "unexpected ']'"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        refuses(cases[i].text, strlen(cases[i].text), cases[i].place, cases[i].part);
    refuses("1\0", 2, "1:2", "byte 0x00");
    refuses("\"a\0b\"", 5, "1:3", "control character");
    refuses("\"\\\0\"", 4, "1:2", "unknown escape");
}

static void test_depth(void **state) {
    char text[2 * JSON_DEPTH_MAX + 3];

    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    text[2 * JSON_DEPTH_MAX] = '\0';
    json_document_free(scan(text));
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    refuses(text, sizeof(text) - 1, "1:33", "nested too deeply");
}

static void test_size(void **state) {
    _cleanup_(freep) char *text = malloc(JSON_SIZE_MAX + 1);
    _cleanup_(json_document_freep) struct json_document *document = NULL;
    char *error;

    assert_non_null(text);
    memset(text, ' ', JSON_SIZE_MAX + 1);
    text[0] = '7';
    assert_int_equal(json_scan("t", text, JSON_SIZE_MAX, &document, &error), 0);
    refuses(text, JSON_SIZE_MAX + 1, "1:1", "1048577 bytes; 1048576 are the most");
    memset(text, '[', JSON_SIZE_MAX);
    refuses(text, JSON_SIZE_MAX, "1:33", "nested too deeply");
    memset(text, '\n', JSON_SIZE_MAX);
    refuses(text, JSON_SIZE_MAX, "1048577:1", "ends early");
}

static void test_members(void **state) {
    char text[16 * JSON_MEMBERS_MAX] = "{";
    size_t size = 1;

    for (int i = 0; i < JSON_MEMBERS_MAX; i++)
        size += (size_t) sprintf(text + size, "%s\"k%d\":0", i ? "," : "", i);
    strcpy(text + size, "}");
    json_document_free(scan(text));
    strcpy(text + size, ",\"x\":1}");
    refuses(text, strlen(text), "1:2195", "too many keys");
}

static void test_places(void **state) {
    struct json_document *d = scan("{ \"a\": [1,\r\n\t\"x\", {}],\n\n  \"b\" : true, \"c\":null,\"d\":false}");
    static const struct {
        enum json_kind kind;
        uint32_t span, line, column;
        uint64_t number;
    } nodes[] = {{JSON_OBJECT, 12, 1, 1, 4}, {JSON_STRING, 1, 1, 3, 1},  {JSON_ARRAY, 4, 1, 8, 3},
                 {JSON_NUMBER, 1, 1, 9, 1},  {JSON_STRING, 1, 2, 2, 1},  {JSON_OBJECT, 1, 2, 7, 0},
                 {JSON_STRING, 1, 4, 3, 1},  {JSON_BOOLEAN, 1, 4, 9, 1}, {JSON_STRING, 1, 4, 15, 1},
                 {JSON_NULL, 1, 4, 19, 0},   {JSON_STRING, 1, 4, 24, 1}, {JSON_BOOLEAN, 1, 4, 28, 0}};

    assert_int_equal(d->n_nodes, 12);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(d->nodes[i].kind, nodes[i].kind);
        assert_int_equal(d->nodes[i].span, nodes[i].span);
        assert_int_equal(d->nodes[i].line, nodes[i].line);
        assert_int_equal(d->nodes[i].column, nodes[i].column);
        assert_int_equal(d->nodes[i].number, nodes[i].number);
    }
    assert_ptr_equal(json_next(&d->nodes[2]), &d->nodes[6]);
    assert_int_equal(json_document_free(d), 0);
}

static void test_decoded(void **state) {
    static const struct {
        const char *text, *decoded;
    } cases[] = {
        {"\"\"", ""},
        {"\"a b\"", "a b"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20AC\\ud7ff\\ue000\\uFFFF\"",
         "A\xc3\xa9\xe2\x82\xac\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"},
        {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80\"",
         "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80"},
        {"\"\x7f\"", "\x7f"},
        {"\"ioregion-uart@a\\\\x2db.service\"", "ioregion-uart@a\\x2db.service"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(json_document_freep) struct json_document *d = scan(cases[i].text);
        _cleanup_(freep) char *decoded = json_decode(d, d->nodes);

        assert_string_equal(decoded, cases[i].decoded);
        assert_int_equal(d->nodes[0].number, strlen(cases[i].decoded));
    }
}

static void test_numbers(void **state) {
    struct json_document *d = scan("[0, 18446744073709551615, 10]");

    assert_int_equal(d->nodes[1].number, 0);
    assert_true(d->nodes[2].number == UINT64_MAX);
    assert_int_equal(d->nodes[3].number, 10);
    json_document_free(d);
    assert_null(json_document_free(NULL));
}

/* 61: what a text holds can't forge a second line, or bytes that are no text. */
static void test_61_message_is_one_printable_line(void **state) {
    struct json_document *document;
    char *error = NULL;

    assert_int_equal(json_scan("na\nme\x1b", "{\"\xc3\xa9\":1,\"\xc3\xa9\":1}", 17, &document, &error), -EBADMSG);
    assert_string_equal(error, "na?me?:1:9: duplicate key \"??\"; the first is in line 1");
    free(error);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_decoded),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_61_message_is_one_printable_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
