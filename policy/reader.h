/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_READER_H
#define POLICY_READER_H

/*
 * Typed reading of a scanned JSON text: policies, device descriptions, manifests.
 *
 * Every function returns 0, -EBADMSG with the error set (which place, what is wrong, what would be right), or
 * -ENOMEM. Nothing is set on failure. Strings live in the reader's pool.
 */

#include "policy/json-scan.h"
#include "policy/pool.h"

struct reader {
    const struct json_document *document;
    struct pool *pool;
    char **ret_error; /* the first error, for the caller to free */
};

/* One key that an object may have. */
struct reader_key {
    const char *name;
    enum json_kind kind;
    bool required;
};

#define READER_KEYS_MAX 16

/*
 * Read an object: every key must be known and of its kind, every required one there. ret_values[i] is the value of
 * keys[i], NULL where it is absent. Use READ_OBJECT for an array of keys.
 */
int read_object(struct reader *r, const struct json_node *node, const struct reader_key *keys, size_t n_keys,
                const struct json_node **ret_values);
#define READ_OBJECT(r, node, keys, ret_values) read_object(r, node, keys, sizeof(keys) / sizeof((keys)[0]), ret_values)

/* These refuse a node of another kind. */
int read_string(struct reader *r, const struct json_node *node, const char **ret_string);
int read_strings(struct reader *r, const struct json_node *node, const char ***ret_strings, size_t *ret_n);
int read_number(struct reader *r, const struct json_node *node, uint64_t max, uint64_t *ret_number);
int read_numbers(struct reader *r, const struct json_node *node, uint32_t max, uint32_t **ret_numbers, size_t *ret_n);
int read_name(struct reader *r, const struct json_node *node, const char **ret_name);
int read_quantity(struct reader *r, const struct json_node *node, uint64_t *ret_value);
int read_duration(struct reader *r, const struct json_node *node, uint64_t *ret_usec);
int read_rate(struct reader *r, const struct json_node *node, uint64_t *ret_per_second);

/* ["FIRST", "LAST"], both within the range. */
int read_range(struct reader *r, const struct json_node *node, uint64_t *ret_first, uint64_t *ret_last);

/* One of @choices, or a list of them as bits 1 << index; @choices ends with NULL. */
int read_choice(struct reader *r, const struct json_node *node, const char *const *choices, unsigned *ret_index);
int read_choices(struct reader *r, const struct json_node *node, const char *const *choices, unsigned *ret_bits);

/* A list of feature names, as IOREGION_FEATURE_*. */
int read_features(struct reader *r, const struct json_node *node, uint64_t *ret_features);

/* "mmio" or "pio", as enum ioregion_space. */
int read_space(struct reader *r, const struct json_node *node, uint32_t *ret_space);

/* Refuse @node in the caller's own words. */
#define READ_FAIL(r, node, ...) fail_at((r)->ret_error, json_place((r)->document, node), __VA_ARGS__)

#endif
