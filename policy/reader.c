/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <string.h>

#include <ioregion/wire.h>

#include "internal/names.h"
#include "policy/quantity.h"
#include "policy/reader.h"
#include "policy/suggest.h"

static int expect(struct reader *r, const struct json_node *node, enum json_kind kind) {
    if (node->kind == kind)
        return 0;
    return READ_FAIL(r, node, "expected %s, not %s", json_kind_name(kind), json_kind_name(node->kind));
}

/* Unknown keys are refused, since a rule that is misspelt must not be a rule that is not there. */
static int unknown_key(struct reader *r, const struct json_node *key, const struct reader_key *keys, size_t n_keys) {
    const char *names[READER_KEYS_MAX + 1] = {NULL};
    _cleanup_(freep) char *text = json_decode(r->document, key);
    char hint[SUGGESTION_SIZE];

    if (!text)
        return -ENOMEM;
    for (size_t i = 0; i < n_keys; i++)
        names[i] = keys[i].name;
    return READ_FAIL(r, key, "unknown key \"%.40s\"; %s", text, suggest(text, names, hint));
}

static bool is_key(struct reader *r, const struct json_node *key, const char *name) {
    return key->size == strlen(name) + 2 && !memcmp(r->document->text + key->offset + 1, name, key->size - 2);
}

int read_object(struct reader *r, const struct json_node *node, const struct reader_key *keys, size_t n_keys,
                const struct json_node **ret_values) {
    const struct json_node *values[READER_KEYS_MAX] = {NULL}, *key = node + 1;
    int ret;

    ret = expect(r, node, JSON_OBJECT);
    if (ret < 0)
        return ret;
    for (uint64_t n = 0; n < node->number; n++, key = json_next(key + 1)) {
        size_t i = 0;

        while (i < n_keys && !is_key(r, key, keys[i].name))
            i++;
        if (i == n_keys)
            return unknown_key(r, key, keys, n_keys);
        if (key[1].kind != keys[i].kind)
            return READ_FAIL(r, key + 1, "\"%s\" must be %s, not %s", keys[i].name, json_kind_name(keys[i].kind),
                             json_kind_name(key[1].kind));
        values[i] = key + 1;
    }
    for (size_t i = 0; i < n_keys; i++)
        if (keys[i].required && !values[i])
            return READ_FAIL(r, node, "the key \"%s\" is missing; it takes %s", keys[i].name,
                             json_kind_name(keys[i].kind));
    memcpy(ret_values, values, n_keys * sizeof(*values));
    return 0;
}

int read_string(struct reader *r, const struct json_node *node, const char **ret_string) {
    _cleanup_(freep) char *decoded = NULL;
    const char *string;
    int ret;

    ret = expect(r, node, JSON_STRING);
    if (ret < 0)
        return ret;
    decoded = json_decode(r->document, node);
    string = decoded ? pool_strndup(r->pool, decoded, strlen(decoded)) : NULL;
    if (!string)
        return -ENOMEM;
    *ret_string = string;
    return 0;
}

int read_strings(struct reader *r, const struct json_node *node, const char ***ret_strings, size_t *ret_n) {
    const struct json_node *item = node + 1;
    const char **strings;
    int ret;

    ret = expect(r, node, JSON_ARRAY);
    if (ret < 0)
        return ret;
    strings = pool_alloc(r->pool, node->number, sizeof(*strings));
    if (!strings)
        return -ENOMEM;
    for (uint64_t i = 0; i < node->number; i++, item = json_next(item)) {
        ret = read_string(r, item, &strings[i]);
        if (ret < 0)
            return ret;
    }
    *ret_strings = strings;
    *ret_n = node->number;
    return 0;
}

int read_number(struct reader *r, const struct json_node *node, uint64_t max, uint64_t *ret_number) {
    int ret;

    ret = expect(r, node, JSON_NUMBER);
    if (ret < 0)
        return ret;
    if (node->number > max)
        return READ_FAIL(r, node, "%ju is too large; %ju is the most", (uintmax_t) node->number, (uintmax_t) max);
    *ret_number = node->number;
    return 0;
}

int read_numbers(struct reader *r, const struct json_node *node, uint32_t max, uint32_t **ret_numbers, size_t *ret_n) {
    const struct json_node *item = node + 1;
    uint32_t *numbers;
    int ret;

    ret = expect(r, node, JSON_ARRAY);
    if (ret < 0)
        return ret;
    numbers = pool_alloc(r->pool, node->number, sizeof(*numbers));
    if (!numbers)
        return -ENOMEM;
    for (uint64_t i = 0; i < node->number; i++, item = json_next(item)) {
        uint64_t number;

        ret = read_number(r, item, max, &number);
        if (ret < 0)
            return ret;
        numbers[i] = (uint32_t) number;
    }
    *ret_numbers = numbers;
    *ret_n = node->number;
    return 0;
}

