/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "follower.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "internal/cleanup.h"
#include "say.h"

/* A name that we have just given back is free once the broker has seen it; how often and how long we look again. */
#define FREE_TRIES 100
#define FREE_PAUSE 20000000 /* ns */

static _Thread_local __attribute__((tls_model("initial-exec"))) bool self;

bool follower_is_self(void) {
    return self;
}

static void *follow(void *userdata) {
    struct follower *follower = userdata;
    struct pollfd fds[] = {
        {.fd = ioregion_vmm_fd(follower->regions), .events = POLLIN},
        {.fd = follower->stop, .events = POLLIN},
    };

    self = true;
    for (;;) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[1].revents)
            return NULL;
        if (ioregion_vmm_process(follower->regions) < 0) {
            say("VM %s: the broker is gone; devices that are attached go on", follower->name);
            fds[0].fd = -1;
        }
    }
}

static int start_thread(struct follower *follower) {
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&follower->thread, NULL, follow, follower);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return -r;
    pthread_setname_np(follower->thread, "ioregion-run");
    return 0;
}

static int register_vm(struct follower *follower, const struct ioregion_vmm_options *options) {
    const struct timespec pause = {.tv_nsec = FREE_PAUSE};
    int tries = follower->had_one ? FREE_TRIES : 1, r;

    do {
        r = ioregion_vmm_register(&follower->regions, follower->name, options);
    } while (r == -EEXIST && --tries > 0 && clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL) >= 0);
    if (r < 0)
        say("VM %s: %s: %s", follower->name, r == -EHOSTUNREACH ? "no broker" : "refused", ioregion_last_error());
    return r;
}

int follower_start(struct follower *follower, const struct ioregion_vmm_options *options) {
    int r = register_vm(follower, options);

    if (r < 0)
        return r;
    follower->had_one = true;
    follower->stop = eventfd(0, EFD_CLOEXEC);
    r = follower->stop < 0 ? -errno : start_thread(follower);
    if (r < 0) {
        say("VM %s: %s", follower->name, strerrordesc_np(-r));
        follower->stop = fd_close(follower->stop);
        follower->regions = ioregion_vmm_free(follower->regions);
    }
    return r;
}

void follower_end(struct follower *follower) {
    eventfd_write(follower->stop, 1);
    pthread_join(follower->thread, NULL);
    follower->stop = fd_close(follower->stop);
    follower->regions = ioregion_vmm_free(follower->regions);
}
