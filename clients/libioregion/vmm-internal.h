/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIBIOREGION_VMM_INTERNAL_H
#define LIBIOREGION_VMM_INTERNAL_H

/*
 * The VMM side, from the top: vmm.c follows the lease, vmm-exit.c takes exits apart, vmm-table.c finds the region of
 * an address, vmm-slots.c knows the guest's memory, vmm-channel.c decides who may use a channel and what its loss
 * means, vmm-exchange.c sends and receives.
 *
 * Two kinds of threads meet here: the one that calls process() adds and removes, vCPU threads look up and exchange.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include <ioregion/vmm.h>
#include <internal/cleanup.h>

/* ---- regions and their tables ---- */

struct region {
    uint64_t id; /* first, for the search tree */
    /* what every access needs, close together */
    uint64_t base, size, user_data, features;
    struct channel *channel;
    uint32_t space, flags;
    atomic_uint users; /* REGION_USER for each vCPU inside, plus REGION_REMOVED */
    uint32_t on_disconnect;
    atomic_uint_fast64_t reads, writes, posted, failures, timeouts;
    uint64_t grace_usec;
    LIST_ENTRY(region) siblings; /* on the channel; process() only */
};

#define REGION_REMOVED 1u
#define REGION_USER 2u

static inline bool region_removed(const struct region *region) {
    return atomic_load(&region->users) & REGION_REMOVED;
}

/* The regions of one space in order of their bases. What readers see never changes; a writer fills the spare. */
struct table {
    size_t n, capacity;
    struct region **regions;
    uint64_t *bases; /* apart from the rest, so that a search touches little memory */
};

/* A set of tables that any number of threads read without a lock while one thread changes it. Starts zeroed. */
struct tables {
    struct {
        struct table buffers[2];
        _Atomic(struct table *) current; /* NULL until the first region */
        size_t same; /* so many entries the spare begins with as the current one does; the writer's */
    } spaces[2];
    atomic_uint epoch;      /* which of the counters new readers use: lowest bit */
    atomic_uint readers[2]; /* threads that look something up just now */
};

/* The region that holds all of @size bytes at @address, with the caller counted as its user; or NULL. Any thread. */
struct region *tables_enter(struct tables *tables, uint32_t space, uint64_t address, uint64_t size);

/* The caller has left; true if it was the last to leave a removed region, which may be gone when this returns. */
bool tables_leave(struct region *region);

/* -EEXIST when it overlaps another, -ENOMEM. */
int tables_add(struct tables *tables, struct region *region);

/* Never fails. On return nobody can enter any more, but who was inside may still be. */
void tables_remove(struct tables *tables, const struct region *region);

void tables_release(struct tables *tables);

/* The lowest region that has a byte of these; or NULL. Nobody may be adding or removing. */
struct region *tables_overlap(struct tables *tables, uint32_t space, uint64_t base, uint64_t size);

/* ---- guest memory ---- */

struct slot {
    uint32_t number;
    uint64_t base, size;
};

struct slots {
    pthread_mutex_t lock; /* of the list, and of changes to the tables */
    struct slot *list;
    size_t n;
};

/* Does any byte of a region lie in memory? With the lock. */
bool slots_cover(const struct slots *slots, uint32_t space, uint64_t base, uint64_t size);

/* ---- channels ---- */

struct turn {
    TAILQ_ENTRY(turn) turns;
};

struct channel {
    uint64_t id; /* first, for the search tree */
    uint64_t timeout_usec;
    int epoll, lease;            /* the VMM's */
    LIST_HEAD(, region) regions; /* process() only */
    pthread_mutex_t lock;        /* of all that follows; never held across an exchange */
    pthread_cond_t changed;
    TAILQ_HEAD(, turn) turns; /* of the vCPUs that are here, in the order in which they came; the first is served */
    int fd;                   /* changed only with the turn */
    int incoming;             /* a device came back: waits for the turn to end; -1 for none */
    bool hung_up;             /* seen while somebody had the turn */
    uint32_t loss;            /* enum ioregion_lease_event_what, or 0 while the device is there */
    uint64_t lost_at;         /* on CLOCK_MONOTONIC */
};

/* Takes @fd on success. -EINVAL when it is no channel. */
int channel_new(struct channel **ret_channel, int epoll, int lease, uint32_t id, int fd, uint64_t timeout_usec);
struct channel *channel_free(struct channel *channel);

enum channel_result {
    CHANNEL_ANSWERED,
    CHANNEL_FAILED,   /* reads are all ones, writes are dropped */
    CHANNEL_NOT_OURS, /* and the device was told nothing */
};

/*
 * Send one command of @region and take its answer, in turn. Ends in bounded time, whatever the device does, and without
 * waiting for others once the region is removed.
 */
enum channel_result channel_exchange(struct region *region, const struct ioregion_command *command,
                                     uint64_t *ret_value);

/* Take @fd in place of the lost one; on failure it remains the caller's. */
int channel_swap(struct channel *channel, int fd);

/* epoll reported a hang-up of @fd. */
void channel_hang_up(struct channel *channel, int fd);

/* Wake those who wait, to look at their region again; cut an exchange short if @cut. */
void channel_wake(struct channel *channel, bool cut);

/* ---- one exchange ---- */

/*
 * One command and, if it wants one, its answer on @fd: 0, or enum ioregion_lease_event_what. *ret_sent tells
 * whether the device may have seen the command. The socket's own timeouts are to be @timeout_usec as well.
 */
uint32_t exchange(int fd, const struct ioregion_command *command, uint64_t timeout_usec, bool *ret_sent,
                  uint64_t *ret_value);

/* ---- the VMM ---- */

struct ioregion_vmm {
    int lease, epoll;
    bool ended; /* the lease */
    struct tables tables;
    struct slots slots;
    void *regions, *channels; /* tsearch(3) trees by id; process() only */
    pthread_mutex_t lock;
    pthread_cond_t left; /* a removed region became empty */
};

#endif
