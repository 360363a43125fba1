/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_JSON_STRING_H
#define POLICY_JSON_STRING_H

/* One JSON string literal: is it well-formed, and how long is it? Pure. */

#include <stddef.h>

/*
 * @text begins with the opening quote; at most @size bytes are read. Returns the bytes of the literal with both
 * quotes, and in *ret_decoded the bytes of the UTF-8 that it stands for. When it is not well-formed *ret_problem says
 * why, and the bytes up to the problem are returned.
 */
size_t json_string_length(const char *text, size_t size, size_t *ret_decoded, const char **ret_problem);

#endif
