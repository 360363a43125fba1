/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_FOLDER_H
#define DAEMON_FOLDER_H

/* A folder of small files, each of which is replaced as a whole or stays as it was. Names do not begin with a dot. */

#include <stddef.h>

#include "internal/cleanup.h"

/* Made if it is not there; the folder it is in has to be. Returns a descriptor. */
int folder_open(const char *path);

int folder_write(int folder, const char *name, const char *text, size_t size);
/* The text, with a zero behind it, for the caller to free. -EFBIG when it has more than @max bytes. */
int folder_read(int folder, const char *name, size_t max, char **ret_text, size_t *ret_size);
int folder_remove(int folder, const char *name);

/* Every file; what was half written is removed. A negative result ends it and is returned. */
int folder_each(int folder, int (*function)(const char *name, void *userdata), void *userdata);

#endif
