/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <json-c/json.h>
#include <string.h>

#include "policy/json-scan.h"
#include "policy/json-string.h"

struct scanner {
    struct json_document *document;
    const char *text;
    size_t size, at;
    size_t line_start;
    uint32_t line;
    char **ret_error;
};

static struct place here(const struct scanner *s) {
    return (struct place){s->document->name, s->line, (uint32_t) (s->at - s->line_start + 1)};
}

/* The next byte, -1 at the end. */
static int peek(const struct scanner *s) {
    return s->at < s->size ? (unsigned char) s->text[s->at] : -1;
}

static bool take(struct scanner *s, char wanted) {
    if (peek(s) != wanted)
        return false;
    s->at++;
    return true;
}

static void skip_space(struct scanner *s) {
    for (; s->at < s->size && strchr(" \t\r\n", s->text[s->at]) && s->text[s->at]; s->at++)
        if (s->text[s->at] == '\n') {
            s->line++;
            s->line_start = s->at + 1;
        }
}

/* Something else stands where @wanted should. */
static int unexpected(struct scanner *s, const char *wanted) {
    int c = peek(s);

    if (c < 0)
        return fail_at(s->ret_error, here(s), "the text ends early; expected %s", wanted);
    if (c == '/' || c == '#')
        return fail_at(s->ret_error, here(s), "JSON has no comments; expected %s", wanted);
    if (c == '\'')
        return fail_at(s->ret_error, here(s), "single quotes are not JSON; write double quotes");
    if (c < ' ' || c > '~')
        return fail_at(s->ret_error, here(s), "unexpected byte 0x%02x; expected %s", (unsigned) c, wanted);
    return fail_at(s->ret_error, here(s), "unexpected '%c'; expected %s", c, wanted);
}

/* Open a node at the place reached. Nodes move when their array grows: *ret_index stays. */
static int open_node(struct scanner *s, enum json_kind kind, size_t *ret_index) {
    struct json_document *d = s->document;
    struct place place = here(s);

    if (d->n_nodes == d->room) {
        size_t room = d->room ? 2 * d->room : 64;
        struct json_node *nodes = reallocarray(d->nodes, room, sizeof(*nodes));

        if (!nodes)
            return -ENOMEM;
        d->nodes = nodes;
        d->room = room;
    }
    *ret_index = d->n_nodes++;
    d->nodes[*ret_index] =
        (struct json_node){.kind = kind, .offset = (uint32_t) s->at, .line = place.line, .column = place.column};
    return 0;
}

static int close_node(struct scanner *s, size_t index, uint64_t number) {
    struct json_node *node = &s->document->nodes[index];

    node->size = (uint32_t) s->at - node->offset;
    node->span = (uint32_t) (s->document->n_nodes - index);
    node->number = number;
    return 0;
}

static int scan_string(struct scanner *s) {
    const char *problem = NULL;
    size_t index, decoded;
    int r;

    if (peek(s) != '"')
        return unexpected(s, "a string in double quotes");
    r = open_node(s, JSON_STRING, &index);
    if (r < 0)
        return r;
    s->at += json_string_length(s->text + s->at, s->size - s->at, &decoded, &problem);
    if (problem)
        return fail_at(s->ret_error, here(s), "%s", problem);
    return close_node(s, index, decoded);
}

static int scan_number(struct scanner *s) {
    uint64_t number = 0;
    size_t index, start = s->at;
    int r;

    r = open_node(s, JSON_NUMBER, &index);
    if (r < 0)
        return r;
    for (int c; c = peek(s), c >= '0' && c <= '9'; s->at++)
        if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, (unsigned) c - '0', &number))
            return fail_at(s->ret_error, here(s), "number is too large; 18446744073709551615 is the largest");
    if (s->at - start > 1 && s->text[start] == '0')
        return fail_at(s->ret_error, here(s), "a number must not begin with 0; hexadecimal goes in a string: \"0x10\"");
    if (peek(s) > 0 && strchr(".eExX+-", peek(s)))
        return fail_at(s->ret_error, here(s), "only whole decimal numbers are known; others go in strings: \"0x10\"");
    return close_node(s, index, number);
}

static int scan_word(struct scanner *s) {
    static const struct {
        const char *word;
        enum json_kind kind;
        uint64_t value;
    } words[] = {{"null", JSON_NULL, 0}, {"false", JSON_BOOLEAN, 0}, {"true", JSON_BOOLEAN, 1}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t index, size = strlen(words[i].word);
        int r;

        if (s->size - s->at < size || memcmp(s->text + s->at, words[i].word, size))
            continue;
        r = open_node(s, words[i].kind, &index);
        if (r < 0)
            return r;
        s->at += size;
        return close_node(s, index, words[i].value);
    }
    return unexpected(s, "a value: \"text\", a whole number, true, false, [...] or {...}");
}

static int scan_value(struct scanner *s, unsigned depth);

