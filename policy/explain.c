/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>

#include "policy/accounts.h"
#include "policy/explain.h"
#include "internal/names.h"
#include "policy/negotiate.h"

static int find_groups(const struct policy_accounts *accounts, const struct explain_question *q, gid_t **ret_gids,
                       size_t *ret_n, const char **ret_unknown) {
    _cleanup_(freep) gid_t *gids = NULL;

    *ret_unknown = q->user;
    if (!q->n_groups && q->user && !accounts)
        return system_groups(q->user, ret_gids, ret_n);
    gids = calloc(q->n_groups ?: 1, sizeof(*gids));
    if (!gids)
        return -ENOMEM;
    for (size_t i = 0; i < q->n_groups; i++) {
        int r = (accounts ?: &system_accounts)->group(q->groups[i], &gids[i]);

        *ret_unknown = q->groups[i];
        if (r < 0)
            return r;
    }
    *ret_gids = STEAL(gids);
    *ret_n = q->n_groups;
    return 0;
}

static void explain_attach(const struct policy *policy, const struct policy_subject *subject,
                           const struct explain_question *q, struct explain_answer *answer) {
    struct policy_attach attach = {.vm = q->vm,
                                   .device = q->device,
                                   .regions = q->regions,
                                   .n_regions = q->n_regions,
                                   .channels = q->channels ?: 1,
                                   .timeout_usec = q->timeout_usec,
                                   .on_disconnect = q->on_disconnect,
                                   .interrupts = q->interrupts,
                                   .n_interrupts = q->n_interrupts};
    struct policy_verdict *v = &answer->verdict;
    struct negotiation n = {.dispatcher = q->dispatcher ?: UINT64_MAX,
                            .ceiling = q->ceiling ?: UINT64_MAX,
                            .require = q->require,
                            .want = q->want};
    uint64_t missing;
    const char *party;

    policy_check_attach(policy, subject, &attach, v);
    n.policy = v->features;
    if (!v->allowed || negotiate(&n, &answer->granted, &missing, &party) >= 0)
        return;
    v->allowed = false;
    snprintf(v->reason, sizeof(v->reason), "the feature %s is required, but the %s lacks it",
             feature_name(missing) ?: "(unknown)", party);
}

int policy_explain(const struct policy *policy, const struct policy_accounts *accounts,
                   const struct explain_question *q, struct explain_answer *ret_answer, const char **ret_unknown) {
    struct policy_subject subject = {.unit = q->unit, .uid = (uid_t) -1};
    struct policy_register reg = {.vm = q->vm, .dispatch = q->dispatch ?: POLICY_DISPATCH_KERNEL | POLICY_DISPATCH_VMM};
    struct explain_answer answer = {0};
    _cleanup_(freep) gid_t *gids = NULL;
    int r = 0;

    if (!q->vm)
        return -EINVAL;
    if (q->user)
        r = (accounts ?: &system_accounts)->user(q->user, &subject.uid);
    *ret_unknown = q->user;
    if (r >= 0)
        r = find_groups(accounts, q, &gids, &subject.n_gids, ret_unknown);
    if (r < 0)
        return r;
    subject.gids = gids;
    if (q->device)
        explain_attach(policy, &subject, q, &answer);
    else
        policy_check_register(policy, &subject, &reg, &answer.verdict);
    *ret_answer = answer;
    return 0;
}
