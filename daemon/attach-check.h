/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_ATTACH_CHECK_H
#define DAEMON_ATTACH_CHECK_H

/* Inside the broker: may this attach go ahead, and on what terms? Changes nothing but the rate limit's count. */

#include "registry.h"
#include "request.h"

struct attach_terms {
    struct vm *vm;
    struct device *resume; /* the device that the request takes up again; NULL for a fresh one */
    struct account *account;
    const char *rule; /* the policy's */
    uint64_t features, timeout_usec, grace_usec;
};

int attach_check(struct broker *broker, const struct attach_request *request, const struct identity *identity,
                 struct attach_terms *ret_terms, struct refusal *ret_refusal);

#endif
