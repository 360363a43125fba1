/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <search.h>
#include <string.h>
#include <sys/random.h>

#include "proof.h"

/* A user may have so many proofs under way; what they cost is a descriptor and a second of patience each. */
#define PENDING_MAX 4

struct pending {
    uid_t uid;
    unsigned count;
};

struct proof {
    struct proof_set *set;
    struct pending *pending;
    struct lease *lease;
    struct identity *identity; /* of who made the pair, as far as it is known */
    struct unit_query *unit;
    sd_event_source *timeout;
    uint8_t nonce[32];
    struct ucred peer;   /* who made the pair */
    struct ucred prover; /* who sent PROOF, by the kernel's word */
    struct ucred sender; /* who called, by the bus's word */
    bool proven, called; /* prover and sender are known */
    bool ended;          /* the lease did, while the unit is asked for */
    proof_done_t done;
    void *userdata;
};

static int pending_compare(const void *left, const void *right) {
    const struct pending *a = left, *b = right;

    return a->uid < b->uid ? -1 : a->uid > b->uid;
}

static struct pending *pending_new(struct proof_set *set, uid_t uid) {
    _cleanup_(freep) struct pending *pending = calloc(1, sizeof(*pending));
    struct pending **node;

    if (!pending)
        return NULL;
    pending->uid = uid;
    node = tsearch(pending, &set->pending, pending_compare);
    if (!node)
        return NULL;
    return *node == pending ? STEAL(pending) : *node;
}

static void pending_drop(struct proof_set *set, struct pending *pending) {
    if (!pending || --pending->count > 0)
        return;
    tdelete(pending, &set->pending, pending_compare);
    free(pending);
}

/*
 * The kernel vouched for the pid in PROOF, after the pidfd was opened. Of the process that pidfd holds: if it lives
 * once its unit is known by its pid, then the pid was never free in between, and the unit is its.
 */
static int complete_identity(struct proof *proof, struct refusal *ret_refusal) {
    struct identity *identity = proof->identity;
    int r;

    identity->uid = proof->prover.uid;
    r = lease_peer_groups(proof->lease, &identity->gids, &identity->n_gids);
    if (r < 0)
        return r;
    identity->gids[identity->n_gids++] = proof->prover.gid;
    return unit_query_take(proof->unit, identity, ret_refusal);
}

static void proof_finish(struct proof *proof, int error, const struct refusal *refusal, struct identity *identity) {
    proof_done_t done = proof->done;
    struct lease *lease = identity ? STEAL(proof->lease) : NULL;

    proof->done = NULL;
    sd_event_source_set_enabled(proof->timeout, SD_EVENT_OFF);
    proof->unit = unit_query_free(proof->unit);
    if (proof->lease)
        proof->lease = lease_free(proof->lease);
    pending_drop(proof->set, STEAL(proof->pending));
    done(proof->userdata, error, refusal, identity, lease);
}

static void proof_fail(struct proof *proof, const char *why) {
    struct refusal refusal;
    int r = refuse(&refusal, REFUSAL_IDENTITY_UNPROVEN, "%s", why);

    proof_finish(proof, r, &refusal, NULL);
}

static void on_unit_known(void *userdata);

/*
 * Of those alone who have proven themselves, and as long as that takes their user has a proof under way: who hangs up
 * takes no question back, and the bus lets us wait for so many answers only.
 */
static void ask_for_unit(struct proof *proof) {
    sd_event *event = sd_event_source_get_event(proof->timeout);
    int r = unit_query_new(&proof->unit, &proof->set->units, event, proof->identity, on_unit_known, proof);

    if (r < 0)
        proof_finish(proof, r, NULL, NULL);
    else if (unit_query_known(proof->unit))
        on_unit_known(proof);
}

/* Once both words are in, and the unit is known: do they name one living process? */
static void proof_conclude(struct proof *proof) {
    struct refusal refusal = {0};
    int r;

    if (proof->called && proof->sender.pid != proof->peer.pid)
        return proof_fail(proof, "the process that made the lease is not the caller on the bus");
    if (!proof->proven || !proof->called)
        return;
    if (proof->prover.pid != proof->peer.pid)
        return proof_fail(proof, "the process that answered the challenge is not the one that made the lease");
    if (proof->prover.uid != proof->sender.uid)
        return proof_fail(proof, "the user that answered the challenge is not the caller's on the bus");
    if (!proof->unit)
        return ask_for_unit(proof);
    if (!unit_query_known(proof->unit))
        return;
    if (proof->ended)
        return proof_fail(proof, "the lease ended before the caller's unit was known");

    r = complete_identity(proof, &refusal);
    if (r == -ESRCH)
        return proof_fail(proof, "the caller has exited");
    if (r < 0)
        return proof_finish(proof, r, &refusal, NULL);
    lease_set_handlers(proof->lease, NULL, NULL, NULL);
    proof_finish(proof, 0, NULL, STEAL(proof->identity));
}

static void on_unit_known(void *userdata) {
    proof_conclude(userdata);
}

static int on_message(struct lease *lease, const struct ioregion_lease_header *message, const struct ucred *sender,
                      void *userdata) {
    const struct ioregion_lease_proof *answer = (const struct ioregion_lease_proof *) message;
    struct proof *proof = userdata;

    if (message->type != IOREGION_LEASE_PROOF || proof->proven || answer->version != IOREGION_LEASE_VERSION ||
        memcmp(answer->nonce, proof->nonce, sizeof(proof->nonce)) != 0 || !sender)
        return -EPROTO;
    proof->prover = *sender;
    proof->proven = true;
    proof_conclude(proof);
    return 0;
}

