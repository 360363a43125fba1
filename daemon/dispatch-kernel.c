/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <unistd.h>

#include <ioregion/ioregionfd.h>
#include <ioregion/wire.h>
#include "dispatch-kernel.h"

/* What the module was told of a region: all that its ioctls name regions by. */
struct kernel_region {
    TAILQ_ENTRY(kernel_region) link;
    uint64_t id;
    uint32_t channel;
    bool told; /* of the channel's loss, since the last swap */
    struct kvm_ioregion desc;
};

struct dispatch_kernel {
    struct dispatcher dispatcher;
    int node, handle;
    sd_event_source *events;
    struct lease *lease; /* NULL: the VM lives by the handle alone */
    bool keep_lease;
    TAILQ_HEAD(, kernel_region) regions; /* a VM's buses have no place for more than a few hundred */
};

static struct kernel_region *find_region(const struct dispatch_kernel *d, uint64_t id) {
    struct kernel_region *region;

    TAILQ_FOREACH(region, &d->regions, link) {
        if (region->id == id)
            return region;
    }
    return NULL;
}

static void forget_region(struct dispatch_kernel *d, struct kernel_region *region) {
    TAILQ_REMOVE(&d->regions, region, link);
    free(region);
}

static int set_region(const struct dispatch_kernel *d, const struct kvm_ioregion *desc, int fd) {
    struct kvm_ioregion argument = *desc;

    argument.fd = fd;
    return ioctl(d->handle, KVM_SET_IOREGION, &argument) < 0 ? -errno : 0;
}

static int kernel_make_channel(struct dispatcher *dispatcher, struct channel_ends *ret_ends) {
    const struct dispatch_kernel *d = (struct dispatch_kernel *) dispatcher;
    int fd = ioctl(d->node, KVM_CREATE_IOREGIONFD, 0);

    if (fd < 0)
        return -errno;
    *ret_ends = (struct channel_ends){.dispatcher = -1, .device = fd};
    return 0;
}

static uint32_t region_flags(const struct ioregion_lease_region_add *region) {
    uint32_t flags = 0;

    if (region->space == IOREGION_PIO)
        flags |= KVM_IOREGION_PIO;
    if (region->flags & IOREGION_REGION_POSTED)
        flags |= KVM_IOREGION_POSTED_WRITES;
    if (region->features & IOREGION_FEATURE_REPLAY)
        flags |= IOREGIONFD_REGION_REPLAY;
    switch (region->on_disconnect) {
    case IOREGION_ON_DISCONNECT_HOLD:
        return flags | IOREGIONFD_REGION_HOLD;
    case IOREGION_ON_DISCONNECT_REMOVE:
        return flags | IOREGIONFD_REGION_REMOVE;
    default:
        return flags;
    }
}

/* NULL without memory. */
static struct kernel_region *enter_region(struct dispatch_kernel *d, const struct ioregion_lease_region_add *region) {
    struct kernel_region *entered = malloc(sizeof(*entered));

    if (!entered)
        return NULL;
    *entered = (struct kernel_region){
        .id = region->region,
        .channel = region->channel,
        .desc = {.guest_paddr = region->base,
                 .memory_size = region->size,
                 .user_data = region->user_data,
                 .flags = region_flags(region),
                 .timeout_usec = region->timeout_usec,
                 .grace_usec = region->on_disconnect == IOREGION_ON_DISCONNECT_HOLD ? region->grace_usec : 0},
    };
    TAILQ_INSERT_TAIL(&d->regions, entered, link);
    return entered;
}

static int kernel_add(struct dispatcher *dispatcher, const struct ioregion_lease_region_add *region,
                      const struct channel_ends *ends, bool first, dispatcher_done_t done, void *userdata) {
    struct dispatch_kernel *d = (struct dispatch_kernel *) dispatcher;
    struct kernel_region *entered = enter_region(d, region);
    int r;

    if (!entered)
        return -ENOMEM;
    r = set_region(d, &entered->desc, ends->device);
    if (r < 0)
        forget_region(d, entered);
    done(userdata, r, NULL);
    return 0;
}

