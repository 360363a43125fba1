/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIBIOREGION_LEASE_CLIENT_H
#define LIBIOREGION_LEASE_CLIENT_H

/*
 * The client's end of a lease, for devices and VMMs alike: receive with every check, send without ever blocking.
 *
 * A lease that broke the protocol is shut down by its caller; nothing here keeps state.
 */

#include <stdbool.h>
#include <stddef.h>
#include <ioregion/lease.h>
#include <internal/cleanup.h>

/* A message to a client, checked, and the descriptors that came with it. */
struct lease_message {
    union {
        struct ioregion_lease_header header;
        struct ioregion_lease_challenge challenge;
        struct ioregion_lease_grant grant;
        struct ioregion_lease_revoke revoke;
        struct ioregion_lease_region_add add;
        struct ioregion_lease_region_swap swap;
        struct ioregion_lease_region_remove remove;
        struct ioregion_lease_stats stats;
    };
    size_t n_fds;
    int fds[IOREGION_LEASE_FDS_MAX]; /* the message's; -1 where taken out */
};

#define LEASE_MESSAGE_INIT                                                                                             \
    { .n_fds = 0 }

/* Close the descriptors that nobody took. */
void lease_message_done(struct lease_message *message);

/* A new pair: *ret_ours stays, *ret_theirs is for the broker. */
int lease_client_pair(int *ret_ours, int *ret_theirs);

/*
 * Take one message without waiting: 1 and *message, 0 when there is none, -ECONNRESET when the broker hung up,
 * -EPROTO when it sent what the protocol does not allow.
 */
int lease_client_receive(int lease, struct lease_message *message);

/*
 * Has the broker spoken its last word? The same results, for a device that was granted: only REVOKE may come. Takes
 * no descriptors in, whatever is sent, so that it works under the strict system call filter.
 */
int lease_client_receive_revoke(int lease, unsigned *ret_reason);

/* Send one message, whose size is in its header; -EAGAIN when the broker does not read. Any thread. */
int lease_client_send(int lease, const struct ioregion_lease_header *message);

/* Answer a challenge; -EPROTONOSUPPORT when there is no version in common. */
int lease_client_prove(int lease, const struct ioregion_lease_challenge *challenge);

#endif
