/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <ioregion/wire.h>
#include "dispatch-vmm.h"

/* Requests in flight: enough to keep a VMM busy, few enough to fit any socket buffer. */
#define WINDOW 32
/* Beyond so many unanswered requests a VMM gets no new ones. Removals are never refused: they end something. */
#define BACKLOG_MAX 1024
/* Anyone may ask for statistics: they leave room for those who attach. */
#define BACKLOG_STATS (BACKLOG_MAX / 4)

/* One request, from the call to the VMM's answer. Sent in order; a VMM may answer in any. */
struct op {
    STAILQ_ENTRY(op) link;
    union {
        struct {
            struct ioregion_lease_header header;
            uint64_t serial;
        } head; /* what all of them begin with */
        struct ioregion_lease_region_add add;
        struct ioregion_lease_region_swap swap;
        struct ioregion_lease_region_remove remove;
        struct ioregion_lease_stats stats;
    } message;
    uint64_t deadline_usec;
    int fd;
    bool sent;
    dispatcher_done_t done; /* NULL once answered, timed out or forgotten */
    void *userdata;
};

struct dispatch_vmm {
    struct dispatcher dispatcher;
    sd_event *event;
    struct lease *lease;
    sd_event_source *timer;
    STAILQ_HEAD(, op) ops;
    unsigned n_ops, n_sent;
    uint64_t first_serial, last_serial;
};

static struct op *op_free(struct op *op) {
    if (!op)
        return NULL;
    fd_close(op->fd);
    free(op);
    return NULL;
}
DEFINE_CLEANUP(op_free, struct op *);

static void op_answer(struct op *op, int error, const struct ioregion_lease_stats_reply *stats) {
    dispatcher_done_t done = STEAL(op->done);

    if (done)
        done(op->userdata, error, stats);
}

/* Watch over the oldest request that somebody waits for. */
static int arm_timer(struct dispatch_vmm *d) {
    struct op *op;
    int r;

    STAILQ_FOREACH(op, &d->ops, link) {
        if (op->done)
            break;
    }
    if (!op)
        return sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
    r = sd_event_source_set_time(d->timer, op->deadline_usec);
    return r < 0 ? r : sd_event_source_set_enabled(d->timer, SD_EVENT_ONESHOT);
}

/* Send what the window has room for. A failure ends the lease, from the event loop. */
static void send_waiting(struct dispatch_vmm *d) {
    struct op *op;

    STAILQ_FOREACH(op, &d->ops, link) {
        if (op->sent)
            continue;
        if (d->n_sent >= WINDOW || lease_send(d->lease, &op->message.head.header, &op->fd, op->fd >= 0) < 0)
            break;
        op->sent = true;
        op->fd = fd_close(op->fd);
        d->n_sent++;
    }
}

static void remove_op(struct dispatch_vmm *d, struct op *op) {
    STAILQ_REMOVE(&d->ops, op, op, link);
    d->n_ops--;
    d->n_sent -= op->sent;
}

/* The VMM did not answer in time: those who wait are told; the request itself stays in its place in the order. */
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    struct dispatch_vmm *d = userdata;
    struct op *op;

    STAILQ_FOREACH(op, &d->ops, link) {
        if (op->done)
            break;
    }
    if (!op || op->deadline_usec > usec)
        return arm_timer(d);

    /* one a turn: the answer may end the VM; the timer, which is due still, brings the next */
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    op_answer(op, -ETIMEDOUT, NULL);
    return 0;
}

static int on_answer(struct dispatch_vmm *d, uint64_t serial, int error,
                     const struct ioregion_lease_stats_reply *stats) {
    _cleanup_(op_freep) struct op *op = NULL;
    struct op *o;

    STAILQ_FOREACH(o, &d->ops, link) {
        if (o->message.head.serial == serial)
            break;
    }
    if (!o && serial < d->first_serial)
        return 0; /* asked by the process before this one, which nobody waits for */
    /* STATS is answered by STATS_REPLY, everything else by ACK */
    if (!o || !o->sent)
        return -EPROTO;
    if ((o->message.head.header.type == IOREGION_LEASE_STATS) != (stats != NULL))
        return -EPROTO;
    if (stats && stats->region != o->message.stats.region)
        return -EPROTO;
    op = o;
    remove_op(d, op);
    send_waiting(d);
    arm_timer(d);
    op_answer(op, error, stats); /* the last thing: it may free the dispatcher */
    return 0;
}

static void on_ended(struct lease *lease, void *userdata) {
    struct dispatch_vmm *d = userdata;

    d->dispatcher.on_gone(d->dispatcher.userdata);
}

