/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIBIOREGION_ERROR_H
#define LIBIOREGION_ERROR_H

/* The text behind ioregion_last_error(): one a thread. */

/* Keep the words of @format for ioregion_last_error(); returns @error, a negative errno, unchanged. */
int last_error_set(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a step that failed with @error: "step: words of the errno". */
int last_error_step(int error, const char *step);

#endif