static int kernel_swap(struct dispatcher *dispatcher, uint32_t channel, const struct channel_ends *ends,
                       dispatcher_done_t done, void *userdata) {
    struct dispatch_kernel *d = (struct dispatch_kernel *) dispatcher;
    struct kernel_region *region;
    int r = 0;

    TAILQ_FOREACH(region, &d->regions, link) {
        if (region->channel != channel || r < 0)
            continue;
        region->told = false;
        r = set_region(d, &region->desc, ends->device);
    }
    done(userdata, r, NULL);
    return 0;
}

/* All regions of the channel lose their device with the first one; there is nothing to be done for the others. */
static void kernel_cut(struct dispatcher *dispatcher, uint32_t channel, int fd) {
    const struct dispatch_kernel *d = (struct dispatch_kernel *) dispatcher;
    const struct kernel_region *region;

    TAILQ_FOREACH(region, &d->regions, link) {
        if (region->channel == channel)
            ioctl(d->handle, IOREGIONFD_CUT_REGION, &region->desc);
    }
}

static int kernel_remove(struct dispatcher *dispatcher, uint64_t id, dispatcher_done_t done, void *userdata) {
    struct dispatch_kernel *d = (struct dispatch_kernel *) dispatcher;
    struct kernel_region *region = find_region(d, id);
    int r = region ? set_region(d, &region->desc, -1) : -ENOENT;

    if (region)
        forget_region(d, region);
    if (done)
        done(userdata, r, NULL);
    return 0;
}

static int read_stats(const struct dispatch_kernel *d, const struct kernel_region *region,
                      struct ioregionfd_stats *ret_stats) {
    *ret_stats = (struct ioregionfd_stats){
        .guest_paddr = region->desc.guest_paddr,
        .memory_size = region->desc.memory_size,
        .flags = region->desc.flags & KVM_IOREGION_PIO,
    };
    return ioctl(d->handle, IOREGIONFD_GET_STATS, ret_stats) < 0 ? -errno : 0;
}

static int kernel_stats(struct dispatcher *dispatcher, uint64_t id, dispatcher_done_t done, void *userdata) {
    struct dispatch_kernel *d = (struct dispatch_kernel *) dispatcher;
    const struct kernel_region *region = find_region(d, id);
    struct ioregion_lease_stats_reply reply = {.region = id};
    struct ioregionfd_stats stats;
    int r;

    if (!region) {
        done(userdata, 0, &reply); /* an add that failed; as the lease has it, all zero */
        return 0;
    }
    r = read_stats(d, region, &stats);
    if (r < 0)
        return r;
    reply.reads = stats.reads;
    reply.writes = stats.writes;
    reply.posted = stats.posted;
    reply.failures = stats.failures;
    reply.timeouts = stats.timeouts;
    done(userdata, 0, &reply);
    return 0;
}

/* Everything was answered within the call. */
static void kernel_forget(struct dispatcher *dispatcher, const void *userdata) {
}

static int kernel_grant(struct dispatcher *dispatcher, uint64_t features) {
    struct dispatch_kernel *d = (struct dispatch_kernel *) dispatcher;
    const struct ioregion_lease_grant grant = {
        .header = {.type = IOREGION_LEASE_GRANT, .size = sizeof(grant)},
        .features = features,
    };

    int r = lease_send(d->lease, &grant.header, NULL, 0);

    if (!d->keep_lease)
        d->lease = lease_free(d->lease);
    return r;
}

/* The regions go now: the handle may be stored elsewhere, too, and close a while later. */
static void kernel_revoke(struct dispatcher *dispatcher, enum ioregion_revoke_reason reason) {
    struct dispatch_kernel *d = (struct dispatch_kernel *) dispatcher;
    const struct kernel_region *region;

    TAILQ_FOREACH(region, &d->regions, link) {
        set_region(d, &region->desc, -1);
    }
    d->lease = lease_revoke(d->lease, reason);
}

static int kernel_restore(struct dispatcher *dispatcher, const struct ioregion_lease_region_add *region) {
    return enter_region((struct dispatch_kernel *) dispatcher, region) ? 0 : -ENOMEM;
}

