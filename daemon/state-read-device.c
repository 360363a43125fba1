/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "device.h"
#include "state-read.h"
#include "vm.h"

static int read_region(struct reader *r, const struct json_node *node, struct device *device, uint64_t first_id) {
    const uint64_t max[] = {IOREGION_PIO,          UINT64_MAX, UINT64_MAX, UINT64_MAX, IOREGION_REGION_POSTED,
                            device->n_channels - 1};
    struct region *region = &device->regions[device->n_mapped];
    uint64_t row[6];
    int ret;

    ret = state_read_row(r, node, 6, max, row);
    if (ret < 0)
        return ret;
    *region = (struct region){.device = device,
                              .id = first_id + device->n_mapped,
                              .user_data = row[3],
                              .index = (uint32_t) device->n_mapped,
                              .flags = (uint32_t) row[4],
                              .channel = (uint32_t) row[5]};
    ret = state_read_map(r, node, device->vm, &region->range, row[0], row[1], row[2], region);
    if (ret >= 0)
        device->n_mapped++;
    return ret;
}

static int read_regions(struct reader *r, const struct json_node *node, struct device *device, uint64_t first_id) {
    const struct json_node *item = node + 1;
    int ret = 0;

    if (node->number == 0 || first_id == 0 || first_id > device->vm->next_region ||
        node->number > device->vm->next_region - first_id)
        return READ_FAIL(r, node, "regions that never were");
    device->regions = calloc(node->number, sizeof(struct region));
    if (!device->regions)
        return -ENOMEM;
    device->n_regions = device->n_added = node->number;
    for (uint64_t i = 0; i < node->number && ret >= 0; i++, item = json_next(item))
        ret = read_region(r, item, device, first_id);
    return ret;
}

static int read_channels(struct reader *r, const struct json_node *node, struct device *device) {
    const uint64_t max[] = {device->vm->next_channel - 1, UINT64_MAX, 1};
    const struct json_node *item = node + 1;
    uint64_t row[3];
    int ret;

    if (node->number == 0 || node->number > IOREGION_LEASE_FDS_MAX)
        return READ_FAIL(r, node, "a device has 1 to %u channels", IOREGION_LEASE_FDS_MAX);
    device->channels = calloc(node->number, sizeof(struct channel));
    if (!device->channels)
        return -ENOMEM;
    for (; device->n_channels < node->number; device->n_channels++, item = json_next(item)) {
        ret = state_read_row(r, item, 3, max, row);
        if (ret < 0)
            return ret;
        device->channels[device->n_channels] =
            (struct channel){.id = (uint32_t) row[0], .fd = -1, .cookie = row[1], .open = row[2]};
    }
    return 0;
}

static int read_state(struct reader *r, const struct json_node *node, enum device_state *ret_state) {
    const char *names[] = {device_state_name(DEVICE_ATTACHED), device_state_name(DEVICE_HELD),
                           device_state_name(DEVICE_FAILED), NULL};
    static const enum device_state states[] = {DEVICE_ATTACHED, DEVICE_HELD, DEVICE_FAILED};
    unsigned index;
    int ret;

    ret = read_choice(r, node, names, &index);
    if (ret >= 0)
        *ret_state = states[index];
    return ret;
}

enum {
    NAME,
    KEPT,
    LEASE,
    OWNER,
    RULE,
    STATE,
    ON_DISCONNECT,
    FEATURES,
    TIMEOUT,
    GRACE,
    GRACE_ENDS,
    ERROR,
    DISCONNECTED,
    FIRST_REGION,
    REGIONS,
    CHANNELS,
    N_DEVICE_KEYS
};

static const struct reader_key device_keys[N_DEVICE_KEYS] = {
    [NAME] = {"name", JSON_STRING, true},
    [KEPT] = {"kept", JSON_NUMBER, true},
    [LEASE] = {"lease", JSON_NUMBER, true},
    [OWNER] = {"owner", JSON_OBJECT, true},
    [RULE] = {"rule", JSON_STRING, true},
    [STATE] = {"state", JSON_STRING, true},
    [ON_DISCONNECT] = {"on-disconnect", JSON_STRING, true},
    [FEATURES] = {"features", JSON_NUMBER, true},
    [TIMEOUT] = {"timeout", JSON_NUMBER, true},
    [GRACE] = {"grace", JSON_NUMBER, true},
    [GRACE_ENDS] = {"grace-ends", JSON_NUMBER, true},
    [ERROR] = {"error", JSON_STRING, true},
    [DISCONNECTED] = {"disconnected", JSON_NUMBER, true},
    [FIRST_REGION] = {"first-region", JSON_NUMBER, true},
    [REGIONS] = {"regions", JSON_ARRAY, true},
    [CHANNELS] = {"channels", JSON_ARRAY, true},
};

