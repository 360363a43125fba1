/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_DEVICE_H
#define DAEMON_DEVICE_H

/* A device's states and its end. doc/architecture.md has the state table that device.c follows. */

#include "registry.h"

/*
 * End a device: the client is told why (@reason 0: it need not be), everything is undone, the device is freed before
 * this returns. done() (NULL: not wanted) is called, perhaps from within, when no vCPU is inside its regions any more.
 */
typedef void (*broker_done_t)(void *userdata);
void device_end(struct device *device, enum ioregion_revoke_reason reason, const char *why, broker_done_t done,
                void *userdata);

/*
 * What became of the unit that owns the device, for who can know: it is about to be restarted, it is inactive or
 * failed. News from before the last attach must not be told. May free the device.
 */
void device_unit_restarts(struct device *device);
void device_unit_ended(struct device *device);

/* Ask the dispatcher; done() as in dispatcher.h. */
int region_statistics(const struct region *region, dispatcher_done_t done, void *userdata);

/* What follows is for inside the broker. */

/* What a dispatcher has to know of a region. */
struct ioregion_lease_region_add region_message(const struct region *region);

/* The dispatcher saw the device's channel end, miss a deadline, or break the protocol. */
void device_channel_lost(struct device *device, enum ioregion_lease_event_what what);

/*
 * A resume put new channels in place of the lost ones, and then came to nothing: the dispatcher saw those end, and
 * meets that as any end of a channel, whatever the device was before. May free it.
 */
void device_lost_again(struct device *device);

/* The lease hung up: as if its handler had run. Frees the lease; may free the device. */
void device_lease_lost(struct device *device);

/* The device has @lease (taken) from now on, and hears of its end. */
void device_set_lease(struct device *device, struct lease *lease);

/* Its lease is over, with a word to the client if @reason is not 0. */
void device_drop_lease(struct device *device, enum ioregion_revoke_reason reason);

/* Let it fail at grace_ends_usec. */
int device_start_grace(struct device *device);

/* Attached, or attached again: the state, and no timer. Tells nobody. */
void device_set_attached(struct device *device);

/* Shut the channels down: the device reads end of file, the dispatcher sees the loss. */
void device_cut(struct device *device);

/*
 * Take the device out of everything that it is in, as far as it got: dispatcher, map, VM, quotas; free it. What was
 * visible is announced as gone. The rest as for device_end().
 */
void device_undo(struct device *device, enum ioregion_revoke_reason reason, broker_done_t done, void *userdata);

/* There is something else to write down of it from now on. */
void device_touch(struct device *device);

/* Its memory, descriptors and timer alone. */
void device_free(struct device *device);

#endif
