/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_STATE_H
#define DAEMON_STATE_H

/*
 * A VM as text, and back: what the next process has to know of it. Pure, but for the VM that it makes.
 *
 * The text is JSON, an object with all of the keys below and no other; numbers are whole. What a newer process writes
 * has another version, and is refused, as is everything that a VM could not be.
 *
 *   VM: version, name, kept, dispatcher ("vmm", "kernel"), lease, owner, rule, ceiling, features,
 *       next-region, next-channel, reserved [[space, first, last]...], undo [[region's id, space, first, last]...],
 * devices device: name, kept, lease, owner, rule, state, on-disconnect, features, timeout, grace, grace-ends, error,
 *           disconnected, first-region, regions [[space, first, last, user_data, flags, channel]...],
 *           channels [[id, cookie, open]...]
 *   owner: pid, uid, gids, unit ("": none)
 *
 * "lease" and "cookie" are SO_COOKIE of sockets, 0 for none; "kept" is the keeper's id. Times are microseconds, those
 * of a clock CLOCK_MONOTONIC. "undo" has the regions that the dispatcher may have and nobody holds.
 */

#include "registry.h"

#define STATE_VERSION 1

/*
 * Devices are written as they were when they changed last (device_touch()). -EFBIG when it is more than state_read()
 * takes; -ENOMEM.
 */
int state_write(const struct vm *vm, char **ret_text, size_t *ret_size);

/*
 * The VM has its map, and devices in its map and list; but no broker, dispatcher, accounts, leases and descriptors,
 * which have cookies to be found by. vm_free() frees it. -EBADMSG with a line of why, for the caller to free; -ENOMEM.
 */
int state_read(const char *name, const char *text, size_t size, struct vm **ret_vm, char **ret_error);

#endif
