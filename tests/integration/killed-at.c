/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A process that is killed just before the KILL_AT-th step that others can see, counted from READY=1 on, or from its
 * first with KILL_EARLY: a message sent or taken in, a file replaced or removed, a socket shut down or closed, a word
 * to the kernel's dispatcher. Between two of them there is nothing but its own memory, which nobody finds afterwards.
 */

#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define KILLED 99 /* the status that tells of it */

static int steps = -1; /* not ready yet */

static void step(void) {
    const char *at = getenv("KILL_AT");

    if (steps < 0 && getenv("KILL_EARLY"))
        steps = 0;
    if (steps >= 0 && at && ++steps >= atoi(at))
        _exit(KILLED);
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    static const char ready[] = "READY=1";
    ssize_t n;

    step();
    n = REAL(sendmsg)(fd, message, flags);
    if (message->msg_iovlen > 0 && message->msg_iov[0].iov_len >= sizeof(ready) - 1 &&
        memcmp(message->msg_iov[0].iov_base, ready, sizeof(ready) - 1) == 0)
        steps = 0;
    return n;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    step();
    return REAL(recvmsg)(fd, message, flags);
}

int renameat(int old_folder, const char *old_name, int new_folder, const char *new_name);
int renameat(int old_folder, const char *old_name, int new_folder, const char *new_name) {
    step();
    return REAL(renameat)(old_folder, old_name, new_folder, new_name);
}

int unlinkat(int folder, const char *name, int flags) {
    step();
    return REAL(unlinkat)(folder, name, flags);
}

int shutdown(int fd, int how) {
    step();
    return REAL(shutdown)(fd, how);
}

int close(int fd) {
    step();
    return REAL(close)(fd);
}

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    void *argument;

    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    step();
    return REAL(ioctl)(fd, request, argument);
}