/* The module tells of a loss once: whoever read of it may not have lived to write it down. */
static enum ioregion_lease_event_what kernel_lost(struct dispatcher *dispatcher, uint32_t channel, int fd) {
    const struct dispatch_kernel *d = (struct dispatch_kernel *) dispatcher;
    enum ioregion_lease_event_what loss = 0;
    const struct kernel_region *region;
    struct ioregionfd_stats stats;

    TAILQ_FOREACH(region, &d->regions, link) {
        if (region->channel != channel)
            continue;
        if (read_stats(d, region, &stats) < 0)
            loss = IOREGION_EVENT_EOF; /* nobody is asked where there is no region */
        else if (stats.state != IOREGIONFD_STATE_ATTACHED)
            loss = (enum ioregion_lease_event_what) stats.loss;
    }
    return loss;
}

static size_t kernel_descriptors(const struct dispatcher *dispatcher, int *ret_fds) {
    const struct dispatch_kernel *d = (const struct dispatch_kernel *) dispatcher;

    ret_fds[0] = d->handle;
    if (d->keep_lease)
        ret_fds[1] = lease_fd(d->lease);
    return d->keep_lease ? 2 : 1;
}

static struct dispatcher *kernel_free(struct dispatcher *dispatcher) {
    struct dispatch_kernel *d = (struct dispatch_kernel *) dispatcher;

    sd_event_source_disable_unref(d->events);
    lease_free(d->lease);
    fd_close(d->handle); /* its regions go with it */
    fd_close(d->node);
    while (!TAILQ_EMPTY(&d->regions))
        forget_region(d, TAILQ_FIRST(&d->regions));
    free(d);
    return NULL;
}

const struct dispatcher_type dispatch_kernel_type = {
    .name = "kernel",
    .features = IOREGION_FEATURE_POSTED_WRITES | IOREGION_FEATURE_REPLAY,
    .make_channel = kernel_make_channel,
    .add = kernel_add,
    .swap = kernel_swap,
    .cut = kernel_cut,
    .remove = kernel_remove,
    .stats = kernel_stats,
    .forget = kernel_forget,
    .grant = kernel_grant,
    .revoke = kernel_revoke,
    .restore = kernel_restore,
    .lost = kernel_lost,
    .descriptors = kernel_descriptors,
    .free = kernel_free,
};

static void on_ended(struct lease *lease, void *userdata) {
    struct dispatch_kernel *d = userdata;

    d->dispatcher.on_gone(d->dispatcher.userdata);
}

/* All that a VMM has to say once its VM is registered is that it goes. */
static int on_message(struct lease *lease, const struct ioregion_lease_header *message, const struct ucred *sender,
                      void *userdata) {
    return message->type == IOREGION_LEASE_RELEASE ? -ECONNRESET : -EPROTO;
}

static struct kernel_region *find_range(const struct dispatch_kernel *d, const struct ioregionfd_event *range) {
    struct kernel_region *region;

    TAILQ_FOREACH(region, &d->regions, link) {
        if (region->desc.guest_paddr == range->guest_paddr && region->desc.memory_size == range->memory_size &&
            !((region->desc.flags ^ range->flags) & KVM_IOREGION_PIO))
            return region;
    }
    return NULL;
}

/* The module tells of each region of a lost channel; to the broker these are one loss. */
static bool is_news(const struct dispatch_kernel *d, struct kernel_region *region) {
    const struct kernel_region *other;
    bool told = false;

    TAILQ_FOREACH(other, &d->regions, link) {
        if (other->channel == region->channel)
            told |= other->told;
    }
    region->told = true;
    return !told;
}

/* One event a turn: hearing of it may end the VM, and this dispatcher. */
static int on_handle(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct dispatch_kernel *d = userdata;
    struct ioregionfd_event event;
    struct kernel_region *region;

    if (events & EPOLLHUP) {
        d->dispatcher.on_gone(d->dispatcher.userdata);
        return 0;
    }
    if (read(d->handle, &event, sizeof(event)) != sizeof(event))
        return 0; /* the region was removed meanwhile */
    region = find_range(d, &event);
    if (region && is_news(d, region))
        d->dispatcher.on_event(d->dispatcher.userdata, region->id, event.loss);
    return 0;
}

