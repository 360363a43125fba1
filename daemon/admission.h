/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_ADMISSION_H
#define DAEMON_ADMISSION_H

/*
 * A request under way, from the call to the reply: the lease is taken over and challenged, the bus says who called, the
 * identity is proven, and the request is carried out.
 */

#include "refusal.h"
#include "registry.h"
#include "request.h"

struct admission;

/* On success the error is 0 and *object the new VM or device; a refusal may be NULL, or of no kind: a plain errno. */
typedef void (*admission_reply_t)(void *userdata, int error, const struct refusal *refusal, void *object);

/*
 * @lease and the request are taken, on failure too; reply() is called exactly once, perhaps from within, and not after
 * admission_cancel(). *ret_admission is NULL where reply() was called already.
 */
void broker_register(struct broker *broker, struct register_request *request, int lease, admission_reply_t reply,
                     void *userdata, struct admission **ret_admission);
void broker_attach(struct broker *broker, struct attach_request *request, int lease, admission_reply_t reply,
                   void *userdata, struct admission **ret_admission);

/* What the bus says of the caller: as soon as it is known. May call reply(). */
void admission_sender(struct admission *admission, pid_t pid, uid_t uid);
/* The caller is not interested any more: everything is undone. */
void admission_cancel(struct admission *admission);

/* Undo, and reply Busy. */
void admission_turn_away(struct admission *admission, const char *why);

#endif
