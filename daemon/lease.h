/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_LEASE_H
#define DAEMON_LEASE_H

/*
 * The broker's end of a lease: framing and suspicion, no meaning.
 *
 * The descriptor is shared with whoever sent it, who can change its flags, read from it and write to it: every call
 * is non-blocking, everything received is checked, and a message that can't be sent ends the lease.
 */

#include <stdint.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include <ioregion/lease.h>
#include "internal/cleanup.h"
#include "refusal.h"

struct lease;

/* All leases in use: no socket serves two. Zero-initialise; its leases must be freed before it goes out of use. */
struct lease_set {
    void *root;
};

/*
 * @message is valid: known type, right size, zero fields zero, no descriptors. Return a negative errno to end the
 * lease. The handler may free the lease.
 */
typedef int (*lease_message_t)(struct lease *lease, const struct ioregion_lease_header *message,
                               const struct ucred *sender, void *userdata);
/* The lease ended: the peer hung up or broke the protocol. Called once; the handler frees the lease. */
typedef void (*lease_ended_t)(struct lease *lease, void *userdata);

/*
 * Takes @fd, also on failure. Only an unnamed AF_UNIX SOCK_SEQPACKET socket will do, connected to an unnamed one, in
 * use by no other lease: else IdentityUnproven.
 */
int lease_new(struct lease **ret_lease, struct lease_set *set, sd_event *event, int fd, struct refusal *ret_refusal);
/*
 * Likewise, of a socket that is known to have been a lease: it may have got a name since, as the kernel gives one to
 * sockets that want credentials.
 */
int lease_restore(struct lease **ret_lease, struct lease_set *set, sd_event *event, int fd);
struct lease *lease_free(struct lease *lease);
DEFINE_CLEANUP(lease_free, struct lease *);

void lease_set_handlers(struct lease *lease, lease_message_t on_message, lease_ended_t on_ended, void *userdata);

/* Who made the socket pair, by SO_PEERCRED; and its supplementary groups (*ret_gids is the caller's to free). */
int lease_peer(const struct lease *lease, struct ucred *ret_peer);
int lease_peer_groups(const struct lease *lease, gid_t **ret_gids, size_t *ret_n_gids);

/* The descriptor, which stays the lease's; and what no other socket of this boot has, or had. */
int lease_fd(const struct lease *lease);
uint64_t lease_cookie(const struct lease *lease);
int socket_cookie(int fd, uint64_t *ret_cookie);

/* Is there something that its handlers were not told of yet: a message, or its end? */
bool lease_has_news(const struct lease *lease);

/* From now on the kernel adds the sender's credentials to what arrives. */
int lease_want_credentials(struct lease *lease);

/*
 * Send one message; descriptors are duplicated by the kernel and stay the caller's. A failure (-EPIPE, -EAGAIN, ...)
 * means that the lease is of no use any more: its ended handler runs from the event loop, not from here.
 */
int lease_send(struct lease *lease, const struct ioregion_lease_header *message, const int *fds, size_t n_fds);

/* Send REVOKE, if it can be sent, and free. Accepts NULL; returns NULL. */
struct lease *lease_revoke(struct lease *lease, enum ioregion_revoke_reason reason);

#endif
