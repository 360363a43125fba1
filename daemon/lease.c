/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <search.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "lease.h"

/* So many messages are read at one go, so that a client that floods us waits for its turn as the others do. */
#define MESSAGES_A_TURN 16

/* Who shares our end may ask the kernel for it (SO_PASSPIDFD): a descriptor that no message brought along. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif

struct lease {
    uint64_t cookie; /* of the peer's socket pair: what the set is ordered by */
    struct lease_set *set;
    int fd;
    bool looked_at; /* the message that comes next: it is dealt with just now */
    sd_event_source *io;
    lease_message_t on_message;
    lease_ended_t on_ended;
    void *userdata;
};

static int lease_compare(const void *left, const void *right) {
    const struct lease *a = left, *b = right;

    return a->cookie < b->cookie ? -1 : a->cookie > b->cookie;
}

static bool is_unnamed(const struct sockaddr_un *address, socklen_t size) {
    return address->sun_family == AF_UNIX && size <= offsetof(struct sockaddr_un, sun_path);
}

/* Unnamed at both ends and connected: no socket of a third party that we would write to. */
static int check_socket(int fd) {
    struct sockaddr_un own = {0}, peer = {0};
    socklen_t own_size = sizeof(own), peer_size = sizeof(peer), size = sizeof(int);
    int type;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return -errno;
    if (type != SOCK_SEQPACKET)
        return -ESOCKTNOSUPPORT;
    if (getsockname(fd, (struct sockaddr *) &own, &own_size) < 0)
        return -errno;
    if (getpeername(fd, (struct sockaddr *) &peer, &peer_size) < 0)
        return -errno;
    return is_unnamed(&own, own_size) && is_unnamed(&peer, peer_size) ? 0 : -EISCONN;
}

int socket_cookie(int fd, uint64_t *ret_cookie) {
    socklen_t size = sizeof(*ret_cookie);

    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret_cookie, &size) < 0 ? -errno : 0;
}

int lease_fd(const struct lease *lease) {
    return lease->fd;
}

uint64_t lease_cookie(const struct lease *lease) {
    return lease->cookie;
}

/* A socket is known by its cookie, whatever descriptors there are of it. */
static int lease_enter(struct lease *lease, struct lease_set *set, struct refusal *ret_refusal) {
    struct lease **node;
    int r;

    r = socket_cookie(lease->fd, &lease->cookie);
    if (r < 0)
        return refuse(ret_refusal, REFUSAL_IDENTITY_UNPROVEN, "the lease is not a socket: %s", strerror(-r));
    node = tsearch(lease, &set->root, lease_compare);
    if (!node)
        return -ENOMEM;
    if (*node != lease)
        return refuse(ret_refusal, REFUSAL_IDENTITY_UNPROVEN, "the lease is in use already: make a new pair each time");
    lease->set = set;
    return 0;
}

static int lease_check(const struct lease *lease, struct refusal *ret_refusal) {
    int r = check_socket(lease->fd);

    if (r < 0)
        return refuse(ret_refusal, REFUSAL_IDENTITY_UNPROVEN,
                      "the lease is not one end of a socketpair(AF_UNIX, SOCK_SEQPACKET): %s", strerror(-r));
    return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata);

static int lease_make(struct lease **ret_lease, struct lease_set *set, sd_event *event, int fd, bool known,
                      struct refusal *ret_refusal) {
    _cleanup_(lease_freep) struct lease *lease = calloc(1, sizeof(*lease));
    int r;

    if (!lease) {
        fd_close(fd);
        return -ENOMEM;
    }
    lease->fd = fd;

    r = lease_enter(lease, set, ret_refusal);
    if (r >= 0 && !known)
        r = lease_check(lease, ret_refusal);
    if (r < 0)
        return r;
    r = sd_event_add_io(event, &lease->io, fd, EPOLLIN, on_io, lease);
    if (r < 0)
        return r;
    *ret_lease = STEAL(lease);
    return 0;
}

int lease_new(struct lease **ret_lease, struct lease_set *set, sd_event *event, int fd, struct refusal *ret_refusal) {
    return lease_make(ret_lease, set, event, fd, false, ret_refusal);
}

int lease_restore(struct lease **ret_lease, struct lease_set *set, sd_event *event, int fd) {
    struct refusal refusal;

    return lease_make(ret_lease, set, event, fd, true, &refusal);
}

/* What was looked at is dealt with. A message that is left behind would make the end of the lease a reset. */
static void take_out(struct lease *lease) {
    if (lease->looked_at)
        recv(lease->fd, NULL, 0, MSG_DONTWAIT);
    lease->looked_at = false;
}

struct lease *lease_free(struct lease *lease) {
    if (!lease)
        return NULL;
    take_out(lease);
    if (lease->io)
        sd_event_source_set_userdata(lease->io, NULL); /* tells on_io() */
    sd_event_source_disable_unref(lease->io);
    if (lease->set)
        tdelete(lease, &lease->set->root, lease_compare);
    fd_close(lease->fd);
    free(lease);
    return NULL;
}

void lease_set_handlers(struct lease *lease, lease_message_t on_message, lease_ended_t on_ended, void *userdata) {
    lease->on_message = on_message;
    lease->on_ended = on_ended;
    lease->userdata = userdata;
}

int lease_peer(const struct lease *lease, struct ucred *ret_peer) {
    socklen_t size = sizeof(*ret_peer);

    return getsockopt(lease->fd, SOL_SOCKET, SO_PEERCRED, ret_peer, &size) < 0 ? -errno : 0;
}

