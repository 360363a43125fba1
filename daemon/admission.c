/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "admission.h"
#include "attach.h"
#include "audit.h"
#include "vm.h"

/*
 * The life of a request: the lease is checked and challenged, the bus says who called, the identity is proven, the
 * request is carried out, reply() is called. Whatever fails on the way ends it there.
 */
struct admission {
    TAILQ_ENTRY(admission) link;
    struct broker *broker;
    struct register_request *to_register; /* one of the two */
    struct attach_request *to_attach;
    struct proof *proof;
    struct attachment *attachment;
    admission_reply_t reply;
    void *userdata;
};

static void admission_free(struct admission *admission) {
    TAILQ_REMOVE(&admission->broker->admissions, admission, link);
    proof_free(admission->proof);
    register_request_free(admission->to_register);
    attach_request_free(admission->to_attach);
    free(admission);
}

static void admission_finish(struct admission *admission, int error, const struct refusal *refusal, void *object) {
    admission_reply_t reply = admission->reply;
    void *userdata = admission->userdata;

    admission_free(admission);
    reply(userdata, error, refusal, object);
}

static void do_register(struct admission *admission, struct identity *identity, struct lease *lease) {
    bool adopted = admission->to_register->pid != 0; /* then the VM is not the caller's */
    struct broker *broker = admission->broker;
    struct refusal refusal = {0};
    struct vm *vm = NULL;
    char reason[32];
    int r;

    snprintf(reason, sizeof(reason), "adopted by user %u", identity->uid);
    r = vm_new(&vm, broker, admission->to_register, identity, lease, &refusal);
    admission_finish(admission, r, r < 0 ? &refusal : NULL, vm);
    if (r < 0)
        return;
    broker->watcher->vm_added(broker->watcher_userdata, vm);
    vm_audit(vm, AUDIT_REGISTER, vm->rule, adopted ? reason : NULL);
}

static void on_attached(void *userdata, int error, const struct refusal *refusal, struct device *device) {
    struct admission *admission = userdata;

    admission->attachment = NULL;
    admission_finish(admission, error, refusal, device);
}

static void on_proven(void *userdata, int error, const struct refusal *refusal, struct identity *identity,
                      struct lease *lease) {
    struct admission *admission = userdata;

    if (error < 0)
        return admission_finish(admission, error, refusal, NULL);
    if (admission->to_register)
        return do_register(admission, identity, lease);
    attachment_new(admission->broker, admission->to_attach, identity, lease, on_attached, admission,
                   &admission->attachment);
}

/* Takes both requests (one is NULL) and the lease's descriptor. */
static void admission_new(struct broker *broker, struct register_request *to_register, struct attach_request *to_attach,
                          int lease, admission_reply_t reply, void *userdata, struct admission **ret_admission) {
    struct admission *admission = calloc(1, sizeof(*admission));
    struct refusal refusal = {0};
    int r;

    *ret_admission = NULL;
    if (!admission) {
        register_request_free(to_register);
        attach_request_free(to_attach);
        fd_close(lease);
        return reply(userdata, -ENOMEM, NULL, NULL);
    }
    *admission = (struct admission){
        .broker = broker, .to_register = to_register, .to_attach = to_attach, .reply = reply, .userdata = userdata};
    TAILQ_INSERT_TAIL(&broker->admissions, admission, link);
    r = proof_new(&admission->proof, &broker->proofs, broker->event, lease, on_proven, admission, &refusal);
    if (r < 0)
        return admission_finish(admission, r, &refusal, NULL);
    *ret_admission = admission;
}

void broker_register(struct broker *broker, struct register_request *request, int lease, admission_reply_t reply,
                     void *userdata, struct admission **ret_admission) {
    admission_new(broker, request, NULL, lease, reply, userdata, ret_admission);
}

void broker_attach(struct broker *broker, struct attach_request *request, int lease, admission_reply_t reply,
                   void *userdata, struct admission **ret_admission) {
    admission_new(broker, NULL, request, lease, reply, userdata, ret_admission);
}

void admission_sender(struct admission *admission, pid_t pid, uid_t uid) {
    proof_sender(admission->proof, pid, uid);
}

static void admission_end(struct admission *admission, int error, const struct refusal *refusal) {
    if (admission->attachment)
        attachment_fail(admission->attachment, error, refusal); /* comes back through on_attached() */
    else
        admission_finish(admission, error, refusal, NULL);
}

static void reply_to_nobody(void *userdata, int error, const struct refusal *refusal, void *object) {
}

void admission_cancel(struct admission *admission) {
    admission->reply = reply_to_nobody;
    admission_end(admission, -ECANCELED, NULL);
}

void admission_shut_down(struct admission *admission) {
    struct refusal refusal;
    int r = refuse(&refusal, REFUSAL_BUSY, "ioregiond is going down: try again");

    admission_end(admission, r, &refusal);
}
