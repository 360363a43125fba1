/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_DEVICE_NEW_H
#define DAEMON_DEVICE_NEW_H

#include "attach-check.h"

/*
 * Inside the broker: make the device that a request asks for, invisible yet. It has its ranges in the VM's map and is
 * charged for; the dispatcher and the client know nothing of it. device_undo() undoes it. @owner is taken.
 */
int device_new(struct device **ret_device, const struct attach_request *request, const struct attach_terms *terms,
               struct identity *owner, struct refusal *ret_refusal);

#endif
