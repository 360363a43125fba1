/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "device-new.h"
#include "device.h"

static void device_undop(struct device **device) {
    if (*device)
        device_undo(*device, 0, NULL, NULL);
}

/* The device with all that it keeps memory for. */
static int device_alloc(struct device **ret_device, const struct attach_request *request,
                        const struct attach_terms *terms, struct identity *owner) {
    _cleanup_(device_undop) struct device *device = calloc(1, sizeof(*device));
    struct vm *vm = terms->vm;

    if (!device) {
        identity_free(owner);
        return -ENOMEM;
    }
    device->vm = vm;
    device->owner = owner;
    device->state = DEVICE_ATTACHING;
    device->last_error = "";
    device->name = strdup(request->device);
    device->rule = strdup(terms->rule);
    device->regions = calloc(request->n_regions, sizeof(struct region));
    device->channels = calloc(request->channels, sizeof(struct channel));
    if (!device->name || !device->rule || !device->regions || !device->channels)
        return -ENOMEM;
    device->n_regions = request->n_regions;
    for (; device->n_channels < request->channels; device->n_channels++)
        device->channels[device->n_channels] = (struct channel){.id = vm->next_channel++, .fd = -1};
    *ret_device = STEAL(device);
    return 0;
}

static void fill_device(struct device *device, const struct attach_request *request, const struct attach_terms *terms) {
    device->on_disconnect = request->on_disconnect;
    device->features = terms->features;
    device->timeout_usec = terms->timeout_usec;
    device->grace_usec = terms->grace_usec;
    for (size_t i = 0; i < device->n_regions; i++) {
        const struct ioregion_region *asked_for = &request->regions[i];
        struct region *region = &device->regions[i];

        range_init(&region->range, asked_for->space, asked_for->base, asked_for->size, region);
        region->device = device;
        region->id = device->vm->next_region++;
        region->user_data = asked_for->user_data;
        region->index = (uint32_t) i;
        region->channel = asked_for->channel;
        if (terms->features & IOREGION_FEATURE_POSTED_WRITES)
            region->flags = asked_for->flags;
    }
}

/* Whose a range is, for people. */
static void range_describe(const struct range *range, char *ret_text, size_t size) {
    const struct region *region = range->owner;

    snprintf(ret_text, size, "%s 0x%" PRIx64 "-0x%" PRIx64 ", %s%s", space_name(range->space), range->base, range->last,
             region ? "held by device " : "which the VMM keeps for itself", region ? region->device->name : "");
}

static int map_regions(struct device *device, struct refusal *ret_refusal) {
    const struct range *conflict;
    char text[160];
    int r;

    for (; device->n_mapped < device->n_regions; device->n_mapped++) {
        const struct range *range = &device->regions[device->n_mapped].range;

        r = region_map_add(&device->vm->map, range, &conflict);
        if (r == -EEXIST) {
            range_describe(conflict, text, sizeof(text));
            return refuse(ret_refusal, REFUSAL_REGION_OVERLAP,
                          "region %zu (%s 0x%" PRIx64 "-0x%" PRIx64 ") overlaps %s", device->n_mapped,
                          space_name(range->space), range->base, range->last, text);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int charge_device(struct device *device, struct account *account, struct refusal *ret_refusal) {
    const struct policy_limits *limits = policy_limits(device->vm->broker->policy);
    struct vm *vm = device->vm;

    if (device->n_regions > limits->regions_per_vm || vm->n_charged > limits->regions_per_vm - device->n_regions)
        return refuse(ret_refusal, REFUSAL_QUOTA_EXCEEDED, "limit regions-per-vm: VM %s has %zu of %" PRIu64, vm->name,
                      vm->n_charged, limits->regions_per_vm);
    if (account_charge(account, CHARGE_DEVICE, limits->devices_per_unit) < 0)
        return refuse(ret_refusal, REFUSAL_QUOTA_EXCEEDED, "limit devices-per-unit: this unit or user has %" PRIu64,
                      limits->devices_per_unit);
    if (registry_add_device(device) < 0) {
        account_refund(account, CHARGE_DEVICE);
        return -ENOMEM;
    }
    device->account = account;
    vm->n_charged += device->n_regions;
    return 0;
}

int device_new(struct device **ret_device, const struct attach_request *request, const struct attach_terms *terms,
               struct identity *owner, struct refusal *ret_refusal) {
    _cleanup_(device_undop) struct device *device = NULL;
    int r;

    /* weeks of attaching use them up; one that comes again would be another device's channel */
    if (request->channels > UINT32_MAX - terms->vm->next_channel) {
        identity_free(owner);
        return refuse(ret_refusal, REFUSAL_QUOTA_EXCEEDED, "VM %s has used its channel ids up: register it anew",
                      terms->vm->name);
    }
    r = device_alloc(&device, request, terms, owner);
    if (r < 0)
        return r;
    fill_device(device, request, terms);
    r = map_regions(device, ret_refusal);
    if (r < 0)
        return r;
    r = charge_device(device, terms->account, ret_refusal);
    if (r < 0)
        return r;
    *ret_device = STEAL(device);
    return 0;
}
