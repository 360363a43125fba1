/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RUN_MACHINES_H
#define RUN_MACHINES_H

/*
 * The VMs and vCPUs of the process that the library was put into, known by the numbers of their descriptors.
 *
 * Each call stands for one of the VMM's own and makes it: what it returns and leaves in errno is what the kernel
 * gave, unless said otherwise. Any thread; machines_run() and the check of machines_closing() take no lock and
 * allocate nothing.
 */

#include <stdbool.h>
#include <stdint.h>

#include "configuration.h"

/* Once, before all others. */
void machines_init(const struct configuration *configuration);

/* Was there ever a VM, in this process or one that it was forked from? */
bool machines_any(void);

/*
 * KVM_CREATE_VM, with a registration behind it. The first VM of a process bears the configured name, those that live
 * beside it have .2, .3, ... behind it. If the first is refused the process ends: a VMM may have another way to run
 * its guest, and its user would not see the devices missing. Later ones fail with an errno.
 */
int machines_create_vm(int kvm, unsigned long type);

/* KVM_CREATE_VCPU; of a VM that is not known it fails with EBADF. */
int machines_create_vcpu(int vm, unsigned long id);

/* KVM_RUN until an exit is the VMM's own; of a vCPU that is not known it fails with EBADF. */
int machines_run(int vcpu, unsigned long argument);

/* KVM_SET_USER_MEMORY_REGION, or the other request that does the same: both begin with this struct. */
struct kvm_userspace_memory_region;
int machines_set_memory(int vm, unsigned long request, const struct kvm_userspace_memory_region *slot);

/*
 * @fd is about to be closed. A VM ends, for the broker, with the last descriptor of its own and its vCPUs; this may
 * then wait for an access that is under way.
 */
void machines_closing(int fd);

/* Around fork(3): the child has none of the VMs. */
void machines_fork_prepare(void);
void machines_fork_parent(void);
void machines_fork_child(void);

#endif
