/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <search.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "error.h"
#include "lease-client.h"
#include "range.h"
#include "vmm-internal.h"

/* Not the id of any channel's descriptor, which are 64 bits with a descriptor in the lower half. */
#define EVENT_LEASE UINT64_MAX

/* What this dispatcher can do. Agreeing to more would promise what it does not keep. */
#define FEATURES (IOREGION_FEATURE_POSTED_WRITES | IOREGION_FEATURE_REPLAY)

static int by_id(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return x < y ? -1 : x > y;
}

static void *find(void *const *tree, uint64_t id) {
    void **node = tfind(&id, tree, by_id);

    return node ? *node : NULL;
}

/* The channel of a new region: a known one, or with its descriptor a new one. */
static int find_channel(struct ioregion_vmm *vmm, struct lease_message *message, struct channel **ret_channel) {
    const struct ioregion_lease_region_add *add = &message->add;
    struct channel *channel = find(&vmm->channels, add->channel);
    int r;

    if (channel) {
        if (message->n_fds || channel->timeout_usec != add->timeout_usec)
            return -EINVAL;
        *ret_channel = channel;
        return 0;
    }
    if (!message->n_fds)
        return -EBADF;
    r = channel_new(&channel, vmm->epoll, vmm->lease, add->channel, message->fds[0], add->timeout_usec);
    if (r < 0)
        return r;
    message->fds[0] = -1;
    if (!tsearch(channel, &vmm->channels, by_id)) {
        channel_free(channel);
        return -ENOMEM;
    }
    *ret_channel = channel;
    return 0;
}

static void drop_unused_channel(struct ioregion_vmm *vmm, struct channel *channel) {
    if (!LIST_EMPTY(&channel->regions))
        return;
    tdelete(channel, &vmm->channels, by_id);
    channel_free(channel);
}

static struct region *region_new(const struct ioregion_lease_region_add *add) {
    struct region *region = calloc(1, sizeof(*region));

    if (region)
        *region = (struct region){
            .id = add->region,
            .base = add->base,
            .size = add->size,
            .user_data = add->user_data,
            .grace_usec = add->grace_usec,
            .features = add->features,
            .space = add->space,
            .flags = add->flags,
            .on_disconnect = add->on_disconnect,
        };
    return region;
}

static bool add_valid(const struct ioregion_lease_region_add *add) {
    return range_valid(add->space, add->base, add->size) && !(add->flags & ~IOREGION_REGION_POSTED) &&
           add->on_disconnect <= IOREGION_ON_DISCONNECT_REMOVE && add->timeout_usec > 0;
}

/* In the tables, unless memory is where it would be. */
static int region_publish(struct ioregion_vmm *vmm, struct region *region) {
    int r = -EADDRINUSE;

    pthread_mutex_lock(&vmm->slots.lock);
    if (!slots_cover(&vmm->slots, region->space, region->base, region->size))
        r = tables_add(&vmm->tables, region);
    pthread_mutex_unlock(&vmm->slots.lock);
    return r;
}

static int region_add(struct ioregion_vmm *vmm, struct lease_message *message) {
    const struct ioregion_lease_region_add *add = &message->add;
    _cleanup_(freep) struct region *region = NULL;
    struct channel *channel;
    int r;

    if (!add_valid(add))
        return -EINVAL;
    if (add->features & ~FEATURES)
        return -EOPNOTSUPP;
    if (find(&vmm->regions, add->region))
        return -EEXIST;
    region = region_new(add);
    if (!region)
        return -ENOMEM;
    r = find_channel(vmm, message, &channel);
    if (r < 0)
        return r;
    region->channel = channel;
    r = tsearch(region, &vmm->regions, by_id) ? region_publish(vmm, region) : -ENOMEM;
    if (r < 0) {
        tdelete(region, &vmm->regions, by_id);
        drop_unused_channel(vmm, channel);
        return r;
    }
    LIST_INSERT_HEAD(&channel->regions, region, siblings);
    region = NULL;
    return 0;
}

/* Nobody enters any more once it is out of the tables; those inside are woken, and waited for. */
static void region_drop(struct ioregion_vmm *vmm, struct region *region, bool cut) {
    struct channel *channel = region->channel;

    tdelete(region, &vmm->regions, by_id);
    pthread_mutex_lock(&vmm->slots.lock);
    tables_remove(&vmm->tables, region);
    pthread_mutex_unlock(&vmm->slots.lock);
    atomic_fetch_or(&region->users, REGION_REMOVED);
    channel_wake(channel, cut);
    pthread_mutex_lock(&vmm->lock);
    while (atomic_load(&region->users) != REGION_REMOVED)
        pthread_cond_wait(&vmm->left, &vmm->lock);
    pthread_mutex_unlock(&vmm->lock);
    LIST_REMOVE(region, siblings);
    free(region);
    drop_unused_channel(vmm, channel);
}

static int region_remove(struct ioregion_vmm *vmm, uint64_t id) {
    struct region *region = find(&vmm->regions, id);

    if (!region)
        return -ENOENT;
    region_drop(vmm, region, false);
    return 0;
}