int lease_peer_groups(const struct lease *lease, gid_t **ret_gids, size_t *ret_n_gids) {
    _cleanup_(freep) gid_t *gids = NULL;
    socklen_t size = 0;

    /* a peer's groups never change after it made the pair: the first call gives the size for the second */
    if (getsockopt(lease->fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) < 0 && errno != ERANGE)
        return -errno;
    gids = malloc(size + sizeof(gid_t)); /* room for the primary group */
    if (!gids)
        return -ENOMEM;
    if (size > 0 && getsockopt(lease->fd, SOL_SOCKET, SO_PEERGROUPS, gids, &size) < 0)
        return -errno;
    *ret_gids = STEAL(gids);
    *ret_n_gids = size / sizeof(gid_t);
    return 0;
}

bool lease_has_news(const struct lease *lease) {
    struct pollfd poll_fd = {.fd = lease->fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) != 0;
}

int lease_want_credentials(struct lease *lease) {
    int on = 1;

    return setsockopt(lease->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ? -errno : 0;
}

/* What may come in, and how long it is; zero for what may not. */
static size_t expected_size(uint32_t type) {
    switch (type) {
    case IOREGION_LEASE_PROOF:
        return sizeof(struct ioregion_lease_proof);
    case IOREGION_LEASE_RELEASE:
        return sizeof(struct ioregion_lease_release);
    case IOREGION_LEASE_ACK:
        return sizeof(struct ioregion_lease_ack);
    case IOREGION_LEASE_STATS_REPLY:
        return sizeof(struct ioregion_lease_stats_reply);
    case IOREGION_LEASE_EVENT:
        return sizeof(struct ioregion_lease_event);
    default:
        return 0;
    }
}

union lease_message {
    struct ioregion_lease_header header;
    struct ioregion_lease_proof proof;
    struct ioregion_lease_release release;
    struct ioregion_lease_ack ack;
    struct ioregion_lease_stats_reply stats_reply;
    struct ioregion_lease_event event;
};

static bool zero_fields_are_zero(const union lease_message *m) {
    switch (m->header.type) {
    case IOREGION_LEASE_PROOF:
        return m->proof.zero == 0;
    case IOREGION_LEASE_ACK:
        return m->ack.zero == 0 && m->ack.error >= 0;
    case IOREGION_LEASE_EVENT:
        return m->event.zero == 0;
    default:
        return true;
    }
}

/* Close every descriptor that came along, find the credentials; returns how many descriptors there were. */
static size_t take_control(struct msghdr *message, const struct ucred **ret_sender) {
    size_t n_fds = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof(struct ucred)))
            *ret_sender = (const struct ucred *) CMSG_DATA(c);
        if (c->cmsg_type == SCM_RIGHTS || c->cmsg_type == SCM_PIDFD) {
            size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            const int *fds = (const int *) CMSG_DATA(c);

            for (size_t i = 0; i < n; i++)
                fd_close(fds[i]);
            n_fds += n;
        }
    }
    return n_fds;
}

/*
 * Look at one message and check it: 1 when the handler was called, 0 when there is none; else the lease ends. The
 * message stays where it is until it is dealt with: should this process end meanwhile, the next one finds it. But for a
 * PROOF, which proves nothing to anybody else.
 */
static int lease_receive(struct lease *lease) {
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
    } control;
    union lease_message message;
    struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
    struct msghdr header = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    const struct ucred *sender = NULL;
    ssize_t n;

    n = recvmsg(lease->fd, &header, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    lease->looked_at = true;
    if (take_control(&header, &sender) > 0)
        return -EPROTO;
    if (n == 0)
        return -ECONNRESET; /* end of file, or an empty packet: neither is a message */
    if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || (size_t) n < sizeof(message.header) ||
        message.header.size != (size_t) n || expected_size(message.header.type) != (size_t) n ||
        !zero_fields_are_zero(&message))
        return -EPROTO;
    if (!lease->on_message)
        return -EPROTO;
    if (message.header.type == IOREGION_LEASE_PROOF)
        take_out(lease);
    n = lease->on_message(lease, &message.header, sender, lease->userdata);
    return n < 0 ? (int) n : 1;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
    /* a handler may free the lease: then the source, which we hold, has no userdata any more */
    struct lease *lease = userdata;
    int r = 1;

    sd_event_source_ref(source);
    for (unsigned i = 0; i < MESSAGES_A_TURN && r > 0 && sd_event_source_get_userdata(source); i++) {
        r = lease_receive(lease);
        if (r > 0 && sd_event_source_get_userdata(source))
            take_out(lease);
    }
    if (r < 0 && sd_event_source_get_userdata(source)) {
        sd_event_source_set_enabled(source, SD_EVENT_OFF);
        if (lease->on_ended)
            lease->on_ended(lease, lease->userdata);
    }
    sd_event_source_unref(source);
    return 0;
}

int lease_send(struct lease *lease, const struct ioregion_lease_header *message, const int *fds, size_t n_fds) {
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * IOREGION_LEASE_FDS_MAX)];
    } control;
    struct iovec iov = {.iov_base = (void *) message, .iov_len = message->size};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds > IOREGION_LEASE_FDS_MAX)
        return -E2BIG;
    if (n_fds > 0) {
        struct cmsghdr *c = &control.align;

        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        memset(&control, 0, header.msg_controllen);
        *c = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * n_fds)};
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    if (sendmsg(lease->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        int r = -errno;

        shutdown(lease->fd, SHUT_RDWR); /* the event loop sees the end */
        return r;
    }
    return 0;
}

struct lease *lease_revoke(struct lease *lease, enum ioregion_revoke_reason reason) {
    const struct ioregion_lease_revoke revoke = {
        .header = {.type = IOREGION_LEASE_REVOKE, .size = sizeof(revoke)},
        .reason = reason,
    };

    if (lease)
        lease_send(lease, &revoke.header, NULL, 0);
    return lease_free(lease);
}
