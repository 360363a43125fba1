/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "admission.h"
#include "allowed.h"
#include "attach.h"
#include "audit.h"
#include "process.h"
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
    struct identity *adopter, *adopted; /* who called, and whose VM it is, where that is somebody else */
    struct lease *lease;                /* the adopter's, while the adopted's unit is asked for */
    struct unit_query *adopted_unit;
    struct attachment *attachment;
    admission_reply_t reply;
    void *userdata;
};

static void admission_free(struct admission *admission) {
    TAILQ_REMOVE(&admission->broker->admissions, admission, link);
    proof_free(admission->proof);
    unit_query_free(admission->adopted_unit);
    lease_free(admission->lease);
    identity_free(admission->adopted);
    identity_free(admission->adopter);
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

/* @how is for the audit trail. */
static void do_register(struct admission *admission, struct identity *identity, struct lease *lease, const char *how) {
    struct broker *broker = admission->broker;
    struct refusal refusal = {0};
    struct vm *vm = NULL;
    int r;

    r = vm_new(&vm, broker, admission->to_register, identity, lease, &refusal);
    if (r >= 0)
        vm_audit(vm, AUDIT_REGISTER, vm->rule, how);
    admission_finish(admission, r, r < 0 ? &refusal : NULL, vm);
    if (r >= 0)
        broker->watcher->vm_added(broker->watcher_userdata, vm);
}

/* An adopted VM is its own process's, whoever asks; and operators alone may. */
static int check_adopter(const struct admission *admission, struct refusal *ret_refusal) {
    const struct policy_subject subject = identity_subject(admission->adopter);

    if (policy_operator(admission->broker->policy, &subject))
        return 0;
    return refuse(ret_refusal, REFUSAL_POLICY_DENIED, "the option process is for operators");
}

static void on_adopted_unit_known(void *userdata) {
    struct admission *admission = userdata;
    struct refusal refusal = {0};
    char how[32];
    int r;

    r = check_adopter(admission, &refusal); /* the policy may be another by now */
    if (r >= 0)
        r = unit_query_take(admission->adopted_unit, admission->adopted, &refusal);
    if (r == -ESRCH)
        r = refuse(&refusal, REFUSAL_NOT_A_VM, "the process has exited");
    if (r < 0)
        return admission_finish(admission, r, &refusal, NULL);
    snprintf(how, sizeof(how), "adopted by user %u", admission->adopter->uid);
    do_register(admission, STEAL(admission->adopted), STEAL(admission->lease), how);
}

static void adopt(struct admission *admission, struct identity *caller, struct lease *lease) {
    struct broker *broker = admission->broker;
    struct refusal refusal = {0};
    int r;

    admission->adopter = caller;
    admission->lease = lease;
    r = check_adopter(admission, &refusal);
    if (r >= 0)
        r = process_identify(admission->to_register->process, &admission->adopted, &refusal);
    if (r >= 0)
        r = unit_query_new(&admission->adopted_unit, &broker->proofs.units, broker->event, admission->adopted,
                           on_adopted_unit_known, admission);
    if (r < 0)
        return admission_finish(admission, r, &refusal, NULL);
    if (unit_query_known(admission->adopted_unit))
        on_adopted_unit_known(admission);
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
    if (admission->to_register && admission->to_register->process >= 0)
        return adopt(admission, identity, lease);
    if (admission->to_register)
        return do_register(admission, identity, lease, NULL);
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