/* A string that @parse must understand; @right tells what it does. */
static int read_parsed(struct reader *r, const struct json_node *node, bool (*parse)(const char *, uint64_t *),
                       const char *right, uint64_t *ret_value) {
    const char *text;
    int ret;

    if (node->kind == JSON_NUMBER)
        return READ_FAIL(r, node, "write the number as a string: %s", right);
    ret = read_string(r, node, &text);
    if (ret < 0)
        return ret;
    return parse(text, ret_value) ? 0 : READ_FAIL(r, node, "\"%.40s\" is not understood; write %s", text, right);
}

int read_quantity(struct reader *r, const struct json_node *node, uint64_t *ret_value) {
    return read_parsed(r, node, parse_quantity, "an address or size such as \"0x3f8\", \"8\" or \"64K\"", ret_value);
}

int read_duration(struct reader *r, const struct json_node *node, uint64_t *ret_usec) {
    return read_parsed(r, node, parse_duration, "a duration of at most a day, such as \"500ms\", \"1s\" or \"2min\"",
                       ret_usec);
}

int read_rate(struct reader *r, const struct json_node *node, uint64_t *ret_per_second) {
    return read_parsed(r, node, parse_rate, "a rate such as \"100/s\"", ret_per_second);
}

int read_name(struct reader *r, const struct json_node *node, const char **ret_name) {
    const char *name;
    int ret;

    ret = read_string(r, node, &name);
    if (ret < 0)
        return ret;
    if (!name_is_valid(name))
        return READ_FAIL(r, node,
                         "\"%.40s\" is no name; names are 1 to 64 of A-Z a-z 0-9 . _ -, "
                         "and begin with a letter or digit",
                         name);
    *ret_name = name;
    return 0;
}

int read_range(struct reader *r, const struct json_node *node, uint64_t *ret_first, uint64_t *ret_last) {
    uint64_t first, last;
    int ret;

    ret = expect(r, node, JSON_ARRAY);
    if (ret < 0)
        return ret;
    if (node->number != 2)
        return READ_FAIL(r, node, "a range is [\"FIRST\", \"LAST\"], both within it");
    ret = read_quantity(r, node + 1, &first);
    if (ret >= 0)
        ret = read_quantity(r, node + 2, &last);
    if (ret < 0)
        return ret;
    if (first > last)
        return READ_FAIL(r, node, "the range ends before it begins; write [\"FIRST\", \"LAST\"], both within it");
    *ret_first = first;
    *ret_last = last;
    return 0;
}

int read_choice(struct reader *r, const struct json_node *node, const char *const *choices, unsigned *ret_index) {
    char hint[SUGGESTION_SIZE];
    const char *text;
    int ret;

    ret = read_string(r, node, &text);
    if (ret < 0)
        return ret;
    for (unsigned i = 0; choices[i]; i++)
        if (!strcmp(text, choices[i])) {
            *ret_index = i;
            return 0;
        }
    return READ_FAIL(r, node, "unknown \"%.40s\"; %s", text, suggest(text, choices, hint));
}

int read_choices(struct reader *r, const struct json_node *node, const char *const *choices, unsigned *ret_bits) {
    const struct json_node *item = node + 1;
    unsigned bits = 0, index;
    int ret;

    ret = expect(r, node, JSON_ARRAY);
    for (uint64_t i = 0; ret >= 0 && i < node->number; i++, item = json_next(item)) {
        ret = read_choice(r, item, choices, &index);
        if (ret >= 0)
            bits |= 1u << index;
    }
    if (ret < 0)
        return ret;
    *ret_bits = bits;
    return 0;
}

int read_features(struct reader *r, const struct json_node *node, uint64_t *ret_features) {
    const char *names[65] = {NULL};
    unsigned bits;
    int ret;

    for (unsigned i = 0; i < 64 && feature_name(UINT64_C(1) << i); i++)
        names[i] = feature_name(UINT64_C(1) << i);
    ret = read_choices(r, node, names, &bits);
    if (ret >= 0)
        *ret_features = bits;
    return ret;
}

int read_space(struct reader *r, const struct json_node *node, uint32_t *ret_space) {
    unsigned space;
    int ret;

    ret = read_choice(r, node, space_names, &space);
    if (ret >= 0)
        *ret_space = space;
    return ret;
}
