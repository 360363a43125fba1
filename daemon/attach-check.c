/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "allowed.h"
#include "attach-check.h"
#include "policy/negotiate.h"

static int check_region(const struct attach_request *request, size_t i, struct refusal *ret_refusal) {
    const struct ioregion_region *region = &request->regions[i];
    struct range range;

    if (range_init(&range, region->space, region->base, region->size, NULL) < 0)
        return refuse(ret_refusal, REFUSAL_INVALID_REGION,
                      "region %zu: 0x%" PRIx64 " bytes at 0x%" PRIx64
                      " in %s are none, or run past the end of the space",
                      i, region->size, region->base, space_name(region->space));
    if (region->channel >= request->channels)
        return refuse(ret_refusal, REFUSAL_INVALID_REGION, "region %zu: channel %u, but the device has %u", i,
                      region->channel, request->channels);
    if ((region->flags & IOREGION_REGION_POSTED) &&
        !((request->require | request->want) & IOREGION_FEATURE_POSTED_WRITES))
        return refuse(ret_refusal, REFUSAL_INVALID_REGION,
                      "region %zu: posted, but posted-writes is neither required nor wanted", i);
    for (size_t j = 0; j < i; j++)
        if (request->regions[j].channel == region->channel && request->regions[j].user_data == region->user_data)
            return refuse(ret_refusal, REFUSAL_INVALID_REGION, "regions %zu and %zu share a channel and user_data", j,
                          i);
    return 0;
}

/* Every channel serves a region, or nobody would ever write to it. */
static int check_regions(const struct attach_request *request, struct refusal *ret_refusal) {
    uint64_t used = 0;
    int r;

    if (request->n_regions == 0)
        return refuse(ret_refusal, REFUSAL_INVALID_REGION, "a device needs at least one region");
    if (request->channels == 0 || request->channels > IOREGION_LEASE_FDS_MAX)
        return refuse(ret_refusal, REFUSAL_INVALID_REGION, "a device has 1 to %u channels", IOREGION_LEASE_FDS_MAX);
    for (size_t i = 0; i < request->n_regions; i++) {
        r = check_region(request, i, ret_refusal);
        if (r < 0)
            return r;
        used |= UINT64_C(1) << request->regions[i].channel;
    }
    if ((unsigned) __builtin_popcountll(used) != request->channels)
        return refuse(ret_refusal, REFUSAL_INVALID_REGION, "a channel has no region");
    return 0;
}

static int check_policy(const struct broker *broker, const struct attach_request *request,
                        const struct identity *identity, struct policy_verdict *ret_verdict,
                        struct refusal *ret_refusal) {
    const struct policy_subject subject = identity_subject(identity);
    const struct policy_attach question = {
        .vm = request->vm,
        .device = request->device,
        .regions = request->regions,
        .n_regions = request->n_regions,
        .channels = request->channels,
        .timeout_usec = request->timeout_usec,
        .on_disconnect = request->on_disconnect,
        .interrupts = request->interrupts,
        .n_interrupts = request->n_interrupts,
    };

    policy_check_attach(broker->policy, &subject, &question, ret_verdict);
    if (!ret_verdict->allowed)
        return refuse(ret_refusal, REFUSAL_POLICY_DENIED, "rule %s: %s", ret_verdict->rule, ret_verdict->reason);
    return 0;
}

static int check_features(const struct attach_request *request, const struct vm *vm,
                          const struct policy_verdict *verdict, uint64_t *ret_features, struct refusal *ret_refusal) {
    const struct negotiation n = {
        .dispatcher = vm->dispatcher->type->features,
        .ceiling = vm->ceiling,
        .policy = verdict->features & vm->features,
        .require = request->require | (request->n_interrupts > 0 ? IOREGION_FEATURE_INTERRUPTS : 0),
        .want = request->want,
    };
    const char *party;
    uint64_t feature;

    if (negotiate(&n, ret_features, &feature, &party) < 0)
        return refuse(ret_refusal, REFUSAL_FEATURE_UNAVAILABLE, "feature %s is required, but the %s lacks it",
                      feature_name(feature), party);
    return 0;
}

/* A device that comes back has to ask for what it holds: nobody else was told of anything different. */
static bool is_same(const struct device *device, const struct attach_request *request, uint64_t features) {
    if (device->n_regions != request->n_regions || device->n_channels != request->channels ||
        device->features != features || device->on_disconnect != request->on_disconnect)
        return false;
    for (size_t i = 0; i < device->n_regions; i++) {
        const struct ioregion_region *asked_for = &request->regions[i];
        const struct region *held = &device->regions[i];
        uint32_t flags = features & IOREGION_FEATURE_POSTED_WRITES ? asked_for->flags : 0;

        if (held->range.space != asked_for->space || held->range.base != asked_for->base ||
            held->range.last - held->range.base != asked_for->size - 1 || held->user_data != asked_for->user_data ||
            held->channel != asked_for->channel || held->flags != flags)
            return false;
    }
    return true;
}

static int check_resume(struct vm *vm, const struct attach_request *request, const struct identity *identity,
                        struct attach_terms *terms, struct refusal *ret_refusal) {
    struct device *device = vm_find_any_device(vm, request->device);

    if (!device)
        return 0;
    if (!identity_same_owner(device->owner, identity))
        return refuse(ret_refusal, REFUSAL_DEVICE_EXISTS, "VM %s has a device %s, of another unit or user", vm->name,
                      device->name);
    if (device->attachment)
        return refuse(ret_refusal, REFUSAL_BUSY, "device %s is being attached: try again", device->name);
    if (!is_same(device, request, terms->features))
        return refuse(ret_refusal, REFUSAL_DEVICE_EXISTS,
                      "device %s holds other regions, features or on-disconnect than these: detach it first",
                      device->name);
    terms->resume = device;
    return 0;
}

int attach_check(struct broker *broker, const struct attach_request *request, const struct identity *identity,
                 struct attach_terms *ret_terms, struct refusal *ret_refusal) {
    struct attach_terms terms = {0};
    struct policy_verdict verdict;
    int r;

    r = registry_spend(broker, identity, SPEND_ATTACH, &terms.account, ret_refusal);
    if (r < 0)
        return r;
    r = check_regions(request, ret_refusal);
    if (r < 0)
        return r;
    r = check_policy(broker, request, identity, &verdict, ret_refusal);
    if (r < 0)
        return r;
    terms.timeout_usec = request->timeout_usec ? request->timeout_usec : verdict.timeout_usec;
    terms.grace_usec = verdict.grace_usec;
    terms.rule = verdict.rule;

    terms.vm = broker_find_vm(broker, request->vm);
    if (!terms.vm)
        return refuse(ret_refusal, REFUSAL_NO_SUCH_VM, "no VM %s is registered", request->vm);
    r = check_features(request, terms.vm, &verdict, &terms.features, ret_refusal);
    if (r < 0)
        return r;
    r = check_resume(terms.vm, request, identity, &terms, ret_refusal);
    if (r < 0)
        return r;
    *ret_terms = terms;
    return 0;
}
