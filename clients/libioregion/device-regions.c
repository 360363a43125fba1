/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * From a command's token to its region, once a command: a hash table with open addressing, at most half full, so that
 * it costs about one cache line whatever the number of regions. The tokens are the device's own: nobody can
 * choose them to collide.
 */

#include <errno.h>
#include <string.h>

#include "device-internal.h"
#include "error.h"
#include "range.h"

/* The slot of the token, or the free one where it belongs. */
static struct device_slot *find_slot(const struct ioregion_device *device, uint32_t channel, uint64_t token) {
    size_t mask = ((size_t) 1 << device->slot_bits) - 1;
    /* Multiplicative hashing: the upper bits of the product depend on all of the token. */
    size_t i =
        (size_t) (((token ^ ((uint64_t) channel << 56)) * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - device->slot_bits));

    while (device->slots[i].size && (device->slots[i].token != token || device->slots[i].channel != channel))
        i = (i + 1) & mask;
    return device->slots + i;
}

uint64_t device_region_size(const struct ioregion_device *device, size_t channel, uint64_t token) {
    return find_slot(device, (uint32_t) channel, token)->size;
}

static bool region_valid(const struct ioregion_device *device, const struct ioregion_region *region) {
    return range_valid(region->space, region->base, region->size) && !region->reserved &&
           !(region->flags & ~IOREGION_REGION_POSTED) && region->channel < device->n_channels;
}

int device_copy_regions(struct ioregion_device *device, const struct ioregion_region *regions, size_t n_regions) {
    device->slot_bits = 1;
    while (((size_t) 1 << device->slot_bits) < 2 * n_regions)
        device->slot_bits++;
    device->slots = calloc((size_t) 1 << device->slot_bits, sizeof(*device->slots));
    device->regions = calloc(n_regions, sizeof(*regions));
    if (!device->regions || !device->slots)
        return last_error_step(-ENOMEM, "regions");
    device->n_regions = n_regions;
    memcpy(device->regions, regions, n_regions * sizeof(*regions));

    for (size_t i = 0; i < n_regions; i++) {
        const struct ioregion_region *region = device->regions + i;
        struct device_slot *slot;

        if (!region_valid(device, region))
            return last_error_set(-EINVAL, "region %zu is not valid", i);
        slot = find_slot(device, region->channel, region->user_data);
        if (slot->size)
            return last_error_set(-EINVAL, "region %zu has the user_data of another on its channel", i);
        *slot = (struct device_slot){region->user_data, region->size, region->channel};
    }
    return 0;
}
