/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGION_LEASE_H
#define IOREGION_LEASE_H

/*
 * The lease: the socket between the broker and one client, a device or a VMM.
 *
 * An AF_UNIX SOCK_SEQPACKET pair that the client makes; one end travels inside its D-Bus call. The client's
 * identity is proven on it, grants and descriptors travel over it, and its hang-up ends what the client holds.
 * One message a packet, host byte order, a header and a fixed body. doc/protocol.md tells the order of messages.
 *
 * Unknown types, wrong sizes, nonzero reserved fields, surplus descriptors and truncated control data end the lease.
 */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define IOREGION_LEASE_VERSION 1

/* Time limits on the answers, in microseconds. */
#define IOREGION_LEASE_PROOF_USEC UINT64_C(1000000) /* CHALLENGE to PROOF */
#define IOREGION_LEASE_ACK_USEC   UINT64_C(2000000) /* a request to its ACK or STATS_REPLY */

/* At most so many descriptors travel with one message. */
#define IOREGION_LEASE_FDS_MAX 64

enum ioregion_lease_type {
    IOREGION_LEASE_CHALLENGE = 1,   /* to client */
    IOREGION_LEASE_PROOF = 2,       /* to broker */
    IOREGION_LEASE_GRANT = 3,       /* to client */
    IOREGION_LEASE_REVOKE = 4,      /* to client */
    IOREGION_LEASE_RELEASE = 5,     /* to broker */
    IOREGION_LEASE_REGION_ADD = 6,  /* to VMM */
    IOREGION_LEASE_REGION_SWAP = 7, /* to VMM */
    IOREGION_LEASE_REGION_REMOVE = 8, /* to VMM */
    IOREGION_LEASE_ACK = 9,         /* to broker */
    IOREGION_LEASE_STATS = 10,      /* to VMM */
    IOREGION_LEASE_STATS_REPLY = 11, /* to broker */
    IOREGION_LEASE_EVENT = 12,      /* to broker */
    /* 13 to 16 are kept for SAVE, LOAD, IRQ_ADD and IRQ_REMOVE */
};

/* What happens to a region when its device goes away. */
enum ioregion_on_disconnect {
    IOREGION_ON_DISCONNECT_ONES = 0,   /* reads are all ones, writes are dropped */
    IOREGION_ON_DISCONNECT_HOLD = 1,   /* the vCPU waits for the device's return, up to the grace time */
    IOREGION_ON_DISCONNECT_REMOVE = 2, /* accesses go back to the VMM */
};

/* Flags of a region. */
#define IOREGION_REGION_POSTED UINT32_C(1) /* its writes are posted; needs the feature posted-writes */

enum ioregion_lease_event_what {
    IOREGION_EVENT_EOF = 1,       /* the device closed its channel */
    IOREGION_EVENT_DEADLINE = 2,  /* the device did not answer in time; the channel was cut */
    IOREGION_EVENT_VIOLATION = 3, /* the device broke the protocol; the channel was cut */
};

enum ioregion_revoke_reason {
    IOREGION_REVOKE_OPERATOR = 1, /* an operator detached or revoked the client */
    IOREGION_REVOKE_VM_GONE = 2,  /* the VM ended */
    IOREGION_REVOKE_RESUMED = 3,  /* a later attach by the same unit took over */
    IOREGION_REVOKE_POLICY = 4,   /* a policy reload withdrew the grant */
    IOREGION_REVOKE_FAILED = 5,   /* the device failed: deadline or protocol violation */
};

struct ioregion_lease_header {
    uint32_t type; /* enum ioregion_lease_type */
    uint32_t size; /* of the whole message, header included */
};

/* Prove who you are: send the nonce back. Only messages of the chosen version follow. */
struct ioregion_lease_challenge {
    struct ioregion_lease_header header;
    uint32_t min_version, max_version;
    uint8_t nonce[32];
};

struct ioregion_lease_proof {
    struct ioregion_lease_header header;
    uint32_t version;
    uint32_t zero;
    uint8_t nonce[32];
};

/*
 * The commit point of a request. A device gets its channel descriptors, lowest channel first; then one eventfd an
 * interrupt. A VMM gets no descriptors, and zero counts.
 */
struct ioregion_lease_grant {
    struct ioregion_lease_header header;
    uint64_t features;     /* agreed: IOREGION_FEATURE_* */
    uint64_t timeout_usec; /* the deadline of each command */
    uint32_t channels, regions, interrupts;
    uint32_t zero;
};

/* The client's hold ends: what it held is gone already. Its lease is closed after the deadline at the latest. */
struct ioregion_lease_revoke {
    struct ioregion_lease_header header;
    uint32_t reason; /* enum ioregion_revoke_reason */
    uint32_t zero;
    uint64_t deadline_usec; /* from now */
};

/* The client gives back all that it holds: a device detaches, a VMM unregisters. */
struct ioregion_lease_release {
    struct ioregion_lease_header header;
};

/*
 * Dispatch a range. The descriptor of the dispatcher's end travels with the first region of a channel; later
 * regions name the channel alone. A nonzero errno in the ACK means that nothing was added.
 */
struct ioregion_lease_region_add {
    struct ioregion_lease_header header;
    uint64_t serial;       /* answered by ACK */
    uint64_t region;       /* id, never used twice in a VM's life */
    uint64_t base, size;   /* guest physical address or port, and bytes */
    uint64_t user_data;
    uint64_t timeout_usec; /* deadline of each command */
    uint64_t grace_usec;   /* how long hold waits */
    uint64_t features;     /* agreed */
    uint32_t space;        /* enum ioregion_space */
    uint32_t flags;        /* IOREGION_REGION_* */
    uint32_t on_disconnect; /* enum ioregion_on_disconnect */
    uint32_t channel;      /* id, never used twice in a VM's life */
};

/* A new dispatcher's end for a channel whose device came back; the descriptor travels along. */
struct ioregion_lease_region_swap {
    struct ioregion_lease_header header;
    uint64_t serial;
    uint32_t channel;
    uint32_t zero;
};

/* Stop dispatching a range; ACK when no vCPU is inside it any more. */
struct ioregion_lease_region_remove {
    struct ioregion_lease_header header;
    uint64_t serial;
    uint64_t region;
};

struct ioregion_lease_ack {
    struct ioregion_lease_header header;
    uint64_t serial;
    int32_t error; /* zero or a positive errno */
    uint32_t zero;
};

struct ioregion_lease_stats {
    struct ioregion_lease_header header;
    uint64_t serial;
    uint64_t region;
};

/* Counts since the region was added. All zero for a region that is not there. */
struct ioregion_lease_stats_reply {
    struct ioregion_lease_header header;
    uint64_t serial;
    uint64_t region;
    uint64_t reads, writes; /* accesses, answered or not; writes include the posted ones */
    uint64_t posted;        /* writes sent without waiting for an answer */
    uint64_t failures;      /* accesses that read all ones or were dropped */
    uint64_t timeouts;      /* deadlines missed */
};

/* A device went away, seen on the channel of @region: one event a channel and loss. */
struct ioregion_lease_event {
    struct ioregion_lease_header header;
    uint64_t region;
    uint32_t what; /* enum ioregion_lease_event_what */
    uint32_t zero;
};

#ifdef __cplusplus
}
#endif

#endif
