/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "allowed.h"

struct policy_subject identity_subject(const struct identity *identity) {
    return (struct policy_subject){
        .unit = identity->unit, .uid = identity->uid, .gids = identity->gids, .n_gids = identity->n_gids};
}

/* What was granted and is not allowed any more withdraws the whole grant. */
static bool keeps_features(uint64_t granted, struct policy_verdict *verdict) {
    if (!verdict->allowed || !(granted & ~verdict->features))
        return verdict->allowed;
    verdict->allowed = false;
    snprintf(verdict->reason, sizeof(verdict->reason), "a feature that it was granted is not allowed any more");
    return false;
}

bool vm_is_allowed(const struct vm *vm, const struct policy *policy, struct policy_verdict *ret_verdict) {
    const struct policy_subject subject = identity_subject(vm->owner);
    const struct policy_register question = {.vm = vm->name, .dispatch = vm->dispatch};

    policy_check_register(policy, &subject, &question, ret_verdict);
    return keeps_features(vm->dispatcher->type->features & vm->ceiling & vm->features, ret_verdict);
}

int device_is_allowed(const struct device *device, const struct policy *policy, struct policy_verdict *ret_verdict) {
    const struct policy_subject subject = identity_subject(device->owner);
    _cleanup_(freep) struct ioregion_region *regions = calloc(device->n_regions, sizeof(*regions));
    struct policy_attach question = {.vm = device->vm->name,
                                     .device = device->name,
                                     .regions = regions,
                                     .n_regions = device->n_regions,
                                     .channels = (uint32_t) device->n_channels,
                                     .timeout_usec = device->timeout_usec,
                                     .on_disconnect = device->on_disconnect};

    if (!regions)
        return -ENOMEM;
    for (size_t i = 0; i < device->n_regions; i++)
        regions[i] =
            (struct ioregion_region){.space = device->regions[i].range.space,
                                     .base = device->regions[i].range.base,
                                     .size = device->regions[i].range.last - device->regions[i].range.base + 1};
    policy_check_attach(policy, &subject, &question, ret_verdict);
    return keeps_features(device->features, ret_verdict);
}
