/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A host whose clock somebody keeps setting: a day forth, a day back. CLOCK_MONOTONIC and its kin know nothing of it. */

#include <dlfcn.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *ret_time) {
    static int (*real)(clockid_t id, struct timespec *ret_time);
    static int jumps;
    int r;

    if (!real)
        real = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    r = real(id, ret_time);
    if (r == 0 && id == CLOCK_REALTIME)
        ret_time->tv_sec += jumps++ % 2 ? -86400 : 86400;
    return r;
}
