/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGIONCTL_DESCRIPTION_H
#define IOREGIONCTL_DESCRIPTION_H

/*
 * What a device asks for when another attaches on its behalf: a JSON file, read as strictly as a policy.
 * device.schema.json describes it to editors, units/ has examples.
 */

#include <stddef.h>
#include <stdint.h>

#include <ioregion/device.h>
#include "internal/cleanup.h"
#include "policy/pool.h"

struct description {
    struct ioregion_region *regions;
    size_t n_regions;
    struct ioregion_device_options options; /* channels is at least 1 */
    struct pool pool;                       /* holds the regions */
};

/*
 * Read the file, or the text that @name names in messages. -EBADMSG (something is wrong) or another negative errno;
 * *ret_error is one line "FILE:LINE:COLUMN: what is wrong" or "FILE: why not" for the caller to free.
 */
int description_load(const char *file, struct description **ret_description, char **ret_error);
int description_parse(const char *name, const char *text, size_t size, struct description **ret_description,
                      char **ret_error);

struct description *description_free(struct description *description);
DEFINE_CLEANUP(description_free, struct description *);

#endif
