/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_DISPATCHER_H
#define DAEMON_DISPATCHER_H

/*
 * What turns a VM's guest accesses into commands on channels. One interface; dispatch-vmm.h makes the kind that
 * works through the VMM's library, dispatch-kernel.h the kind that works through the kernel module.
 *
 * Requests are answered in order, each by one call of its done function, from the event loop or from within the
 * call. Dispatching a range starts after add() was answered with 0, and has ended when remove() was answered; what is
 * asked later takes effect later, so a range may be added again before its removal was answered.
 */

#include <stdbool.h>
#include <stdint.h>

#include <ioregion/lease.h>
#include "internal/cleanup.h"

struct dispatcher;

/* @stats is NULL unless stats() was asked for and went well. @error is 0 or a negative errno. */
typedef void (*dispatcher_done_t)(void *userdata, int error, const struct ioregion_lease_stats_reply *stats);

/* What a dispatcher tells unasked. @userdata is the one of dispatcher_set_handlers(). */
/* A channel was lost: told once, of any region on it. */
typedef void (*dispatcher_event_t)(void *userdata, uint64_t region, enum ioregion_lease_event_what what);
typedef void (*dispatcher_gone_t)(void *userdata); /* the VM ended; called once, and the handler may free */

/* The two ends of a channel. The dispatcher's is to be kept as long as the channel may have to be cut. */
struct channel_ends {
    int dispatcher; /* -1 where it is no descriptor */
    int device;
};

#define CHANNEL_ENDS_INIT ((struct channel_ends){-1, -1})

static inline void channel_ends_close(struct channel_ends *ends) {
    ends->dispatcher = fd_close(ends->dispatcher);
    ends->device = fd_close(ends->device);
}

#define DISPATCHER_FDS_MAX 2

struct dispatcher_type {
    const char *name;
    uint64_t features;
    int (*make_channel)(struct dispatcher *dispatcher, struct channel_ends *ret_ends);
    /* The ends stay the caller's. A channel's first region is added with @first. */
    int (*add)(struct dispatcher *dispatcher, const struct ioregion_lease_region_add *region,
               const struct channel_ends *ends, bool first, dispatcher_done_t done, void *userdata);
    int (*swap)(struct dispatcher *dispatcher, uint32_t channel, const struct channel_ends *ends,
                dispatcher_done_t done, void *userdata);
    /* The device reads end of file, and what waits for it meets its on-disconnect. @fd is the end that was kept. */
    void (*cut)(struct dispatcher *dispatcher, uint32_t channel, int fd);
    int (*remove)(struct dispatcher *dispatcher, uint64_t region, dispatcher_done_t done, void *userdata);
    int (*stats)(struct dispatcher *dispatcher, uint64_t region, dispatcher_done_t done, void *userdata);
    /* Requests with this userdata get no answer any more; what they ask for still happens. */
    void (*forget)(struct dispatcher *dispatcher, const void *userdata);
    /* Tell the VMM that its VM was registered; and that it is not any more. */
    int (*grant)(struct dispatcher *dispatcher, uint64_t features);
    void (*revoke)(struct dispatcher *dispatcher, enum ioregion_revoke_reason reason);
    /* An earlier process added this region. Without it, remove() may know nothing of it. */
    int (*restore)(struct dispatcher *dispatcher, const struct ioregion_lease_region_add *region);
    /* What became of a channel that an earlier process made, should that one have died of the news; 0: nothing. */
    enum ioregion_lease_event_what (*lost)(struct dispatcher *dispatcher, uint32_t channel, int fd);
    /* What another process needs to go on: at most DISPATCHER_FDS_MAX, which stay the dispatcher's. */
    size_t (*descriptors)(const struct dispatcher *dispatcher, int *ret_fds);
    /* Requests that wait are answered with -ECONNRESET. */
    struct dispatcher *(*free)(struct dispatcher *dispatcher);
};

/* The head of every kind. */
struct dispatcher {
    const struct dispatcher_type *type;
    dispatcher_event_t on_event;
    dispatcher_gone_t on_gone;
    void *userdata;
};

static inline struct dispatcher *dispatcher_free(struct dispatcher *dispatcher) {
    return dispatcher ? dispatcher->type->free(dispatcher) : NULL;
}
DEFINE_CLEANUP(dispatcher_free, struct dispatcher *);

#endif
