/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_DISPATCH_VMM_H
#define DAEMON_DISPATCH_VMM_H

/*
 * The vmm dispatcher: the VMM's library turns its own exits into commands. This end asks it over the VMM's lease to
 * add, swap and remove regions, and gives every request IOREGION_LEASE_ACK_USEC.
 */

#include "dispatcher.h"
#include "lease.h"

extern const struct dispatcher_type dispatch_vmm_type;

/*
 * @lease is taken. The lease's end is the VM's end. @taken_over: another process had it before, and may have asked for
 * what is answered now.
 */
int dispatch_vmm_new(struct dispatcher **ret_dispatcher, sd_event *event, struct lease *lease, bool taken_over,
                     dispatcher_event_t on_event, dispatcher_gone_t on_gone, void *userdata);

#endif
