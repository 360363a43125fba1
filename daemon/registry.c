/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "registry.h"

static const char *const state_names[] = {
    [DEVICE_ATTACHING] = "attaching",
    [DEVICE_ATTACHED] = "attached",
    [DEVICE_HELD] = "held",
    [DEVICE_FAILED] = "failed",
};

const char *device_state_name(enum device_state state) {
    return state_names[state];
}

static int vm_compare(const void *left, const void *right) {
    const struct vm *a = left, *b = right;

    return strcmp(a->name, b->name);
}

static int device_compare(const void *left, const void *right) {
    const struct device *a = left, *b = right;

    return strcmp(a->name, b->name);
}

struct vm *broker_find_vm(const struct broker *broker, const char *name) {
    const struct vm key = {.name = (char *) name};
    struct vm **node = tfind(&key, &broker->vms, vm_compare);

    return node ? *node : NULL;
}

struct vm_walk {
    int (*function)(struct vm *vm, void *userdata);
    void *userdata;
    int result;
};

static void visit_vm(const void *node, VISIT visit, void *userdata) {
    struct vm_walk *walk = userdata;

    if ((visit == postorder || visit == leaf) && walk->result >= 0)
        walk->result = walk->function(*(struct vm *const *) node, walk->userdata);
}

int broker_each_vm(const struct broker *broker, int (*function)(struct vm *vm, void *userdata), void *userdata) {
    struct vm_walk walk = {function, userdata, 0};

    twalk_r(broker->vms, visit_vm, &walk);
    return walk.result < 0 ? walk.result : 0;
}

struct device *vm_find_any_device(const struct vm *vm, const char *name) {
    const struct device key = {.name = (char *) name};
    struct device **node = tfind(&key, &vm->devices, device_compare);

    return node ? *node : NULL;
}

struct device *vm_find_device(const struct vm *vm, const char *name) {
    struct device *device = vm_find_any_device(vm, name);

    return device && device->state != DEVICE_ATTACHING ? device : NULL;
}

struct device_walk {
    int (*function)(struct device *device, void *userdata);
    void *userdata;
    bool any;
    int result;
};

static void visit_device(const void *node, VISIT visit, void *userdata) {
    struct device *device = *(struct device *const *) node;
    struct device_walk *walk = userdata;

    if ((visit == postorder || visit == leaf) && walk->result >= 0 &&
        (walk->any || device->state != DEVICE_ATTACHING))
        walk->result = walk->function(device, walk->userdata);
}

int vm_each_device(const struct vm *vm, int (*function)(struct device *device, void *userdata), void *userdata) {
    struct device_walk walk = {function, userdata, false, 0};

    twalk_r(vm->devices, visit_device, &walk);
    return walk.result < 0 ? walk.result : 0;
}

int vm_each_any_device(const struct vm *vm, int (*function)(struct device *device, void *userdata), void *userdata) {
    struct device_walk walk = {function, userdata, true, 0};

    twalk_r(vm->devices, visit_device, &walk);
    return walk.result < 0 ? walk.result : 0;
}

int registry_add_vm(struct vm *vm) {
    if (!tsearch(vm, &vm->broker->vms, vm_compare))
        return -ENOMEM;
    vm->broker->n_vms++;
    return 0;
}

void registry_remove_vm(struct vm *vm) {
    tdelete(vm, &vm->broker->vms, vm_compare);
    vm->broker->n_vms--;
}

int registry_add_device(struct device *device) {
    return tsearch(device, &device->vm->devices, device_compare) ? 0 : -ENOMEM;
}

void registry_remove_device(struct device *device) {
    tdelete(device, &device->vm->devices, device_compare);
}

void registry_count_device(struct device *device, int sign) {
    size_t regions = (size_t) sign * device->n_regions;

    device->vm->n_devices += (size_t) sign;
    device->vm->n_regions += regions;
    device->vm->broker->n_devices += (size_t) sign;
    device->vm->broker->n_regions += regions;
}

int registry_account(struct broker *broker, const char *unit, uid_t uid, struct account **ret_account,
                     uint64_t *ret_now_usec) {
    struct account *account;
    uint64_t now;
    int r;

    r = sd_event_now(broker->event, CLOCK_MONOTONIC, &now);
    if (r < 0)
        return r;
    account = ledger_account(&broker->ledger, unit, uid, now);
    if (!account)
        return -ENOMEM;
    *ret_account = account;
    *ret_now_usec = now;
    return 0;
}

int registry_spend(struct broker *broker, const struct identity *owner, enum spending what,
                   struct account **ret_account, struct refusal *ret_refusal) {
    const struct policy_limits *limits = policy_limits(broker->policy);
    uint64_t rate = what == SPEND_REGISTER ? limits->register_rate : limits->attach_rate, now;
    struct account *account;
    int r;

    r = registry_account(broker, owner->unit, owner->uid, &account, &now);
    if (r < 0)
        return r;
    if (account_spend(account, what, 1, rate, now) < 0) {
        r = refuse(ret_refusal, REFUSAL_QUOTA_EXCEEDED, "limit %s: %" PRIu64 " a second",
                   what == SPEND_REGISTER ? "register-rate" : "attach-rate", rate);
        ret_refusal->until_usec = account_spent_until_usec(account, what, rate);
        return r;
    }
    *ret_account = account;
    return 0;
}
