/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_VM_H
#define DAEMON_VM_H

/* The life of a VM. */

#include "registry.h"
#include "request.h"

/* Inside the broker: policy, registration, GRANT on the lease (taken). @identity is taken, too. */
int vm_new(struct vm **ret_vm, struct broker *broker, const struct register_request *request, struct identity *identity,
           struct lease *lease, struct refusal *ret_refusal);

/* Write down what it is now. QuotaExceeded where that is too long. @ret_refusal may be NULL. */
int vm_save(const struct vm *vm, struct refusal *ret_refusal);

/* What its dispatcher has to say, with the VM as userdata. */
void vm_on_event(void *userdata, uint64_t region, enum ioregion_lease_event_what what);
void vm_on_gone(void *userdata);

/* Its memory and descriptors, those of its devices too. Nobody is told. */
void vm_free(struct vm *vm);

/* End a VM and its devices: everyone is told why, and all is freed before this returns. */
void vm_end(struct vm *vm, enum ioregion_revoke_reason reason);

#endif