static int read_numbers_of_device(struct reader *r, const struct json_node **values, struct device *device) {
    uint64_t kept, disconnected;
    int ret;

    if ((ret = read_number(r, values[KEPT], UINT32_MAX, &kept)) < 0 ||
        (ret = read_number(r, values[LEASE], UINT64_MAX, &device->lease_cookie)) < 0 ||
        (ret = read_number(r, values[FEATURES], IOREGION_FEATURES_ALL, &device->features)) < 0 ||
        (ret = read_number(r, values[TIMEOUT], UINT64_MAX, &device->timeout_usec)) < 0 ||
        (ret = read_number(r, values[GRACE], UINT64_MAX, &device->grace_usec)) < 0 ||
        (ret = read_number(r, values[GRACE_ENDS], UINT64_MAX, &device->grace_ends_usec)) < 0 ||
        (ret = read_number(r, values[DISCONNECTED], 1, &disconnected)) < 0)
        return ret;
    device->kept = (uint32_t) kept;
    device->disconnected = disconnected;
    return 0;
}

static int read_words_of_device(struct reader *r, const struct json_node **values, struct device *device) {
    unsigned on_disconnect;
    const char *name;
    int ret;

    if ((ret = read_name(r, values[NAME], &name)) < 0 ||
        (ret = state_read_owner(r, values[OWNER], &device->owner)) < 0 ||
        (ret = state_read_text(r, values[RULE], &device->rule)) < 0 ||
        (ret = state_read_text(r, values[ERROR], &device->restored_error)) < 0 ||
        (ret = read_state(r, values[STATE], &device->state)) < 0 ||
        (ret = read_choice(r, values[ON_DISCONNECT], on_disconnect_names, &on_disconnect)) < 0)
        return ret;
    device->last_error = device->restored_error;
    device->on_disconnect = on_disconnect;
    device->name = strdup(name);
    return device->name ? 0 : -ENOMEM;
}

/* On failure the device is in the map with what it has so far. */
static int read_device_into(struct reader *r, const struct json_node *node, struct device *device) {
    const struct json_node *values[N_DEVICE_KEYS];
    uint64_t first_id;
    int ret;

    if ((ret = READ_OBJECT(r, node, device_keys, values)) < 0 || (ret = read_words_of_device(r, values, device)) < 0 ||
        (ret = read_numbers_of_device(r, values, device)) < 0 ||
        (ret = read_number(r, values[FIRST_REGION], UINT64_MAX, &first_id)) < 0 ||
        (ret = read_channels(r, values[CHANNELS], device)) < 0 ||
        (ret = read_regions(r, values[REGIONS], device, first_id)) < 0)
        return ret;
    if (vm_find_any_device(device->vm, device->name))
        return READ_FAIL(r, node, "there are two devices %s", device->name);
    return 0;
}

static int read_device(struct reader *r, const struct json_node *node, struct vm *vm) {
    struct device *device = calloc(1, sizeof(*device));
    int ret;

    if (!device)
        return -ENOMEM;
    device->vm = vm;
    ret = read_device_into(r, node, device);
    if (ret >= 0)
        ret = registry_add_device(device);
    if (ret >= 0)
        return 0;
    for (size_t i = 0; i < device->n_mapped; i++)
        region_map_remove(&vm->map, &device->regions[i].range);
    device_free(device);
    return ret;
}

int state_read_devices(struct reader *r, const struct json_node *node, struct vm *vm) {
    const struct json_node *item = node + 1;
    int ret = 0;

    for (uint64_t i = 0; i < node->number && ret >= 0; i++, item = json_next(item))
        ret = read_device(r, item, vm);
    return ret;
}
