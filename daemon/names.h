/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_NAMES_H
#define DAEMON_NAMES_H

/* The words of the API, and their numbers. Pure. */

#include <stdbool.h>
#include <stdint.h>

#include <ioregion/region.h>

/* 1 to 64 of [A-Za-z0-9._-], the first a letter or digit: names of VMs and devices. */
bool name_is_valid(const char *name);

const char *space_name(uint32_t space);
int space_from_name(const char *name); /* -EINVAL */

const char *on_disconnect_name(enum ioregion_on_disconnect on_disconnect);
int on_disconnect_from_name(const char *name); /* -EINVAL */

#endif
