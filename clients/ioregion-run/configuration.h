/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RUN_CONFIGURATION_H
#define RUN_CONFIGURATION_H

/*
 * What ioregion-run tells the library that it puts into the VMM: the options of its command line, one a line as
 * "key=value", in one variable of the environment. Both sides take them with configuration_set(). Pure.
 */

#include <stdbool.h>
#include <ioregion/vmm.h>

#include "internal/names.h"

#define CONFIGURATION_VARIABLE "IOREGION_RUN"

/* How the launcher and the library end a VMM that can't do what was asked for; as env(1) and timeout(1) do. */
enum {
    STATUS_FAILED = 125,   /* refused, no broker, no KVM, wrong command line */
    STATUS_UNFIT = 126,    /* the program can't be run like this */
    STATUS_NOT_FOUND = 127 /* there is no such program */
};

#define RESERVE_MAX 64

struct configuration {
    char vm[NAME_LENGTH_MAX + 1];
    struct ioregion_range reserve[RESERVE_MAX];
    struct ioregion_vmm_options options; /* points to reserve */
};

void configuration_init(struct configuration *configuration);

/* One option: -ENOENT no such key, -EINVAL not a value for it, -E2BIG one range too many. */
int configuration_set(struct configuration *configuration, const char *key, const char *value);

/* All lines of @text, onto an initialised @configuration; the same errors. */
int configuration_parse(struct configuration *configuration, const char *text);

#endif
