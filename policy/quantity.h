/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_QUANTITY_H
#define POLICY_QUANTITY_H

/* Numbers as people write them. Pure; true on success, else nothing is set. */

#include <stdbool.h>
#include <stdint.h>

/* Addresses and sizes: "0x3f8", "4096", "64K"; K, M, G and T are powers of 1024. */
bool parse_quantity(const char *text, uint64_t *ret_value);

/* Durations: "500ms"; the units are us, ms, s, min and h. At most a day. */
bool parse_duration(const char *text, uint64_t *ret_usec);

/* Rates: "100/s". */
bool parse_rate(const char *text, uint64_t *ret_per_second);

#endif