static int region_swap(struct ioregion_vmm *vmm, struct lease_message *message) {
    struct channel *channel = find(&vmm->channels, message->swap.channel);
    int r;

    if (!channel)
        return -ENOENT;
    r = channel_swap(channel, message->fds[0]);
    if (r >= 0)
        message->fds[0] = -1;
    return r;
}

static int acknowledge(struct ioregion_vmm *vmm, uint64_t serial, int error) {
    const struct ioregion_lease_ack ack = {
        .header = {IOREGION_LEASE_ACK, sizeof(ack)}, .serial = serial, .error = -error};

    return lease_client_send(vmm->lease, &ack.header);
}

static int reply_stats(struct ioregion_vmm *vmm, const struct ioregion_lease_stats *stats) {
    struct region *region = find(&vmm->regions, stats->region);
    struct ioregion_lease_stats_reply reply = {
        .header = {IOREGION_LEASE_STATS_REPLY, sizeof(reply)},
        .serial = stats->serial,
        .region = stats->region,
    };

    if (region) {
        reply.reads = atomic_load(&region->reads);
        reply.writes = atomic_load(&region->writes);
        reply.posted = atomic_load(&region->posted);
        reply.failures = atomic_load(&region->failures);
        reply.timeouts = atomic_load(&region->timeouts);
    }
    return lease_client_send(vmm->lease, &reply.header);
}

/* Negative ends the lease. */
static int obey(struct ioregion_vmm *vmm, struct lease_message *message) {
    switch (message->header.type) {
    case IOREGION_LEASE_REGION_ADD:
        return acknowledge(vmm, message->add.serial, region_add(vmm, message));
    case IOREGION_LEASE_REGION_SWAP:
        return acknowledge(vmm, message->swap.serial, region_swap(vmm, message));
    case IOREGION_LEASE_REGION_REMOVE:
        return acknowledge(vmm, message->remove.serial, region_remove(vmm, message->remove.region));
    case IOREGION_LEASE_STATS:
        return reply_stats(vmm, &message->stats);
    case IOREGION_LEASE_REVOKE:
        /* The VM is no longer registered, and what was dispatched is gone. */
        while (vmm->regions)
            region_drop(vmm, *(struct region **) vmm->regions, true);
        return 0;
    default:
        return -EPROTO; /* a second challenge or grant */
    }
}

static void hear_lease(struct ioregion_vmm *vmm) {
    int r = 1;

    while (!vmm->ended && r > 0) {
        _cleanup_(lease_message_done) struct lease_message message = LEASE_MESSAGE_INIT;

        r = lease_client_receive(vmm->lease, &message);
        if (r < 0 || (r > 0 && obey(vmm, &message) < 0)) {
            /* The number stays ours until the end: vCPU threads may be about to send an event. */
            epoll_ctl(vmm->epoll, EPOLL_CTL_DEL, vmm->lease, NULL);
            shutdown(vmm->lease, SHUT_RDWR);
            vmm->ended = true;
        }
    }
}

int ioregion_vmm_process(struct ioregion_vmm *vmm) {
    struct epoll_event events[16];
    int n;

    hear_lease(vmm);
    do {
        n = epoll_wait(vmm->epoll, events, 16, 0);
        for (int i = 0; i < n; i++) {
            struct channel *channel = NULL;

            if (events[i].data.u64 != EVENT_LEASE)
                channel = find(&vmm->channels, events[i].data.u64 >> 32);
            if (channel)
                channel_hang_up(channel, (int) (uint32_t) events[i].data.u64);
        }
    } while (n == 16);
    return vmm->ended ? last_error_step(-ECONNRESET, "lease") : 0;
}

int ioregion_vmm_fd(const struct ioregion_vmm *vmm) {
    return vmm->epoll;
}

int ioregion_vmm_from_lease(struct ioregion_vmm **ret_vmm, int lease) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = EVENT_LEASE};
    _cleanup_(fd_closep) int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct ioregion_vmm *vmm;

    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, lease, &event) < 0)
        return last_error_step(-errno, "epoll");
    vmm = calloc(1, sizeof(*vmm));
    if (!vmm)
        return last_error_step(-ENOMEM, "VMM");
    vmm->lease = lease;
    vmm->epoll = STEAL_FD(epoll);
    pthread_mutex_init(&vmm->lock, NULL);
    pthread_mutex_init(&vmm->slots.lock, NULL);
    pthread_cond_init(&vmm->left, NULL);
    *ret_vmm = vmm;
    return 0;
}

static void free_channel(void *channel) {
    channel_free(channel);
}

struct ioregion_vmm *ioregion_vmm_free(struct ioregion_vmm *vmm) {
    static const struct ioregion_lease_release release = {{IOREGION_LEASE_RELEASE, sizeof(release)}};

    if (!vmm)
        return NULL;
    lease_client_send(vmm->lease, &release.header);
    tables_release(&vmm->tables);
    tdestroy(vmm->regions, free);
    tdestroy(vmm->channels, free_channel);
    fd_close(vmm->lease);
    fd_close(vmm->epoll);
    pthread_cond_destroy(&vmm->left);
    pthread_mutex_destroy(&vmm->lock);
    pthread_mutex_destroy(&vmm->slots.lock);
    free(vmm->slots.list);
    free(vmm);
    return NULL;
}