/* The node, if what is behind it is the module that we know. */
static int open_node(void) {
    _cleanup_(fd_closep) int node = open("/dev/ioregionfd", O_RDWR | O_CLOEXEC);
    struct ioregionfd_info info;

    if (node < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ENODEV;
    if (ioctl(node, IOREGIONFD_GET_INFO, &info) < 0 || info.version != IOREGIONFD_VERSION ||
        IOREGIONFD_REGION_FLAGS & ~info.region_flags || dispatch_kernel_type.features & ~info.features)
        return -EPROTONOSUPPORT;
    return STEAL_FD(node);
}

bool dispatch_kernel_available(void) {
    _cleanup_(fd_closep) int node = open_node();

    return node >= 0;
}

/* Takes @handle, which may be an error, and @lease, which may be NULL. */
static int dispatch_kernel_take(struct dispatch_kernel *d, sd_event *event, int handle, struct lease *lease,
                                bool keep_lease) {
    int r;

    d->lease = lease;
    d->keep_lease = keep_lease;
    d->handle = handle;
    if (handle < 0)
        return handle;
    r = sd_event_add_io(event, &d->events, handle, EPOLLIN, on_handle, d);
    if (r >= 0) /* before leases: who breaks the protocol and hangs up did so in this order */
        r = sd_event_source_set_priority(d->events, SD_EVENT_PRIORITY_IMPORTANT);
    if (r >= 0 && lease)
        lease_set_handlers(lease, on_message, on_ended, d);
    return r;
}

static struct dispatch_kernel *dispatch_kernel_alloc(dispatcher_event_t on_event, dispatcher_gone_t on_gone,
                                                     void *userdata) {
    struct dispatch_kernel *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    TAILQ_INIT(&d->regions);
    d->dispatcher = (struct dispatcher){&dispatch_kernel_type, on_event, on_gone, userdata};
    d->handle = -1;
    d->node = open_node();
    return d;
}

static int bind_vm(const struct dispatch_kernel *d, int vm_fd, pid_t pid) {
    const struct ioregionfd_bind_vm bind = {.vm_fd = vm_fd, .pid = pid};
    int handle = d->node < 0 ? d->node : ioctl(d->node, IOREGIONFD_BIND_VM, &bind);

    return handle < 0 && d->node >= 0 ? -errno : handle;
}

int dispatch_kernel_new(struct dispatcher **ret_dispatcher, sd_event *event, int vm_fd, pid_t pid, struct lease *lease,
                        bool keep_lease, dispatcher_event_t on_event, dispatcher_gone_t on_gone, void *userdata) {
    struct dispatch_kernel *d = dispatch_kernel_alloc(on_event, on_gone, userdata);
    _cleanup_(dispatcher_freep) struct dispatcher *dispatcher = d ? &d->dispatcher : NULL;
    int r;

    if (!d) {
        lease_free(lease);
        return -ENOMEM;
    }
    r = dispatch_kernel_take(d, event, bind_vm(d, vm_fd, pid), lease, keep_lease);
    if (r >= 0)
        *ret_dispatcher = STEAL(dispatcher);
    return r;
}

int dispatch_kernel_resume(struct dispatcher **ret_dispatcher, sd_event *event, int handle, struct lease *lease,
                           dispatcher_event_t on_event, dispatcher_gone_t on_gone, void *userdata) {
    struct dispatch_kernel *d = dispatch_kernel_alloc(on_event, on_gone, userdata);
    _cleanup_(dispatcher_freep) struct dispatcher *dispatcher = d ? &d->dispatcher : NULL;
    int r;

    if (!d) {
        lease_free(lease);
        fd_close(handle);
        return -ENOMEM;
    }
    r = dispatch_kernel_take(d, event, handle, lease, lease != NULL);
    if (r >= 0 && d->node < 0)
        r = d->node;
    if (r >= 0)
        *ret_dispatcher = STEAL(dispatcher);
    return r;
}