static int on_message(struct lease *lease, const struct ioregion_lease_header *message, const struct ucred *sender,
                      void *userdata) {
    const struct ioregion_lease_ack *ack = (const struct ioregion_lease_ack *) message;
    const struct ioregion_lease_stats_reply *stats = (const struct ioregion_lease_stats_reply *) message;
    const struct ioregion_lease_event *event = (const struct ioregion_lease_event *) message;
    struct dispatch_vmm *d = userdata;

    switch (message->type) {
    case IOREGION_LEASE_ACK:
        return on_answer(d, ack->serial, -ack->error, NULL);
    case IOREGION_LEASE_STATS_REPLY:
        return on_answer(d, stats->serial, 0, stats);
    case IOREGION_LEASE_EVENT:
        if (event->what < IOREGION_EVENT_EOF || event->what > IOREGION_EVENT_VIOLATION)
            return -EPROTO;
        d->dispatcher.on_event(d->dispatcher.userdata, event->region, event->what);
        return 0;
    case IOREGION_LEASE_RELEASE:
        return -ECONNRESET; /* ends as a hang-up does */
    default:
        return -EPROTO;
    }
}

static unsigned backlog_limit(uint32_t type) {
    switch (type) {
    case IOREGION_LEASE_REGION_REMOVE:
        return UINT_MAX;
    case IOREGION_LEASE_STATS:
        return BACKLOG_STATS;
    default:
        return BACKLOG_MAX;
    }
}

