/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIBIOREGION_DEVICE_INTERNAL_H
#define LIBIOREGION_DEVICE_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include <ioregion/device.h>
#include <internal/cleanup.h>
#include "device-channel.h"

enum device_state {
    DEVICE_SERVING,
    DEVICE_ENDING, /* the channels are gone, and the lease may still tell why */
    DEVICE_ENDED,
};

/* What an event of the epoll descriptor is about; lower numbers are channels. */
#define DEVICE_EVENT_LEASE 0x100
#define DEVICE_EVENT_TIMER 0x101

/* What is needed of a region to check a command; with size 0 it is none. */
struct device_slot {
    uint64_t token, size;
    uint32_t channel;
};

struct ioregion_device {
    struct ioregion_device_ops ops;
    void *userdata;

    /* What to ask the broker for; vm is NULL when the descriptors came from elsewhere. */
    char *vm, *name;
    struct ioregion_device_options options;
    char *on_disconnect;
    struct ioregion_region *regions; /* as declared */
    size_t n_regions;
    struct device_slot *slots; /* the same by channel and user_data, see device-regions.c */
    unsigned slot_bits;        /* so many slots, as a power of two */

    /* What was granted. */
    uint64_t features, timeout_usec;
    int lease; /* -1 for none */
    /* Their numbers stay the same until the device is freed, so that ioregion_device_stop() can't hit another file. */
    int *channels;
    size_t n_channels;
    enum channel_kind kind; /* of all of them: they are of one dispatcher */

    int epoll; /* channels, lease and timer, for loops that wait for more than one channel */
    int timer; /* ends the wait for the last word, and wakes the loop that was told to stop */
    enum device_state state;
    int result; /* of run() once ended */
    bool locked_down;
    atomic_bool stopped;
};

/* Without descriptors yet. Everything is copied. */
int device_new(struct ioregion_device **ret_device, const struct ioregion_region *regions, size_t n_regions,
               size_t n_channels, const struct ioregion_device_ops *ops, void *userdata);

/* Copy and check what the caller declared; -EINVAL with words. */
int device_copy_regions(struct ioregion_device *device, const struct ioregion_region *regions, size_t n_regions);

/* The size of the region with this token on this channel, 0 when there is none. */
uint64_t device_region_size(const struct ioregion_device *device, size_t channel, uint64_t token);

/* Take a lease and channels, in place of the ones there were. On failure they remain the caller's. */
int device_install(struct ioregion_device *device, int lease, const int *channels);

/* Frees without a word to the broker. */
struct ioregion_device *device_discard(struct ioregion_device *device);
DEFINE_CLEANUP(device_discard, struct ioregion_device *);

#endif
