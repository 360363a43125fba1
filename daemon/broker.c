/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "allowed.h"
#include "audit.h"
#include "broker.h"

static void count_policy(struct broker *broker) {
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    broker->policy_generation++;
    broker->policy_loaded_usec = (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

int broker_new(struct broker **ret_broker, sd_event *event, struct policy *policy, const struct broker_watcher *watcher,
               void *userdata) {
    struct broker *broker = calloc(1, sizeof(*broker));

    if (!broker) {
        policy_free(policy);
        return -ENOMEM;
    }
    broker->event = sd_event_ref(event);
    broker->policy = policy;
    broker->watcher = watcher;
    broker->watcher_userdata = userdata;
    TAILQ_INIT(&broker->admissions);
    count_policy(broker);
    *ret_broker = broker;
    return 0;
}

void broker_set_keeper(struct broker *broker, const struct keeper_type *keeper, void *userdata) {
    broker->keeper = (struct keeper){keeper, userdata};
}

void broker_set_unit_source(struct broker *broker, const struct unit_source_type *type, void *userdata) {
    broker->proofs.units = (struct unit_source){type, userdata};
}

static void shut_admissions_down(struct broker *broker) {
    while (!TAILQ_EMPTY(&broker->admissions))
        admission_shut_down(TAILQ_FIRST(&broker->admissions));
}

struct broker *broker_leave(struct broker *broker) {
    if (!broker)
        return NULL;
    shut_admissions_down(broker);
    broker->keeper = (struct keeper){NULL, NULL};
    while (broker->vms) {
        struct vm *vm = *(struct vm **) broker->vms;

        registry_remove_vm(vm);
        vm_free(vm);
    }
    return broker_free(broker);
}

struct broker *broker_free(struct broker *broker) {
    if (!broker)
        return NULL;
    shut_admissions_down(broker);
    while (broker->vms)
        vm_end(*(struct vm **) broker->vms, IOREGION_REVOKE_VM_GONE);
    sd_event_source_disable_unref(broker->settle);
    ledger_done(&broker->ledger);
    policy_free(broker->policy);
    sd_event_unref(broker->event);
    free(broker);
    return NULL;
}

/* Grants that a policy would not give again, collected first: ending one changes the trees that we walk. */
struct withdrawal {
    const struct policy *policy;
    struct vm **vms;
    struct device **devices;
    size_t n_vms, n_devices;
};

static int judge_device(struct device *device, void *userdata) {
    struct withdrawal *w = userdata;
    struct policy_verdict verdict;
    int r;

    r = device_is_allowed(device, w->policy, &verdict);
    if (r != 0)
        return r < 0 ? r : 0;
    device_audit(device, AUDIT_RELOAD, verdict.rule, verdict.reason);
    w->devices[w->n_devices++] = device;
    return 0;
}

static int judge_vm(struct vm *vm, void *userdata) {
    struct withdrawal *w = userdata;
    struct policy_verdict verdict;

    if (vm_is_allowed(vm, w->policy, &verdict))
        return vm_each_device(vm, judge_device, w);
    vm_audit(vm, AUDIT_RELOAD, verdict.rule, verdict.reason);
    w->vms[w->n_vms++] = vm;
    return 0;
}

int broker_judge(struct broker *broker) {
    _cleanup_(freep) struct device **devices = calloc(broker->n_devices + 1, sizeof(struct device *));
    _cleanup_(freep) struct vm **vms = calloc(broker->n_vms + 1, sizeof(struct vm *));
    struct withdrawal w = {.policy = broker->policy, .vms = vms, .devices = devices};

    return devices && vms ? broker_each_vm(broker, judge_vm, &w) : -ENOMEM;
}

int broker_set_policy(struct broker *broker, struct policy *policy, bool revoke, size_t *ret_kept,
                      size_t *ret_revoked) {
    _cleanup_(policy_freep) struct policy *owned = policy;
    _cleanup_(freep) struct device **devices = calloc(broker->n_devices + 1, sizeof(struct device *));
    _cleanup_(freep) struct vm **vms = calloc(broker->n_vms + 1, sizeof(struct vm *));
    struct withdrawal w = {.policy = policy, .vms = vms, .devices = devices};

    if (!devices || !vms || broker_each_vm(broker, judge_vm, &w) < 0)
        return -ENOMEM;

    policy_free(broker->policy);
    broker->policy = STEAL(owned);
    count_policy(broker);
    keeper_save_generation(&broker->keeper, broker->policy_generation);
    if (revoke) {
        for (size_t i = 0; i < w.n_devices; i++)
            device_end(devices[i], IOREGION_REVOKE_POLICY, "withdrawn by a policy reload", NULL, NULL);
        for (size_t i = 0; i < w.n_vms; i++)
            vm_end(vms[i], IOREGION_REVOKE_POLICY);
    }
    broker->watcher->policy_changed(broker->watcher_userdata);
    *ret_kept = revoke ? 0 : w.n_devices + w.n_vms;
    *ret_revoked = revoke ? w.n_devices + w.n_vms : 0;
    return 0;
}

int broker_charge_list(struct broker *broker, uid_t uid, uint32_t rows, struct refusal *ret_refusal) {
    uint64_t rate = policy_limits(broker->policy)->list_rate;
    struct account *account;
    uint64_t now;
    int r;

    r = registry_account(broker, NULL, uid, &account, &now);
    if (r < 0)
        return r;
    if (account_spend(account, SPEND_LIST, rows, rate, now) < 0)
        return refuse(ret_refusal, REFUSAL_QUOTA_EXCEEDED, "limit list-rate: %" PRIu64 " rows a second", rate);
    return 0;
}
