/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a client may send on its lease, as the broker sees it: to the proof of identity first, then, as a VMM, to the
 * dispatcher, while that asks for regions of its own accord. The input is a series of steps: a byte that says what is
 * done, and what is sent follows its length.
 */

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/dispatch-vmm.h"
#include "daemon/proof.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static struct proof_set proofs;
static struct dispatcher *dispatcher;
static unsigned answers;

static uint8_t next(struct input *input) {
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

static void pump(sd_event *event) {
    while (sd_event_run(event, 0) > 0)
        ;
}

static void send_packet(struct input *input, int lease) {
    size_t n = next(input);

    n = n < input->size ? n : input->size;
    send(lease, input->data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    input->data += n;
    input->size -= n;
}

static void on_done(void *userdata, int error, const struct ioregion_lease_stats_reply *stats) {
    answers--;
}

static void on_event(void *userdata, uint64_t region, enum ioregion_lease_event_what what) {
    if (what < IOREGION_EVENT_EOF || what > IOREGION_EVENT_VIOLATION)
        abort();
}

static void on_gone(void *userdata) {
    dispatcher = dispatcher_free(dispatcher);
}

static void ask(unsigned which, int fd) {
    const struct ioregion_lease_region_add add = {.region = 1, .size = 1};
    const struct channel_ends ends = {.dispatcher = fd, .device = -1};
    const struct dispatcher_type *type = dispatcher->type;

    answers++;
    if ((which == 1 && type->add(dispatcher, &add, &ends, true, on_done, NULL) < 0) ||
        (which == 2 && type->swap(dispatcher, 1, &ends, on_done, NULL) < 0) ||
        (which == 3 && type->remove(dispatcher, 1, on_done, NULL) < 0) ||
        (which == 4 && type->stats(dispatcher, 1, on_done, NULL) < 0))
        answers--;
}

static void play_vmm(struct input *input, sd_event *event) {
    struct lease_set leases = {0};
    struct refusal refusal;
    struct lease *lease;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
        lease_new(&lease, &leases, event, pair[1], &refusal) < 0 ||
        dispatch_vmm_new(&dispatcher, event, lease, false, on_event, on_gone, NULL) < 0)
        abort();
    for (unsigned step; input->size > 0 && dispatcher;) {
        step = next(input) % 6;
        if (step >= 1 && step <= 4)
            ask(step, pair[0]);
        else
            send_packet(input, pair[0]);
        pump(event);
    }
    dispatcher = dispatcher_free(dispatcher);
    if (answers != 0 || leases.root)
        abort(); /* every request is answered once, whatever the VMM does */
    close(pair[0]);
}

static void on_proven(void *userdata, int error, const struct refusal *refusal, struct identity *identity,
                      struct lease *lease) {
    if (error >= 0)
        abort(); /* nobody guesses the nonce */
    *(bool *) userdata = true;
}

static void play_prover(struct input *input, sd_event *event) {
    struct refusal refusal;
    struct proof *proof;
    bool done = false;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
        proof_new(&proof, &proofs, event, pair[1], on_proven, &done, &refusal) < 0)
        abort();
    if (next(input) % 2)
        proof_sender(proof, getpid(), getuid());
    while (input->size > 0 && !done) {
        send_packet(input, pair[0]);
        pump(event);
    }
    proof_free(proof);
    if (proofs.pending || proofs.leases.root)
        abort();
    close(pair[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    static sd_event *event;

    if (!event && sd_event_new(&event) < 0)
        abort();
    if (next(&input) % 2)
        play_vmm(&input, event);
    else
        play_prover(&input, event);
    return 0;
}
