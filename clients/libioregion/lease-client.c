/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "lease-client.h"

int lease_client_pair(int *ret_ours, int *ret_theirs) {
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    *ret_ours = pair[0];
    *ret_theirs = pair[1];
    return 0;
}

void lease_message_done(struct lease_message *message) {
    for (size_t i = 0; i < message->n_fds; i++)
        message->fds[i] = fd_close(message->fds[i]);
    message->n_fds = 0;
}

/* What a client may be sent: the size of the message, and how many descriptors may come with it. */
static const struct {
    size_t size, min_fds, max_fds;
} to_client[] = {
    [IOREGION_LEASE_CHALLENGE] = {sizeof(struct ioregion_lease_challenge), 0, 0},
    [IOREGION_LEASE_GRANT] = {sizeof(struct ioregion_lease_grant), 0, IOREGION_LEASE_FDS_MAX},
    [IOREGION_LEASE_REVOKE] = {sizeof(struct ioregion_lease_revoke), 0, 0},
    [IOREGION_LEASE_REGION_ADD] = {sizeof(struct ioregion_lease_region_add), 0, 1},
    [IOREGION_LEASE_REGION_SWAP] = {sizeof(struct ioregion_lease_region_swap), 1, 1},
    [IOREGION_LEASE_REGION_REMOVE] = {sizeof(struct ioregion_lease_region_remove), 0, 0},
    [IOREGION_LEASE_STATS] = {sizeof(struct ioregion_lease_stats), 0, 0},
};

static bool reserved_fields_zero(const struct lease_message *message) {
    switch (message->header.type) {
    case IOREGION_LEASE_GRANT:
        return !message->grant.zero;
    case IOREGION_LEASE_REVOKE:
        return !message->revoke.zero;
    case IOREGION_LEASE_REGION_SWAP:
        return !message->swap.zero;
    default:
        return true;
    }
}

static bool message_valid(const struct lease_message *message, size_t size) {
    uint32_t type;

    if (size < sizeof(message->header) || message->header.size != size)
        return false;
    type = message->header.type;
    if (type >= sizeof(to_client) / sizeof(*to_client) || to_client[type].size != size)
        return false;
    return message->n_fds >= to_client[type].min_fds && message->n_fds <= to_client[type].max_fds &&
           reserved_fields_zero(message);
}

/* Descriptors first, so that whatever else is wrong none of them leaks. False on control data of another kind. */
static bool take_descriptors(struct lease_message *message, struct msghdr *header) {
    bool known = true;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            known = false;
            continue;
        }
        memcpy(message->fds + message->n_fds, CMSG_DATA(c), n * sizeof(int));
        message->n_fds += n;
    }
    return known;
}

int lease_client_receive(int lease, struct lease_message *message) {
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(IOREGION_LEASE_FDS_MAX * sizeof(int))];
    } control;
    struct iovec body = {message, offsetof(struct lease_message, n_fds)};
    struct msghdr header = {
        .msg_iov = &body, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n;
    bool known;

    do
        n = recvmsg(lease, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -ECONNRESET;

    message->n_fds = 0;
    known = take_descriptors(message, &header);
    if (known && n > 0 && !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && message_valid(message, (size_t) n))
        return 1;
    lease_message_done(message);
    return n ? -EPROTO : -ECONNRESET;
}

int lease_client_receive_revoke(int lease, unsigned *ret_reason) {
    struct ioregion_lease_revoke revoke;
    ssize_t n;

    do
        n = recv(lease, &revoke, sizeof(revoke), MSG_DONTWAIT | MSG_TRUNC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -ECONNRESET;
    if (n == 0)
        return -ECONNRESET;
    if (n != sizeof(revoke) || revoke.header.type != IOREGION_LEASE_REVOKE || revoke.header.size != n || revoke.zero)
        return -EPROTO;
    *ret_reason = revoke.reason;
    return 1;
}

int lease_client_send(int lease, const struct ioregion_lease_header *message) {
    ssize_t n;

    do
        n = send(lease, message, message->size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

int lease_client_prove(int lease, const struct ioregion_lease_challenge *challenge) {
    struct ioregion_lease_proof proof = {
        .header = {IOREGION_LEASE_PROOF, sizeof(proof)},
        .version = IOREGION_LEASE_VERSION,
    };

    if (challenge->min_version > IOREGION_LEASE_VERSION || challenge->max_version < IOREGION_LEASE_VERSION)
        return -EPROTONOSUPPORT;
    memcpy(proof.nonce, challenge->nonce, sizeof(proof.nonce));
    return lease_client_send(lease, &proof.header);
}
