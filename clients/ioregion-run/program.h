/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RUN_PROGRAM_H
#define RUN_PROGRAM_H

/* Can a library be put before a program? The dynamic loader says nothing where it can't: so we look beforehand. */

#include <limits.h>
#include <stddef.h>

/* Where execvp(3) would find @name: 0 and the path, or -ENOENT, -EACCES. */
int program_find(const char *name, char ret_path[PATH_MAX]);

/*
 * 0 if the loader of the program at @path will load what LD_PRELOAD names; else -ENOEXEC with words why not
 * in @why, or another errno when that can't be found out.
 */
int program_check(const char *path, char *why, size_t size);

#endif
