/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_PROOF_H
#define DAEMON_PROOF_H

/*
 * Who a client is, proven on its lease.
 *
 * Bus credentials name a pid, and pids are reused; so the client shows, on a socket that only it and its friends
 * hold, that the process the kernel names is alive while we learn its unit. doc/protocol.md has the argument.
 */

#include <stdbool.h>

#include "identity.h"
#include "lease.h"
#include "unit-query.h"

/* Proofs under way, and whom they ask for units. Zero-initialise; every proof must be freed before it goes out of use.
 */
struct proof_set {
    struct lease_set leases;
    struct unit_source units;
    void *pending; /* by uid */
};

struct proof;

/* On success @identity and @lease are the callee's, and @refusal NULL; on failure they are NULL. Called once. */
typedef void (*proof_done_t)(void *userdata, int error, const struct refusal *refusal, struct identity *identity,
                             struct lease *lease);

/*
 * Begin: check the descriptor (taken), send CHALLENGE. done() follows from the event loop or from proof_sender(),
 * within IOREGION_LEASE_PROOF_USEC and UNIT_QUERY_USEC. Busy when the peer's user has four proofs pending.
 */
int proof_new(struct proof **ret_proof, struct proof_set *set, sd_event *event, int fd, proof_done_t done,
              void *userdata, struct refusal *ret_refusal);

/* What the bus says of the caller; may come before or after the PROOF. May call done(). */
void proof_sender(struct proof *proof, pid_t pid, uid_t uid);

/* Also cancels: done() will not be called. May be called from within done(), and must be called after it. */
struct proof *proof_free(struct proof *proof);
DEFINE_CLEANUP(proof_free, struct proof *);

#endif
