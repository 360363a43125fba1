/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DEVICES_BACKEND_H
#define DEVICES_BACKEND_H

/*
 * The far end of a serial line: a terminal, a file or standard output.
 *
 * It never makes the guest wait: what can't be written at once is dropped and counted, as on a cable that nobody
 * listens to. A terminal buffers about 4 KiB for a reader that comes late.
 */

#include <stdint.h>

struct backend {
    int output, input; /* input: -1 for none */
    int keep_open;     /* our own hold of the terminal's other side: without it, no reader would look like hang-up */
    char path[64];     /* of the terminal, else "" */
    uint64_t dropped;  /* bytes */
};

/* "stdout", "pty" or "file:PATH" (made if missing, appended to). 0, -EINVAL for another text, or a negative errno. */
int backend_open(struct backend *ret_backend, const char *text);
void backend_close(struct backend *backend);

void backend_put(struct backend *backend, uint8_t byte);

/* Up to @room bytes that have come in; 0 when there are none now. */
unsigned backend_get(struct backend *backend, uint8_t *bytes, unsigned room);

#endif
