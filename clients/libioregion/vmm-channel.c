/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Whose turn it is on a channel, and what its loss means.
 *
 * vCPUs are served in the order of their arrival, so that none starves. Who has the turn exchanges without holding
 * the lock, and is the only one to replace the descriptor. A loss is reported to the broker once, and then each
 * access meets it as its region's on_disconnect says.
 */

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "clock.h"
#include "lease-client.h"
#include "vmm-internal.h"

/* The socket's timeouts bound every call, and its hang-up is an event; there is no event for what it receives. */
static int prepare(const struct channel *channel, int fd) {
    struct timeval timeout = {.tv_sec = (time_t) (channel->timeout_usec / 1000000),
                              .tv_usec = (suseconds_t) (channel->timeout_usec % 1000000)};
    struct epoll_event event = {.events = EPOLLRDHUP, .data.u64 = channel->id << 32 | (uint32_t) fd};
    socklen_t length = sizeof(int);
    int type;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_SEQPACKET)
        return -EINVAL;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
        epoll_ctl(channel->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    return 0;
}

/* Closing is not enough to forget a descriptor: the broker has a duplicate, which keeps the event alive. */
static int release_fd(struct channel *channel, int fd) {
    if (fd >= 0)
        epoll_ctl(channel->epoll, EPOLL_CTL_DEL, fd, NULL);
    return fd_close(fd);
}