/* Queue a request, and send it if the window has room. The serial, which we fill in, is first in every body. */
static int enqueue(struct dispatcher *dispatcher, const struct ioregion_lease_header *message, int fd,
                   dispatcher_done_t done, void *userdata) {
    struct dispatch_vmm *d = (struct dispatch_vmm *) dispatcher;
    _cleanup_(op_freep) struct op *op = calloc(1, sizeof(*op));
    uint64_t now;
    int r;

    if (!op)
        return -ENOMEM;
    op->fd = -1;
    if (d->n_ops >= backlog_limit(message->type))
        return -EBUSY;
    r = sd_event_now(d->event, CLOCK_MONOTONIC, &now);
    if (r < 0)
        return r;
    if (fd >= 0 && (op->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0)
        return -errno;
    memcpy(&op->message, message, message->size);
    op->message.head.serial = ++d->last_serial;
    op->done = done;
    op->userdata = userdata;
    op->deadline_usec = now + IOREGION_LEASE_ACK_USEC;
    STAILQ_INSERT_TAIL(&d->ops, op, link);
    STEAL(op);
    d->n_ops++;
    send_waiting(d);
    arm_timer(d);
    return 0;
}

static int vmm_make_channel(struct dispatcher *dispatcher, struct channel_ends *ret_ends) {
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    *ret_ends = (struct channel_ends){.dispatcher = pair[0], .device = pair[1]};
    return 0;
}

static int vmm_add(struct dispatcher *dispatcher, const struct ioregion_lease_region_add *region,
                   const struct channel_ends *ends, bool first, dispatcher_done_t done, void *userdata) {
    struct ioregion_lease_region_add add = *region;

    add.header = (struct ioregion_lease_header){IOREGION_LEASE_REGION_ADD, sizeof(add)};
    return enqueue(dispatcher, &add.header, first ? ends->dispatcher : -1, done, userdata);
}

static int vmm_swap(struct dispatcher *dispatcher, uint32_t channel, const struct channel_ends *ends,
                    dispatcher_done_t done, void *userdata) {
    const struct ioregion_lease_region_swap swap = {
        .header = {IOREGION_LEASE_REGION_SWAP, sizeof(swap)},
        .channel = channel,
    };

    return enqueue(dispatcher, &swap.header, ends->dispatcher, done, userdata);
}

static void vmm_cut(struct dispatcher *dispatcher, uint32_t channel, int fd) {
    shutdown(fd, SHUT_RDWR);
}

static int vmm_remove(struct dispatcher *dispatcher, uint64_t region, dispatcher_done_t done, void *userdata) {
    const struct ioregion_lease_region_remove remove = {
        .header = {IOREGION_LEASE_REGION_REMOVE, sizeof(remove)},
        .region = region,
    };

    return enqueue(dispatcher, &remove.header, -1, done, userdata);
}

static int vmm_stats(struct dispatcher *dispatcher, uint64_t region, dispatcher_done_t done, void *userdata) {
    const struct ioregion_lease_stats stats = {
        .header = {IOREGION_LEASE_STATS, sizeof(stats)},
        .region = region,
    };

    return enqueue(dispatcher, &stats.header, -1, done, userdata);
}

static void vmm_forget(struct dispatcher *dispatcher, const void *userdata) {
    struct dispatch_vmm *d = (struct dispatch_vmm *) dispatcher;
    struct op *op;

    STAILQ_FOREACH(op, &d->ops, link) {
        if (op->userdata == userdata)
            op->done = NULL;
    }
}

static int vmm_grant(struct dispatcher *dispatcher, uint64_t features) {
    struct dispatch_vmm *d = (struct dispatch_vmm *) dispatcher;
    const struct ioregion_lease_grant grant = {
        .header = {.type = IOREGION_LEASE_GRANT, .size = sizeof(grant)},
        .features = features,
    };

    return lease_send(d->lease, &grant.header, NULL, 0);
}

static void vmm_revoke(struct dispatcher *dispatcher, enum ioregion_revoke_reason reason) {
    struct dispatch_vmm *d = (struct dispatch_vmm *) dispatcher;
    const struct ioregion_lease_revoke revoke = {
        .header = {.type = IOREGION_LEASE_REVOKE, .size = sizeof(revoke)},
        .reason = reason,
    };

    lease_send(d->lease, &revoke.header, NULL, 0);
}

static int vmm_restore(struct dispatcher *dispatcher, const struct ioregion_lease_region_add *region) {
    return 0; /* the VMM knows it by its id */
}

/* Either the device closed it, or we cut it; the VMM's own news of it waits on the lease until it is dealt with. */
static enum ioregion_lease_event_what vmm_lost(struct dispatcher *dispatcher, uint32_t channel, int fd) {
    struct pollfd p = {.fd = fd};

    return fd < 0 || (poll(&p, 1, 0) > 0 && (p.revents & POLLHUP)) ? IOREGION_EVENT_EOF : 0;
}

static size_t vmm_descriptors(const struct dispatcher *dispatcher, int *ret_fds) {
    const struct dispatch_vmm *d = (const struct dispatch_vmm *) dispatcher;

    ret_fds[0] = lease_fd(d->lease);
    return 1;
}

static struct dispatcher *vmm_free(struct dispatcher *dispatcher) {
    struct dispatch_vmm *d = (struct dispatch_vmm *) dispatcher;

    sd_event_source_disable_unref(d->timer);
    lease_free(d->lease);
    for (struct op *op; (op = STAILQ_FIRST(&d->ops));) {
        remove_op(d, op);
        op_answer(op, -ECONNRESET, NULL);
        op_free(op);
    }
    sd_event_unref(d->event);
    free(d);
    return NULL;
}

const struct dispatcher_type dispatch_vmm_type = {
    .name = "vmm",
    .features = IOREGION_FEATURE_POSTED_WRITES | IOREGION_FEATURE_REPLAY,
    .make_channel = vmm_make_channel,
    .add = vmm_add,
    .swap = vmm_swap,
    .cut = vmm_cut,
    .remove = vmm_remove,
    .stats = vmm_stats,
    .forget = vmm_forget,
    .grant = vmm_grant,
    .revoke = vmm_revoke,
    .restore = vmm_restore,
    .lost = vmm_lost,
    .descriptors = vmm_descriptors,
    .free = vmm_free,
};

/*
 * Serials are never used twice on a lease, whoever asks: they start at a time that no earlier process came to, unless
 * it asked for 4096 things a microsecond.
 */
static int skip_serials(struct dispatch_vmm *d) {
    uint64_t now;
    int r = sd_event_now(d->event, CLOCK_MONOTONIC, &now);

    if (r >= 0)
        d->first_serial = d->last_serial = now << 12;
    return r < 0 ? r : 0;
}

int dispatch_vmm_new(struct dispatcher **ret_dispatcher, sd_event *event, struct lease *lease, bool taken_over,
                     dispatcher_event_t on_event, dispatcher_gone_t on_gone, void *userdata) {
    struct dispatch_vmm *d = calloc(1, sizeof(*d));
    int r;

    if (!d) {
        lease_free(lease);
        return -ENOMEM;
    }
    d->dispatcher = (struct dispatcher){&dispatch_vmm_type, on_event, on_gone, userdata};
    d->event = sd_event_ref(event);
    d->lease = lease;
    STAILQ_INIT(&d->ops);
    r = sd_event_add_time(event, &d->timer, CLOCK_MONOTONIC, 0, 1, on_timer, d);
    if (r >= 0)
        r = sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
    if (r >= 0 && taken_over)
        r = skip_serials(d);
    if (r < 0) {
        dispatcher_free(&d->dispatcher);
        return r;
    }
    lease_set_handlers(lease, on_message, on_ended, d);
    *ret_dispatcher = &d->dispatcher;
    return 0;
}
