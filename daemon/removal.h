/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_REMOVAL_H
#define DAEMON_REMOVAL_H

/*
 * Inside the broker: regions on their way out of the dispatcher, after their device was forgotten. The VM has a list
 * of them, so that a broker that takes over knows what may still be dispatched and is nobody's.
 */

#include <sys/queue.h>

#include "device.h"

struct removal {
    TAILQ_ENTRY(removal) link;
    struct vm *vm;
    size_t pending;     /* answers of the dispatcher; and its maker, who is not through */
    broker_done_t done; /* called when no vCPU is inside the regions any more; may be NULL */
    void *userdata;
    uint64_t first; /* of the regions' ids */
    size_t n;
    struct range ranges[];
};

/* Enter it into the VM's list; where the regions were is the caller's to fill in. NULL when there is no memory. */
struct removal *removal_new(struct vm *vm, uint64_t first, size_t n, broker_done_t done, void *userdata);

/* Ask the dispatcher. Regions that are not there are no trouble. */
void removal_start(struct removal *removal);

/* The maker is through: once the dispatcher has answered, perhaps now, done() is told and the removal is gone. */
void removal_unref(struct removal *removal);

struct removal *removal_free(struct removal *removal);

#endif
