/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_ATTACH_H
#define DAEMON_ATTACH_H

/*
 * Inside the broker: the transaction that attaches a device, or resumes one. All or nothing: it ends in a GRANT that
 * was sent, or everything that it did is undone.
 */

#include "registry.h"
#include "request.h"

struct attachment;

/* Called once, from the event loop or from within attachment_new(); the attachment is gone then. */
typedef void (*attachment_done_t)(void *userdata, int error, const struct refusal *refusal, struct device *device);

/* @identity and @lease are taken; @request stays the caller's. */
void attachment_new(struct broker *broker, const struct attach_request *request, struct identity *identity,
                    struct lease *lease, attachment_done_t done, void *userdata, struct attachment **ret_attachment);

/* Undo, and call done() with this error. @refusal may be NULL. */
void attachment_fail(struct attachment *attachment, int error, const struct refusal *refusal);

#endif
