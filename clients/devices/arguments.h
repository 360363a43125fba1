/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DEVICES_ARGUMENTS_H
#define DEVICES_ARGUMENTS_H

/* What people type on the command lines of devices and VMMs. Each returns 0, or -EINVAL and sets nothing. Pure. */

#include <stdint.h>

#include <ioregion/vmm.h>

/* "1024", "0x3f8", "4K", "1M", "2G"; at least @min, at most @max. */
int argument_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);

/* "mmio" or "pio". */
int argument_space(const char *text, uint32_t *ret_space);

/* "SPACE:BASE:SIZE", as "pio:0xe9:1". */
int argument_range(const char *text, struct ioregion_range *ret_range);

/* Feature names with commas between, as "posted-writes,replay"; "" is none. */
int argument_features(const char *text, uint64_t *ret_features);

/* The same, the other way round: a text in a buffer of this function's, "none" for none; valid until its next call. */
const char *features_text(uint64_t features);

#endif
