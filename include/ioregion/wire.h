/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGION_WIRE_H
#define IOREGION_WIRE_H

/*
 * The channel: what travels between a dispatcher and a device.
 *
 * One command or one response a packet, 32 bytes each, host byte order. The layout is the one of the KVM
 * ioregionfd API document of 25 November 2020 and of versions 1 and 2 of its patches; doc/protocol.md describes
 * it in prose and tests/vectors/ holds golden packets.
 *
 * Everything here is pure: no memory is allocated, no state is kept, every function may be called from any thread.
 */

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Address spaces of the guest. Values are part of the lease protocol. */
enum ioregion_space {
    IOREGION_MMIO = 0,
    IOREGION_PIO = 1,
};

/* Features of the data plane: named, negotiated, the bits of every features field. */
#define IOREGION_FEATURE_POSTED_WRITES (UINT64_C(1) << 0) /* writes to posted regions want no answer */
#define IOREGION_FEATURE_REPLAY        (UINT64_C(1) << 1) /* an unanswered command may be sent again */
#define IOREGION_FEATURE_OUT_OF_ORDER  (UINT64_C(1) << 2) /* commands carry a tag, answers come in any order */
#define IOREGION_FEATURE_INTERRUPTS    (UINT64_C(1) << 3) /* the grant carries eventfds */
#define IOREGION_FEATURE_STATE         (UINT64_C(1) << 4) /* the device saves and loads its state */
#define IOREGION_FEATURES_ALL          (UINT64_C(0x1f))

/* A command: dispatcher to device. */
struct ioregion_command {
    uint32_t info;      /* IOREGION_INFO_* below */
    uint32_t padding;   /* zero, or the tag under out-of-order */
    uint64_t user_data; /* the region's token, as the device declared it */
    uint64_t offset;    /* bytes from the region's base */
    uint64_t data;      /* the value written, zero-extended; zero for reads */
};

/* A response: device to dispatcher. */
struct ioregion_response {
    uint64_t data;    /* the value read, zero-extended; zero for writes */
    uint8_t pad[24];  /* zero; the first four bytes echo the tag under out-of-order */
};

#define IOREGION_PACKET_SIZE 32

/* The fields of info. */
#define IOREGION_INFO_OPERATION  UINT32_C(0x0f)
#define IOREGION_INFO_READ       UINT32_C(0x00)
#define IOREGION_INFO_WRITE      UINT32_C(0x01)
#define IOREGION_INFO_SIZE_SHIFT 4
#define IOREGION_INFO_SIZE       UINT32_C(0x30) /* log2 of the access size in bytes */
#define IOREGION_INFO_RESPONSE   UINT32_C(0x40) /* a response is wanted: always for reads */
#define IOREGION_INFO_RESERVED   (~UINT32_C(0x7f))

/* The largest value that an access of @size bytes (1, 2, 4 or 8) can carry; also what a failed read gives. */
static inline uint64_t ioregion_all_ones(unsigned size) {
    return UINT64_MAX >> (64 - 8 * size);
}

/* info of an access of @size bytes (1, 2, 4 or 8). */
static inline uint32_t ioregion_info(bool write, unsigned size, bool response) {
    return (write ? IOREGION_INFO_WRITE : IOREGION_INFO_READ) |
           ((uint32_t) __builtin_ctz(size) << IOREGION_INFO_SIZE_SHIFT) |
           (response ? IOREGION_INFO_RESPONSE : 0);
}

static inline bool ioregion_info_is_write(uint32_t info) {
    return (info & IOREGION_INFO_OPERATION) == IOREGION_INFO_WRITE;
}

/* The access size in bytes: 1, 2, 4 or 8. */
static inline unsigned ioregion_info_size(uint32_t info) {
    return 1u << ((info & IOREGION_INFO_SIZE) >> IOREGION_INFO_SIZE_SHIFT);
}

static inline bool ioregion_info_wants_response(uint32_t info) {
    return info & IOREGION_INFO_RESPONSE;
}

/*
 * May a device that agreed to nothing but @features be sent this command? @region_size is the size in bytes of the
 * region that user_data names. Checks reserved bits, operation, padding, that data fits the size (and is zero for
 * reads), that reads want a response, and that the access lies within the region. A device closes its channel on
 * a command that is not valid.
 */
static inline bool ioregion_command_valid(const struct ioregion_command *c, uint64_t region_size, uint64_t features) {
    unsigned size = ioregion_info_size(c->info);
    uint32_t operation = c->info & IOREGION_INFO_OPERATION;

    if ((c->info & IOREGION_INFO_RESERVED) || operation > IOREGION_INFO_WRITE)
        return false;
    if (c->padding && !(features & IOREGION_FEATURE_OUT_OF_ORDER))
        return false;
    if (!ioregion_info_wants_response(c->info) &&
        (operation == IOREGION_INFO_READ || !(features & IOREGION_FEATURE_POSTED_WRITES)))
        return false;
    if (c->data & ~(operation == IOREGION_INFO_WRITE ? ioregion_all_ones(size) : 0))
        return false;
    return size <= region_size && c->offset <= region_size - size;
}

/*
 * Is this the answer to @c, in-order channel? The value must fit the access, and everything else be zero. A
 * dispatcher cuts the device off on a response that is not valid.
 */
static inline bool ioregion_response_valid(const struct ioregion_response *r, const struct ioregion_command *c) {
    uint64_t fits = ioregion_info_is_write(c->info) ? 0 : ioregion_all_ones(ioregion_info_size(c->info));
    uint8_t dirty = 0;

    for (unsigned i = 0; i < sizeof(r->pad); i++)
        dirty |= r->pad[i];
    return !dirty && !(r->data & ~fits);
}

#ifdef __cplusplus
}
#endif

#endif
