/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef INTERNAL_CLEANUP_H
#define INTERNAL_CLEANUP_H

/* Ownership by cleanup attributes. Destructors accept NULL (or -1) and return NULL (or -1). Not installed. */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))

/* Close @fd, keep errno; returns -1, so that "fd = fd_close(fd)" forgets it. */
static inline int fd_close(int fd) {
    int saved = errno;

    if (fd >= 0)
        close(fd);
    errno = saved;
    return -1;
}

static inline void fd_closep(int *fd) {
    *fd = fd_close(*fd);
}

static inline void freep(void *p) {
    free(*(void **) p);
}

/* Give up ownership: the value moves out, the variable forgets it. */
#define STEAL_FD(fd)                                                                                                   \
    ({                                                                                                                 \
        int *steal_p = &(fd);                                                                                          \
        int steal_v = *steal_p;                                                                                        \
        *steal_p = -1;                                                                                                 \
        steal_v;                                                                                                       \
    })

#define STEAL(pointer)                                                                                                 \
    ({                                                                                                                 \
        __typeof__(pointer) *steal_p = &(pointer);                                                                     \
        __typeof__(pointer) steal_v = *steal_p;                                                                        \
        *steal_p = NULL;                                                                                               \
        steal_v;                                                                                                       \
    })

/* DEFINE_CLEANUP(vm_free, struct vm *) makes vm_freep for _cleanup_(vm_freep). */
#define DEFINE_CLEANUP(function, type)                                                                                 \
    static inline void function##p(type *p) {                                                                          \
        if (*p)                                                                                                        \
            *p = function(*p);                                                                                         \
    }                                                                                                                  \
    struct cleanup_needs_a_semicolon

#endif
