/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <string.h>
#include <termios.h>

#include "internal/cleanup.h"

/* Raw, so that the terminal neither echoes nor edits. Both sides stay ours until somebody opens the path too. */
static int open_terminal(struct backend *backend) {
    struct termios raw = {0};

    if (openpty(&backend->output, &backend->keep_open, NULL, NULL, NULL) < 0)
        return -errno;
    if (fcntl(backend->output, F_SETFL, O_NONBLOCK) < 0 || tcgetattr(backend->keep_open, &raw) < 0)
        return -errno;
    cfmakeraw(&raw);
    if (tcsetattr(backend->keep_open, TCSANOW, &raw) < 0 ||
        ptsname_r(backend->output, backend->path, sizeof(backend->path)) != 0)
        return -errno;
    backend->input = backend->output;
    return 0;
}

int backend_open(struct backend *ret_backend, const char *text) {
    struct backend backend = {.output = -1, .input = -1, .keep_open = -1};
    int r = 0;

    if (strcmp(text, "pty") == 0)
        r = open_terminal(&backend);
    else if (strcmp(text, "stdout") == 0)
        backend.output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    else if (strncmp(text, "file:", 5) == 0)
        backend.output = open(text + 5, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    else
        return -EINVAL;
    if (r == 0 && backend.output < 0)
        r = -errno;
    if (r < 0) {
        backend_close(&backend);
        return r;
    }
    *ret_backend = backend;
    return 0;
}

void backend_close(struct backend *backend) {
    backend->output = fd_close(backend->output);
    backend->keep_open = fd_close(backend->keep_open);
    backend->input = -1;
}

/* poll() first: standard output is shared with others, so its flags aren't ours to change. */
void backend_put(struct backend *backend, uint8_t byte) {
    struct pollfd ready = {.fd = backend->output, .events = POLLOUT};

    if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT) || write(backend->output, &byte, 1) != 1)
        backend->dropped++;
}

unsigned backend_get(struct backend *backend, uint8_t *bytes, unsigned room) {
    ssize_t n = room ? read(backend->input, bytes, room) : 0;

    return n < 0 ? 0 : n;
}
