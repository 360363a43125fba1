/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BROKER_H
#define DAEMON_BROKER_H

/*
 * The broker: what those above see of it. Nothing below this line knows of D-Bus, of ioctls or of JSON.
 *
 * registry.h has what it holds, admission.h how requests are made of it, vm.h and device.h how something ends.
 */

#include "admission.h"
#include "device.h"
#include "registry.h"
#include "vm.h"

/* @policy is taken. @watcher must outlive the broker. */
int broker_new(struct broker **ret_broker, sd_event *event, struct policy *policy, const struct broker_watcher *watcher,
               void *userdata);
/*
 * From now on what is granted is written down. To be called before anything is granted, and before vm_restore().
 * @userdata must outlive the broker.
 */
void broker_set_keeper(struct broker *broker, const struct keeper_type *keeper, void *userdata);
/* Likewise, who knows which units processes run in; without one, their cgroups say so. */
void broker_set_unit_source(struct broker *broker, const struct unit_source_type *type, void *userdata);

/* Let go of everything as it is: nobody is told, since the keeper has it for the next process. */
struct broker *broker_leave(struct broker *broker);
/* Ends everything, as if each VM had ended; requests under way are refused with Busy. */
struct broker *broker_free(struct broker *broker);
DEFINE_CLEANUP(broker_free, struct broker *);

/*
 * Take a new policy (taken). What is granted stays granted, unless @revoke. Grants that the new policy would not
 * give are counted into *ret_kept or *ret_revoked, and logged one by one. Requests
 * under way are judged again when they are granted.
 */
int broker_set_policy(struct broker *broker, struct policy *policy, bool revoke, size_t *ret_kept, size_t *ret_revoked);

/* Log the grants that the policy would not give again, one by one. */
int broker_judge(struct broker *broker);

/* A user wants to read so many rows of lists. QuotaExceeded when it has read too many. */
int broker_charge_list(struct broker *broker, uid_t uid, uint32_t rows, struct refusal *ret_refusal);

#endif