static void on_ended(struct lease *lease, void *userdata) {
    struct proof *proof = userdata;

    proof->ended = true;
    if (!proof->unit)
        proof_fail(proof, "the lease ended, or its first message was not the right PROOF");
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
    const struct proof *proof = userdata;

    if (proof->proven && proof->called)
        return 0; /* the unit is what lacks, and has its own time limit */
    proof_fail(userdata, proof->proven ? "the bus did not say within 1 s who called"
                                       : "the challenge on the lease was not answered within 1 s");
    return 0;
}

static int send_challenge(struct proof *proof) {
    struct ioregion_lease_challenge challenge = {
        .header = {.type = IOREGION_LEASE_CHALLENGE, .size = sizeof(challenge)},
        .min_version = IOREGION_LEASE_VERSION,
        .max_version = IOREGION_LEASE_VERSION,
    };
    int r;

    if (getrandom(proof->nonce, sizeof(proof->nonce), GRND_NONBLOCK) != sizeof(proof->nonce))
        return -EIO;
    memcpy(challenge.nonce, proof->nonce, sizeof(challenge.nonce));
    r = lease_want_credentials(proof->lease);
    if (r < 0)
        return r;
    return lease_send(proof->lease, &challenge.header, NULL, 0);
}

static int check_pending(const struct proof_set *set, uid_t uid, struct refusal *ret_refusal) {
    const struct pending key = {.uid = uid};
    struct pending **node = tfind(&key, &set->pending, pending_compare);

    if (node && (*node)->count >= PENDING_MAX)
        return refuse(ret_refusal, REFUSAL_BUSY, "user %u has %u requests waiting for their proof: try again", uid,
                      PENDING_MAX);
    return 0;
}

static int charge_pending(struct proof *proof) {
    struct pending *pending = pending_new(proof->set, proof->peer.uid);

    if (!pending)
        return -ENOMEM;
    pending->count++;
    proof->pending = pending;
    return 0;
}

static int begin_identity(struct proof *proof, struct refusal *ret_refusal) {
    int r;

    proof->identity = calloc(1, sizeof(*proof->identity));
    if (!proof->identity)
        return -ENOMEM;
    proof->identity->pid = proof->peer.pid;
    proof->identity->pidfd = r = identity_open_pidfd(proof->peer.pid);
    if (r == -ESRCH)
        return refuse(ret_refusal, REFUSAL_IDENTITY_UNPROVEN, "the process that made the lease has exited");
    return r < 0 ? r : 0;
}

/* Who made the pair? Before all else, since it is what a flood meets. What is no pair is for the lease to refuse. */
static int meet_peer(struct proof *proof, int fd, struct refusal *ret_refusal) {
    socklen_t size = sizeof(proof->peer);
    int r;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &proof->peer, &size) < 0 || proof->peer.pid == 0)
        return 0;
    r = check_pending(proof->set, proof->peer.uid, ret_refusal);
    return r < 0 ? r : begin_identity(proof, ret_refusal);
}

int proof_new(struct proof **ret_proof, struct proof_set *set, sd_event *event, int fd, proof_done_t done,
              void *userdata, struct refusal *ret_refusal) {
    _cleanup_(proof_freep) struct proof *proof = calloc(1, sizeof(*proof));
    int r = -ENOMEM;

    if (proof) {
        *proof = (struct proof){.set = set, .done = done, .userdata = userdata};
        r = meet_peer(proof, fd, ret_refusal);
    }
    if (r < 0) {
        fd_close(fd);
        return r;
    }
    r = lease_new(&proof->lease, &set->leases, event, fd, ret_refusal);
    if (r < 0)
        return r;
    if (!proof->identity)
        return refuse(ret_refusal, REFUSAL_IDENTITY_UNPROVEN, "the process that made the lease is not to be seen here");
    r = charge_pending(proof);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(event, &proof->timeout, CLOCK_MONOTONIC, IOREGION_LEASE_PROOF_USEC, 1, on_timeout,
                                   proof);
    if (r < 0)
        return r;
    lease_set_handlers(proof->lease, on_message, on_ended, proof);
    r = send_challenge(proof);
    if (r < 0)
        return r == -EPIPE || r == -ECONNRESET || r == -EAGAIN
                   ? refuse(ret_refusal, REFUSAL_IDENTITY_UNPROVEN, "the challenge can't be sent on the lease")
                   : r;
    *ret_proof = STEAL(proof);
    return 0;
}

void proof_sender(struct proof *proof, pid_t pid, uid_t uid) {
    if (!proof->done || proof->called)
        return;
    proof->sender = (struct ucred){.pid = pid, .uid = uid};
    proof->called = true;
    proof_conclude(proof);
}

struct proof *proof_free(struct proof *proof) {
    if (!proof)
        return NULL;
    sd_event_source_disable_unref(proof->timeout);
    lease_free(proof->lease);
    pending_drop(proof->set, proof->pending);
    unit_query_free(proof->unit);
    identity_free(proof->identity);
    free(proof);
    return NULL;
}
