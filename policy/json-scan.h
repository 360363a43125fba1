/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_JSON_SCAN_H
#define POLICY_JSON_SCAN_H

/*
 * JSON, strictly: one pass finds every value and its place, and refuses what a lenient parser would let through.
 *
 * Refused: duplicate keys, keys with backslashes, comments, single quotes, trailing commas and text, raw control
 * characters, \u0000, invalid UTF-8, surrogate escapes, numbers that are no whole number of 0 to 2^64-1, nesting
 * deeper than JSON_DEPTH_MAX, texts longer than JSON_SIZE_MAX, objects of more than JSON_MEMBERS_MAX members.
 *
 * json-c decodes the strings, one at a time and only when they are read. It does not get to see the whole text: its
 * trees carry no places, cost up to 700 bytes for two bytes of text, and drop members in silence when memory is
 * short, which would turn a narrow rule into a wide one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "internal/cleanup.h"
#include "policy/message.h"

#define JSON_DEPTH_MAX 32
#define JSON_SIZE_MAX ((size_t) 1 << 20)
#define JSON_MEMBERS_MAX 256

enum json_kind {
    JSON_NULL,
    JSON_BOOLEAN,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* A value, or a key (a string). What an array or object holds follows it at once; in an object keys and values
 * alternate. */
struct json_node {
    enum json_kind kind;
    uint32_t offset, size; /* of its text in bytes */
    uint32_t span;         /* this node and all that it holds: node + span is what follows it */
    uint32_t line, column; /* from 1 */
    uint64_t number;       /* a number or boolean; elements of an array; members of an object; bytes of a string */
};

struct json_tokener;

struct json_document {
    char *name, *text;
    struct json_node *nodes; /* the first is the whole */
    size_t n_nodes, room;
    struct json_tokener *tokener;
};

/*
 * Scan @text, which is copied. -EBADMSG with *ret_error, one line for the caller to free, or -ENOMEM with *ret_error
 * NULL. @name is what messages call the text.
 */
int json_scan(const char *name, const char *text, size_t size, struct json_document **ret_document, char **ret_error);

struct json_document *json_document_free(struct json_document *document);
DEFINE_CLEANUP(json_document_free, struct json_document *);

static inline const struct json_node *json_next(const struct json_node *node) {
    return node + node->span;
}

static inline struct place json_place(const struct json_document *document, const struct json_node *node) {
    return (struct place){document->name, node->line, node->column};
}

/* The decoded string, for the caller to free; NULL when memory is short. */
char *json_decode(const struct json_document *document, const struct json_node *node);

/* "a string", "an object"... */
const char *json_kind_name(enum json_kind kind);

#endif
