/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_STATE_READ_H
#define DAEMON_STATE_READ_H

/*
 * Saved state is as untrusted as what comes over a socket: whoever could write the file would be the broker's account,
 * but disks fill up, and processes of other versions write, too. All that later code relies on is checked here.
 */

#include "policy/reader.h"
#include "registry.h"

/* As the functions of the reader: 0, -EBADMSG with the error set, or -ENOMEM. */

/* An array of so many whole numbers, the i-th of at most @max[i]. */
int state_read_row(struct reader *r, const struct json_node *node, size_t n, const uint64_t *max, uint64_t *ret_row);
int state_read_text(struct reader *r, const struct json_node *node, char **ret_text);
int state_read_owner(struct reader *r, const struct json_node *node, struct identity **ret_owner);

/* @space is one of enum ioregion_space; @node is what an error is about. */
int state_read_range(struct reader *r, const struct json_node *node, uint64_t space, uint64_t first, uint64_t last,
                     void *owner, struct range *ret_range);
/* And into the VM's map: nothing of a VM overlaps. */
int state_read_map(struct reader *r, const struct json_node *node, struct vm *vm, struct range *range, uint64_t space,
                   uint64_t first, uint64_t last, void *owner);

/* All devices, into the VM's map and list; it has its numbers already. */
int state_read_devices(struct reader *r, const struct json_node *node, struct vm *vm);

#endif
