/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_VM_H
#define DAEMON_VM_H

/* Inside the broker: the making of VMs, and what attach.c and device.c need of them. */

#include "broker.h"
#include "journal.h"

/* By name, for tsearch(3). */
int vm_compare(const void *left, const void *right);
int device_compare(const void *left, const void *right);

/* Policy, then registration, then GRANT on the lease (taken). @identity is taken, too. */
int vm_new(struct vm **ret_vm, struct broker *broker, const struct register_request *request, struct identity *identity,
           struct lease *lease, struct refusal *ret_refusal);

/* Also a device that is not granted yet; NULL for none. */
struct device *vm_find_any_device(const struct vm *vm, const char *name);

/* Would this policy give this grant? */
bool vm_is_allowed(const struct vm *vm, const struct policy *policy, struct policy_verdict *ret_verdict);
bool device_is_allowed(const struct device *device, const struct policy *policy, struct policy_verdict *ret_verdict);

/* A record of the audit trail about a VM, about a device. @rule and @reason may be NULL. */
void vm_audit(const struct vm *vm, enum audit_event event, const char *rule, const char *reason);
void device_audit(const struct device *device, enum audit_event event, const char *rule, const char *reason);

/* A subject that points into an identity. */
struct policy_subject identity_subject(const struct identity *identity);

/* "0x3f8-0x3ff (pio)", and whose it is. */
void range_describe(const struct range *range, char *ret_text, size_t size);

#endif