int channel_new(struct channel **ret_channel, int epoll, int lease, uint32_t id, int fd, uint64_t timeout_usec) {
    struct channel *channel = calloc(1, sizeof(*channel));
    pthread_condattr_t monotonic;
    int r;

    if (!channel)
        return -ENOMEM;
    *channel = (struct channel){
        .id = id, .timeout_usec = timeout_usec, .epoll = epoll, .lease = lease, .fd = fd, .incoming = -1};
    r = prepare(channel, fd);
    if (r < 0) {
        free(channel);
        return r;
    }
    TAILQ_INIT(&channel->turns);
    pthread_mutex_init(&channel->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&channel->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *ret_channel = channel;
    return 0;
}

struct channel *channel_free(struct channel *channel) {
    if (!channel)
        return NULL;
    release_fd(channel, channel->fd);
    release_fd(channel, channel->incoming);
    pthread_cond_destroy(&channel->changed);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
    return NULL;
}

/* Cut the device off and tell the broker, who is told nothing when it was its own doing. */
static void lose(struct channel *channel, uint64_t region, uint32_t what) {
    const struct ioregion_lease_event event = {
        .header = {IOREGION_LEASE_EVENT, sizeof(event)}, .region = region, .what = what};

    epoll_ctl(channel->epoll, EPOLL_CTL_DEL, channel->fd, NULL);
    shutdown(channel->fd, SHUT_RDWR);
    channel->loss = what;
    channel->lost_at = clock_now_usec();
    /* A broker that lets messages pile up is no broker: the lease ends. */
    if (channel->incoming < 0 && lease_client_send(channel->lease, &event.header) == -EAGAIN)
        shutdown(channel->lease, SHUT_RDWR);
}

static void adopt_incoming(struct channel *channel) {
    if (channel->incoming < 0)
        return;
    release_fd(channel, channel->fd);
    channel->fd = STEAL_FD(channel->incoming);
    channel->loss = 0;
    channel->hung_up = false;
}

/* Returns with the lock, and whether it is our turn: nobody waits for it in a region that is removed. */
static bool take_turn(const struct region *region, struct turn *mine) {
    struct channel *channel = region->channel;

    pthread_mutex_lock(&channel->lock);
    TAILQ_INSERT_TAIL(&channel->turns, mine, turns);
    while (TAILQ_FIRST(&channel->turns) != mine && !region_removed(region))
        pthread_cond_wait(&channel->changed, &channel->lock);
    return TAILQ_FIRST(&channel->turns) == mine;
}

static void pass_turn(const struct region *region, struct turn *mine) {
    struct channel *channel = region->channel;
    bool ours = TAILQ_FIRST(&channel->turns) == mine;

    TAILQ_REMOVE(&channel->turns, mine, turns);
    if (ours) {
        if (channel->hung_up && !channel->loss)
            lose(channel, region->id, IOREGION_EVENT_EOF);
        channel->hung_up = false;
        adopt_incoming(channel);
        if (!TAILQ_EMPTY(&channel->turns))
            pthread_cond_broadcast(&channel->changed);
    }
    pthread_mutex_unlock(&channel->lock);
}

/* What the state of channel and region means for an access: to go on it must be CHANNEL_ANSWERED. Waits under hold. */
static enum channel_result settle(const struct region *region) {
    struct channel *channel = region->channel;

    for (;;) {
        uint64_t grace_over = clock_after(channel->lost_at, region->grace_usec);
        struct timespec until = clock_timespec(grace_over);

        adopt_incoming(channel);
        if (region_removed(region) || channel->loss == IOREGION_EVENT_VIOLATION)
            return CHANNEL_FAILED;
        if (!channel->loss)
            return CHANNEL_ANSWERED;
        if (region->on_disconnect == IOREGION_ON_DISCONNECT_REMOVE && channel->loss == IOREGION_EVENT_EOF)
            return CHANNEL_NOT_OURS;
        if (region->on_disconnect != IOREGION_ON_DISCONNECT_HOLD || !clock_left(grace_over))
            return CHANNEL_FAILED;
        pthread_cond_timedwait(&channel->changed, &channel->lock, &until);
    }
}

/* With the turn. True when answered; else the channel is lost. */
static bool attempt(struct region *region, const struct ioregion_command *command, bool *sent, uint64_t *ret_value) {
    struct channel *channel = region->channel;
    int fd = channel->fd;
    uint32_t loss;

    pthread_mutex_unlock(&channel->lock);
    loss = exchange(fd, command, channel->timeout_usec, sent, ret_value);
    pthread_mutex_lock(&channel->lock);
    if (!loss)
        return true;
    if (loss == IOREGION_EVENT_DEADLINE)
        atomic_fetch_add_explicit(&region->timeouts, 1, memory_order_relaxed);
    lose(channel, region->id, loss);
    return false;
}

static enum channel_result exchange_in_turn(struct region *region, const struct ioregion_command *command,
                                            uint64_t *ret_value) {
    enum channel_result result;
    bool sent = false;

    for (;;) {
        result = settle(region);
        if (result != CHANNEL_ANSWERED)
            return result == CHANNEL_NOT_OURS && sent ? CHANNEL_FAILED : result;
        /* The device is back, but did it do what it was told before? Only under replay it may be told again. */
        if (sent && !(region->features & IOREGION_FEATURE_REPLAY))
            return CHANNEL_FAILED;
        if (attempt(region, command, &sent, ret_value))
            return CHANNEL_ANSWERED;
    }
}

enum channel_result channel_exchange(struct region *region, const struct ioregion_command *command,
                                     uint64_t *ret_value) {
    enum channel_result result = CHANNEL_FAILED;
    struct turn mine;

    if (take_turn(region, &mine))
        result = exchange_in_turn(region, command, ret_value);
    pass_turn(region, &mine);
    return result;
}

int channel_swap(struct channel *channel, int fd) {
    int r = prepare(channel, fd);

    if (r < 0)
        return r;
    pthread_mutex_lock(&channel->lock);
    channel->incoming = release_fd(channel, channel->incoming);
    channel->incoming = fd;
    if (TAILQ_EMPTY(&channel->turns))
        adopt_incoming(channel);
    else
        shutdown(channel->fd, SHUT_RDWR);
    pthread_cond_broadcast(&channel->changed);
    pthread_mutex_unlock(&channel->lock);
    return 0;
}

void channel_hang_up(struct channel *channel, int fd) {
    pthread_mutex_lock(&channel->lock);
    if (fd == channel->fd && !channel->loss) {
        epoll_ctl(channel->epoll, EPOLL_CTL_DEL, fd, NULL);
        if (TAILQ_EMPTY(&channel->turns))
            lose(channel, LIST_FIRST(&channel->regions)->id, IOREGION_EVENT_EOF);
        else
            channel->hung_up = true;
    }
    pthread_mutex_unlock(&channel->lock);
}

void channel_wake(struct channel *channel, bool cut) {
    pthread_mutex_lock(&channel->lock);
    if (cut)
        shutdown(channel->fd, SHUT_RDWR);
    pthread_cond_broadcast(&channel->changed);
    pthread_mutex_unlock(&channel->lock);
}
