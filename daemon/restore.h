/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_RESTORE_H
#define DAEMON_RESTORE_H

/*
 * Going on where the process before this one ended, before the event loop runs. VMs are put back one by one, each with
 * what came back of it: first the VM, then its devices' descriptors. What was lost meanwhile is looked at once all that
 * clients said before is read.
 */

#include "registry.h"

/*
 * Did something run out, of the machine or of this process? Then nothing is wrong with what came back, and nothing of
 * it is given up: the next process tries again.
 */
bool ran_out(int error);

/*
 * Put a VM back that state_read() made, and its devices. @vm and the descriptors, -1 for none, are taken, also on
 * failure.
 * What is wrong with it was told to the log, unless something ran out.
 */
int vm_restore(struct broker *broker, struct vm *vm, int lease, int handle);

/* A VM that can't be put back, with all of its devices: what was granted is seen to end. The VM stays the caller's. */
void vm_audit_loss(const struct vm *vm);

/* The device's lease (taken); one that is not its owner's is closed, as if it had not come back. */
int device_restore_lease(struct device *device, int lease);

/* The VM has all that came back: go on with its timers, undo what was half done, tell those above. */
int vm_restored(struct vm *vm);

/* All VMs are there: tell which of them the policy would not give again; see to the losses, from the event loop. */
int broker_restored(struct broker *broker);

#endif
