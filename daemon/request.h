/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_REQUEST_H
#define DAEMON_REQUEST_H

/* What is asked of the broker by those who have to prove who they are. */

#include <stddef.h>
#include <stdint.h>

#include <ioregion/region.h>
#include "internal/cleanup.h"

struct register_request {
    char *name;
    unsigned dispatch;               /* POLICY_DISPATCH_* that would do */
    int vm_fd;                       /* -1 for none */
    int process;                     /* folder of the process whose VM an operator adopts; -1: the caller's own */
    uint64_t ceiling;                /* UINT64_MAX for none */
    struct ioregion_region *reserve; /* space, base and size count */
    size_t n_reserve;
};

struct attach_request {
    char *vm, *device;
    struct ioregion_region *regions;
    size_t n_regions;
    uint64_t require, want;
    uint32_t channels;     /* at least 1 */
    uint64_t timeout_usec; /* 0: the rule's */
    enum ioregion_on_disconnect on_disconnect;
    uint32_t *interrupts;
    size_t n_interrupts;
};

struct register_request *register_request_free(struct register_request *request);
DEFINE_CLEANUP(register_request_free, struct register_request *);
struct attach_request *attach_request_free(struct attach_request *request);
DEFINE_CLEANUP(attach_request_free, struct attach_request *);

#endif
