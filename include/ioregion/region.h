/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGION_REGION_H
#define IOREGION_REGION_H

/* What device.h and vmm.h share: regions, and the text of the last error. */

#include <ioregion/lease.h>
#include <ioregion/wire.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define IOREGION_PUBLIC __attribute__((visibility("default")))
#else
#define IOREGION_PUBLIC
#endif

/* A range of guest addresses that a device asks for. Zero-initialise, then set what is needed. */
struct ioregion_region {
    uint32_t space;     /* enum ioregion_space */
    uint32_t flags;     /* IOREGION_REGION_* */
    uint64_t base;      /* guest physical address, or port */
    uint64_t size;      /* bytes, at least 1 */
    uint64_t user_data; /* a token of the device's choice, unique on the channel; every command carries it */
    uint32_t channel;   /* which of the device's channels, from 0 */
    uint32_t reserved;  /* zero */
};

/*
 * What went wrong in the last failed call of this library in this thread: the broker's own words where the broker
 * refused ("org.ioregion1.Error.PolicyDenied: ..."), else the failed step and its errno. Never NULL; valid until the
 * thread's next call into the library. The negative errno that the call returned tells programs, this tells people.
 */
IOREGION_PUBLIC const char *ioregion_last_error(void);

#ifdef __cplusplus
}
#endif

#endif
