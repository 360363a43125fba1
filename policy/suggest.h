/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_SUGGEST_H
#define POLICY_SUGGEST_H

/* What a misspelt word was meant to be. Pure. */

#define SUGGESTION_SIZE 320

/* "did you mean "limits"? Known are: ..."; @words ends with NULL. Returns @buffer, which has SUGGESTION_SIZE bytes. */
const char *suggest(const char *text, const char *const *words, char *buffer);

#endif