/* Keys are compared as they are written, which is why they may hold no backslash. */
static int scan_key(struct scanner *s, size_t object) {
    const struct json_node *key, *other;
    size_t index = s->document->n_nodes;
    int r;

    skip_space(s);
    r = scan_string(s);
    if (r < 0)
        return r;
    key = &s->document->nodes[index];
    if (memchr(s->text + key->offset, '\\', key->size))
        return fail_at(s->ret_error, json_place(s->document, key), "a key must be written without backslashes");
    for (other = &s->document->nodes[object] + 1; other < key; other = json_next(other + 1))
        if (other->size == key->size && !memcmp(s->text + other->offset, s->text + key->offset, key->size))
            return fail_at(s->ret_error, json_place(s->document, key), "duplicate key %.*s; the first is in line %u",
                           (int) key->size, s->text + key->offset, other->line);
    skip_space(s);
    return take(s, ':') ? 0 : unexpected(s, "':' and a value");
}

static int scan_object(struct scanner *s, unsigned depth) {
    size_t index;
    uint64_t n = 0;
    int r;

    r = open_node(s, JSON_OBJECT, &index);
    if (r < 0)
        return r;
    s->at++;
    for (skip_space(s); !take(s, '}'); n++, skip_space(s)) {
        if (n == JSON_MEMBERS_MAX)
            return fail_at(s->ret_error, here(s), "too many keys in one object; %d are the most", JSON_MEMBERS_MAX);
        if (n && !take(s, ','))
            return unexpected(s, "',' or '}'");
        r = scan_key(s, index);
        if (r >= 0)
            r = scan_value(s, depth + 1);
        if (r < 0)
            return r;
    }
    return close_node(s, index, n);
}

static int scan_array(struct scanner *s, unsigned depth) {
    size_t index;
    uint64_t n = 0;
    int r;

    r = open_node(s, JSON_ARRAY, &index);
    if (r < 0)
        return r;
    s->at++;
    for (skip_space(s); !take(s, ']'); n++, skip_space(s)) {
        if (n && !take(s, ','))
            return unexpected(s, "',' or ']'");
        r = scan_value(s, depth + 1);
        if (r < 0)
            return r;
    }
    return close_node(s, index, n);
}

static int scan_value(struct scanner *s, unsigned depth) {
    int c;

    skip_space(s);
    c = peek(s);
    if ((c == '{' || c == '[') && depth == JSON_DEPTH_MAX)
        return fail_at(s->ret_error, here(s), "nested too deeply; %d levels are the most", JSON_DEPTH_MAX);
    if (c == '{')
        return scan_object(s, depth);
    if (c == '[')
        return scan_array(s, depth);
    if (c == '"')
        return scan_string(s);
    if (c >= '0' && c <= '9')
        return scan_number(s);
    if (c == '-')
        return fail_at(s->ret_error, here(s), "negative numbers mean nothing here; 0 is the smallest");
    return scan_word(s);
}

static int scan_text(struct scanner *s) {
    int r;

    if (s->size > JSON_SIZE_MAX)
        return fail_at(s->ret_error, here(s), "the text has %zu bytes; %zu are the most", s->size, JSON_SIZE_MAX);
    r = scan_value(s, 0);
    if (r < 0)
        return r;
    skip_space(s);
    return s->at == s->size ? 0 : unexpected(s, "the end of the text");
}

int json_scan(const char *name, const char *text, size_t size, struct json_document **ret_document, char **ret_error) {
    _cleanup_(json_document_freep) struct json_document *d = calloc(1, sizeof(*d));
    struct scanner s = {.document = d, .text = text, .size = size, .line = 1, .ret_error = ret_error};
    int r;

    *ret_error = NULL;
    if (!d)
        return -ENOMEM;
    d->name = strdup(name);
    if (!d->name)
        return -ENOMEM;
    r = scan_text(&s);
    if (r < 0)
        return r;
    d->text = malloc(size);
    d->tokener = json_tokener_new();
    if (!d->text || !d->tokener)
        return -ENOMEM;
    memcpy(d->text, text, size);
    json_tokener_set_flags(d->tokener, JSON_TOKENER_STRICT);
    *ret_document = STEAL(d);
    return 0;
}

struct json_document *json_document_free(struct json_document *d) {
    if (!d)
        return NULL;
    free(d->name);
    free(d->text);
    free(d->nodes);
    if (d->tokener)
        json_tokener_free(d->tokener);
    free(d);
    return NULL;
}

char *json_decode(const struct json_document *d, const struct json_node *node) {
    struct json_object *string;
    char *copy = NULL;

    json_tokener_reset(d->tokener);
    string = json_tokener_parse_ex(d->tokener, d->text + node->offset, (int) node->size);
    /* Short of memory, json-c returns NULL or cuts the string: the scanner knows how long it must be. */
    if (string && (uint64_t) json_object_get_string_len(string) == node->number)
        copy = strdup(json_object_get_string(string));
    json_object_put(string);
    return copy;
}

const char *json_kind_name(enum json_kind kind) {
    static const char *const names[] = {
        [JSON_NULL] = "null",       [JSON_BOOLEAN] = "true or false", [JSON_NUMBER] = "a number",
        [JSON_STRING] = "a string", [JSON_ARRAY] = "a list [...]",    [JSON_OBJECT] = "an object {...}"};

    return names[kind];
}
