/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "userland.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int move_into_host(void) {
    static const char *const moved[] = {"/dev", "/proc", "/sys"};
    char path[32];

    if (mount("host", "/host", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,cache=loose,msize=262144") < 0)
        return -errno;
    for (size_t i = 0; i < sizeof(moved) / sizeof(moved[0]); i++) {
        snprintf(path, sizeof(path), "/host%s", moved[i]);
        if (mount(moved[i], path, NULL, MS_MOVE, NULL) < 0)
            return -errno;
    }
    if (mount("run", "/host/run", "tmpfs", 0, "mode=755") < 0 || chdir("/host") < 0 ||
        mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
        return -errno;
    return 0;
}

_Noreturn void userland_run(const char *program) {
    int r = move_into_host();

    if (r == 0) {
        execl(program, program, NULL);
        r = -errno;
    }
    printf("Bail out! %s: %s\n", program, strerror(-r));
    _exit(1);
}
