/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RUN_FOLLOWER_H
#define RUN_FOLLOWER_H

/*
 * One VM's registration, and the thread that follows what the broker says of its regions. The thread blocks all
 * signals: those of the process are the VMM's.
 */

#include <pthread.h>
#include <stdbool.h>
#include <ioregion/vmm.h>

struct follower {
    char name[128];
    struct ioregion_vmm *regions;
    pthread_t thread;
    int stop;     /* eventfd */
    bool had_one; /* the name was ours before */
};

/* Register VM follower->name with @options, and follow it; or -errno, and the reason was said. */
int follower_start(struct follower *follower, const struct ioregion_vmm_options *options);

/* Unregister. No vCPU may be inside any more. */
void follower_end(struct follower *follower);

/* Is the caller a thread of ours? It can't end a follower. */
bool follower_is_self(void);

#endif
