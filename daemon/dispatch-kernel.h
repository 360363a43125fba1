/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_DISPATCH_KERNEL_H
#define DAEMON_DISPATCH_KERNEL_H

/*
 * The kernel dispatcher: ioregionfd.ko turns the vCPUs' accesses into commands, and the VMM has no part in it. This
 * end holds the module's handle of the VM, which hangs up when the VM ends and keeps nothing of it alive.
 */

#include <sys/types.h>

#include "dispatcher.h"
#include "lease.h"

extern const struct dispatcher_type dispatch_kernel_type;

/* Is the module there, for us, in a version that we know? */
bool dispatch_kernel_available(void);

/*
 * @vm_fd (the caller's) is what KVM_CREATE_VM gave, in the process @pid. @lease is taken; its end is the VM's end, too,
 * unless it is not to be kept: then it is there for the GRANT alone.
 *
 * -EPERM the VM is another process's · -EINVAL, -EBADF @vm_fd is no VM's · -EBUSY it has a handle already · -ESRCH the
 * process is gone · -ENODEV, -EPROTONOSUPPORT the module is not to be had.
 */
int dispatch_kernel_new(struct dispatcher **ret_dispatcher, sd_event *event, int vm_fd, pid_t pid, struct lease *lease,
                        bool keep_lease, dispatcher_event_t on_event, dispatcher_gone_t on_gone, void *userdata);

/*
 * Go on with a handle that another process made, and with its lease (NULL: it kept none). Both are taken. The regions
 * that the module has are told by restore().
 */
int dispatch_kernel_resume(struct dispatcher **ret_dispatcher, sd_event *event, int handle, struct lease *lease,
                           dispatcher_event_t on_event, dispatcher_gone_t on_gone, void *userdata);
#define DISPATCH_KERNEL_HANDLE "anon_inode:[ioregionfd-vm]" /* what /proc says that a handle is */

#endif
