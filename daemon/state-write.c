/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "policy/json-scan.h"
#include "removal.h"
#include "state.h"

/* Values that there was no memory for are NULL, and so is what they are put into: one look at the end is enough. */
static json_object *put(json_object *object, const char *key, json_object *value) {
    if (object && value && json_object_object_add(object, key, value) == 0)
        return object;
    json_object_put(value);
    json_object_put(object);
    return NULL;
}

static json_object *append(json_object *array, json_object *value) {
    if (array && value && json_object_array_add(array, value) == 0)
        return array;
    json_object_put(value);
    json_object_put(array);
    return NULL;
}

static json_object *put_number(json_object *object, const char *key, uint64_t number) {
    return put(object, key, json_object_new_uint64(number));
}

static json_object *put_text(json_object *object, const char *key, const char *text) {
    return put(object, key, json_object_new_string(text));
}

static json_object *numbers(size_t n, const uint64_t *values) {
    json_object *array = json_object_new_array_ext((int) n);

    for (size_t i = 0; i < n; i++)
        array = append(array, json_object_new_uint64(values[i]));
    return array;
}

#define NUMBERS(...)                                                                                                   \
    numbers(sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (const uint64_t[]){__VA_ARGS__})

static json_object *owner_object(const struct identity *owner) {
    json_object *object = json_object_new_object(), *gids = json_object_new_array_ext((int) owner->n_gids);

    for (size_t i = 0; i < owner->n_gids; i++)
        gids = append(gids, json_object_new_uint64(owner->gids[i]));
    object = put_number(object, "pid", (uint64_t) owner->pid);
    object = put_number(object, "uid", owner->uid);
    object = put(object, "gids", gids);
    return put_text(object, "unit", owner->unit ?: "");
}

static json_object *regions_array(const struct device *device) {
    json_object *array = json_object_new_array_ext((int) device->n_regions);

    for (size_t i = 0; i < device->n_regions; i++) {
        const struct region *region = &device->regions[i];

        array = append(array, NUMBERS(region->range.space, region->range.base, region->range.last, region->user_data,
                                      region->flags, region->channel));
    }
    return array;
}

static json_object *channels_array(const struct device *device) {
    json_object *array = json_object_new_array_ext((int) device->n_channels);

    for (size_t i = 0; i < device->n_channels; i++) {
        const struct channel *channel = &device->channels[i];

        array = append(array, NUMBERS(channel->id, channel->cookie, channel->open));
    }
    return array;
}

static json_object *device_object(const struct device *device) {
    json_object *object = json_object_new_object();
    bool attached = device->state == DEVICE_ATTACHED; /* then what was before is over */

    object = put_text(object, "name", device->name);
    object = put_number(object, "kept", device->kept);
    object = put_number(object, "lease", device->lease_cookie);
    object = put(object, "owner", owner_object(device->owner));
    object = put_text(object, "rule", device->rule);
    object = put_text(object, "state", device_state_name(device->state));
    object = put_text(object, "on-disconnect", on_disconnect_name(device->on_disconnect));
    object = put_number(object, "features", device->features);
    object = put_number(object, "timeout", device->timeout_usec);
    object = put_number(object, "grace", device->grace_usec);
    object = put_number(object, "grace-ends", device->state == DEVICE_HELD ? device->grace_ends_usec : 0);
    object = put_text(object, "error", attached ? "" : device->last_error);
    object = put_number(object, "disconnected", !attached && device->disconnected);
    object = put_number(object, "first-region", device->regions[0].id);
    object = put(object, "regions", regions_array(device));
    return put(object, "channels", channels_array(device));
}

static json_object *append_undo(json_object *array, uint64_t id, const struct range *range) {
    return append(array, NUMBERS(id, range->space, range->base, range->last));
}

/*
 * What did not change since it was written last is not made anew: a VM may have a thousand devices, and one of them
 * comes.
 */
static json_object *device_text(struct device *device) {
    json_object *object = device->state_text ? NULL : device_object(device), *ready;
    const char *text = object ? json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN) : NULL;

    if (text)
        device->state_text = strdup(text);
    json_object_put(object);
    ready = device->state_text ? json_object_new_boolean(true) : NULL;
    if (ready)
        json_object_set_serializer(ready, json_object_userdata_to_json_string, device->state_text, NULL);
    return ready;
}

struct lists {
    json_object *devices, *undo;
};

/* What is not granted yet is not there for the next process, but for what the dispatcher may have of it. */
static int add_device(struct device *device, void *userdata) {
    struct lists *lists = userdata;

    if (device->state != DEVICE_ATTACHING)
        lists->devices = append(lists->devices, device_text(device));
    else
        for (size_t i = 0; i < device->n_regions; i++)
            lists->undo = append_undo(lists->undo, device->regions[i].id, &device->regions[i].range);
    return 0;
}

static json_object *reserved_array(const struct vm *vm) {
    json_object *array = json_object_new_array_ext((int) vm->n_reserved);

    for (size_t i = 0; i < vm->n_reserved; i++)
        array = append(array, NUMBERS(vm->reserved[i].space, vm->reserved[i].base, vm->reserved[i].last));
    return array;
}

static json_object *vm_object(const struct vm *vm) {
    struct lists lists = {json_object_new_array(), json_object_new_array()};
    json_object *object = json_object_new_object();
    const struct removal *removal;

    TAILQ_FOREACH(removal, &vm->removals, link) {
        for (size_t i = 0; i < removal->n; i++)
            lists.undo = append_undo(lists.undo, removal->first + i, &removal->ranges[i]);
    }
    vm_each_any_device(vm, add_device, &lists);
    object = put_number(object, "version", STATE_VERSION);
    object = put_text(object, "name", vm->name);
    object = put_number(object, "kept", vm->kept);
    object = put_text(object, "dispatcher", vm->dispatch == POLICY_DISPATCH_KERNEL ? "kernel" : "vmm");
    object = put_number(object, "lease", vm->lease_cookie);
    object = put(object, "owner", owner_object(vm->owner));
    object = put_text(object, "rule", vm->rule);
    object = put_number(object, "ceiling", vm->ceiling);
    object = put_number(object, "features", vm->features);
    object = put_number(object, "next-region", vm->next_region);
    object = put_number(object, "next-channel", vm->next_channel);
    object = put(object, "reserved", reserved_array(vm));
    object = put(object, "undo", lists.undo);
    return put(object, "devices", lists.devices);
}

int state_write(const struct vm *vm, char **ret_text, size_t *ret_size) {
    json_object *object = vm_object(vm);
    const char *text;
    size_t size;
    int r = 0;

    text = object ? json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN, &size) : NULL;
    if (!text)
        r = -ENOMEM;
    else if (size > JSON_SIZE_MAX)
        r = -EFBIG;
    else if (!(*ret_text = strdup(text)))
        r = -ENOMEM;
    else
        *ret_size = size;
    json_object_put(object);
    return r;
}
