/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_ALLOWED_H
#define DAEMON_ALLOWED_H

/* Would a policy give what was granted? */

#include "registry.h"

bool vm_is_allowed(const struct vm *vm, const struct policy *policy, struct policy_verdict *ret_verdict);

/* -ENOMEM when it can't be judged. */
int device_is_allowed(const struct device *device, const struct policy *policy, struct policy_verdict *ret_verdict);

/* A subject that points into an identity. */
struct policy_subject identity_subject(const struct identity *identity);

#endif
