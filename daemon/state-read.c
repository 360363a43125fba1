/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "device.h"
#include "policy/reader.h"
#include "removal.h"
#include "state.h"
#include "vm.h"

/*
 * Saved state is as untrusted as what comes over a socket: whoever could write the file would be the broker's account,
 * but disks fill up, and processes of other versions write, too. All that later code relies on is checked here.
 */

#define GIDS_MAX 65536 /* NGROUPS_MAX of Linux */

/* An array of so many whole numbers, the i-th of at most @max[i]. */
static int read_row(struct reader *r, const struct json_node *node, size_t n, const uint64_t *max, uint64_t *ret_row) {
    const struct json_node *item = node + 1;
    int ret;

    if (node->kind != JSON_ARRAY || node->number != n)
        return READ_FAIL(r, node, "expected an array of %zu numbers", n);
    for (size_t i = 0; i < n; i++, item = json_next(item)) {
        ret = read_number(r, item, max[i], &ret_row[i]);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int read_text(struct reader *r, const struct json_node *node, char **ret_text) {
    const char *text;
    int ret;

    ret = read_string(r, node, &text);
    if (ret < 0)
        return ret;
    *ret_text = strdup(text);
    return *ret_text ? 0 : -ENOMEM;
}

static int read_gids(struct reader *r, const struct json_node *node, struct identity *owner) {
    uint32_t *numbers;
    size_t n;
    int ret;

    if (node->number > GIDS_MAX)
        return READ_FAIL(r, node, "more groups than a process can have");
    ret = read_numbers(r, node, UINT32_MAX, &numbers, &n);
    if (ret < 0)
        return ret;
    owner->gids = calloc(n + 1, sizeof(gid_t));
    if (!owner->gids)
        return -ENOMEM;
    for (; owner->n_gids < n; owner->n_gids++)
        owner->gids[owner->n_gids] = numbers[owner->n_gids];
    return 0;
}

static int read_owner(struct reader *r, const struct json_node *node, struct identity **ret_owner) {
    enum { PID, UID, GIDS, UNIT, N_KEYS };
    static const struct reader_key keys[N_KEYS] = {
        [PID] = {"pid", JSON_NUMBER, true},
        [UID] = {"uid", JSON_NUMBER, true},
        [GIDS] = {"gids", JSON_ARRAY, true},
        [UNIT] = {"unit", JSON_STRING, true},
    };
    _cleanup_(identity_freep) struct identity *owner = calloc(1, sizeof(*owner));
    const struct json_node *values[N_KEYS];
    uint64_t pid, uid;
    int ret;

    if (!owner)
        return -ENOMEM;
    owner->pidfd = -1; /* its lease is its own by what the kernel knows */
    if ((ret = READ_OBJECT(r, node, keys, values)) < 0 || (ret = read_number(r, values[PID], INT_MAX, &pid)) < 0 ||
        (ret = read_number(r, values[UID], UINT32_MAX, &uid)) < 0 || (ret = read_gids(r, values[GIDS], owner)) < 0 ||
        (ret = read_text(r, values[UNIT], &owner->unit)) < 0)
        return ret;
    owner->pid = (pid_t) pid;
    owner->uid = (uid_t) uid;
    if (!*owner->unit) {
        free(owner->unit);
        owner->unit = NULL;
    }
    *ret_owner = STEAL(owner);
    return 0;
}

static int read_range_row(struct reader *r, const struct json_node *node, uint64_t space, uint64_t first, uint64_t last,
                          void *owner, struct range *ret_range) {
    if (first > last || last - first == UINT64_MAX ||
        range_init(ret_range, (uint32_t) space, first, last - first + 1, owner) < 0)
        return READ_FAIL(r, node, "no range of addresses");
    return 0;
}

static int check_map(struct reader *r, const struct json_node *node, struct vm *vm, struct range *range, uint64_t space,
                     uint64_t first, uint64_t last, void *owner) {
    const struct range *conflict;
    int ret;

    ret = read_range_row(r, node, space, first, last, owner, range);
    if (ret < 0)
        return ret;
    ret = region_map_add(&vm->map, range, &conflict);
    return ret == -EEXIST ? READ_FAIL(r, node, "it overlaps another range") : ret;
}

static int read_reserved(struct reader *r, const struct json_node *node, struct vm *vm) {
    static const uint64_t max[] = {IOREGION_PIO, UINT64_MAX, UINT64_MAX};
    const struct json_node *item = node + 1;
    uint64_t row[3];
    int ret;

    vm->reserved = calloc(node->number + 1, sizeof(struct range));
    if (!vm->reserved)
        return -ENOMEM;
    for (; vm->n_reserved < node->number; vm->n_reserved++, item = json_next(item))
        if ((ret = read_row(r, item, 3, max, row)) < 0 ||
            (ret = check_map(r, item, vm, &vm->reserved[vm->n_reserved], row[0], row[1], row[2], NULL)) < 0)
            return ret;
    return 0;
}

static int read_undo(struct reader *r, const struct json_node *node, struct vm *vm) {
    const struct json_node *item = node + 1;
    const uint64_t max[] = {vm->next_region - 1, IOREGION_PIO, UINT64_MAX, UINT64_MAX};
    struct removal *removal;
    uint64_t row[4];
    int ret;

    for (uint64_t i = 0; i < node->number; i++, item = json_next(item)) {
        ret = read_row(r, item, 4, max, row);
        if (ret < 0)
            return ret;
        removal = removal_new(vm, row[0], 1, NULL, NULL);
        if (!removal)
            return -ENOMEM;
        ret = read_range_row(r, item, row[1], row[2], row[3], NULL, &removal->ranges[0]);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int read_region(struct reader *r, const struct json_node *node, struct device *device, uint64_t first_id) {
    const uint64_t max[] = {IOREGION_PIO,          UINT64_MAX, UINT64_MAX, UINT64_MAX, IOREGION_REGION_POSTED,
                            device->n_channels - 1};
    struct region *region = &device->regions[device->n_mapped];
    uint64_t row[6];
    int ret;

    ret = read_row(r, node, 6, max, row);
    if (ret < 0)
        return ret;
    *region = (struct region){.device = device,
                              .id = first_id + device->n_mapped,
                              .user_data = row[3],
                              .index = (uint32_t) device->n_mapped,
                              .flags = (uint32_t) row[4],
                              .channel = (uint32_t) row[5]};
    ret = check_map(r, node, device->vm, &region->range, row[0], row[1], row[2], region);
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
        ret = read_row(r, item, 3, max, row);
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

    if ((ret = read_name(r, values[NAME], &name)) < 0 || (ret = read_owner(r, values[OWNER], &device->owner)) < 0 ||
        (ret = read_text(r, values[RULE], &device->rule)) < 0 ||
        (ret = read_text(r, values[ERROR], &device->restored_error)) < 0 ||
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

struct ids {
    uint64_t first, n;
};

static int ids_compare(const void *left, const void *right) {
    const struct ids *a = left, *b = right;

    return a->first < b->first ? -1 : a->first > b->first;
}

static int add_ids(struct device *device, void *userdata) {
    struct ids **next = userdata;

    *(*next)++ = (struct ids){device->regions[0].id, device->n_regions};
    return 0;
}

/* No id twice: whose region is it that the dispatcher tells of, or that is to be undone? */
static int check_ids(struct reader *r, const struct json_node *undo, const struct json_node *devices,
                     const struct vm *vm) {
    _cleanup_(freep) struct ids *ids = calloc(undo->number + devices->number + 1, sizeof(*ids));
    struct ids *end = ids;
    struct removal *removal;

    if (!ids)
        return -ENOMEM;
    TAILQ_FOREACH(removal, &vm->removals, link)
    *end++ = (struct ids){removal->first, removal->n};
    vm_each_any_device(vm, add_ids, &end);
    qsort(ids, (size_t) (end - ids), sizeof(*ids), ids_compare);
    for (const struct ids *i = ids; i + 1 < end; i++)
        if (i->n > i[1].first - i->first)
            return READ_FAIL(r, devices, "two regions have the id %" PRIu64, i[1].first);
    return 0;
}

static int read_devices(struct reader *r, const struct json_node *node, struct vm *vm) {
    const struct json_node *item = node + 1;
    int ret = 0;

    for (uint64_t i = 0; i < node->number && ret >= 0; i++, item = json_next(item))
        ret = read_device(r, item, vm);
    return ret;
}

static int read_version(struct reader *r, const struct json_node *root) {
    const struct json_node *key = root + 1;

    /* by itself, since a newer version may have other keys: the first one says what to expect of the rest */
    if (root->kind != JSON_OBJECT || root->number == 0 || key->size != sizeof("\"version\"") - 1 ||
        memcmp(r->document->text + key->offset, "\"version\"", key->size) != 0 || key[1].kind != JSON_NUMBER)
        return READ_FAIL(r, root, "no state of a VM");
    if (key[1].number != STATE_VERSION)
        return READ_FAIL(r, key + 1, "version %" PRIu64 " is not known; this program reads version %d", key[1].number,
                         STATE_VERSION);
    return 0;
}

enum {
    VM_VERSION,
    VM_NAME,
    VM_KEPT,
    DISPATCHER,
    VM_LEASE,
    VM_OWNER,
    VM_RULE,
    CEILING,
    VM_FEATURES,
    NEXT_REGION,
    NEXT_CHANNEL,
    RESERVED,
    UNDO,
    DEVICES,
    N_VM_KEYS
};

static const struct reader_key vm_keys[N_VM_KEYS] = {
    [VM_VERSION] = {"version", JSON_NUMBER, true},
    [VM_NAME] = {"name", JSON_STRING, true},
    [VM_KEPT] = {"kept", JSON_NUMBER, true},
    [DISPATCHER] = {"dispatcher", JSON_STRING, true},
    [VM_LEASE] = {"lease", JSON_NUMBER, true},
    [VM_OWNER] = {"owner", JSON_OBJECT, true},
    [VM_RULE] = {"rule", JSON_STRING, true},
    [CEILING] = {"ceiling", JSON_NUMBER, true},
    [VM_FEATURES] = {"features", JSON_NUMBER, true},
    [NEXT_REGION] = {"next-region", JSON_NUMBER, true},
    [NEXT_CHANNEL] = {"next-channel", JSON_NUMBER, true},
    [RESERVED] = {"reserved", JSON_ARRAY, true},
    [UNDO] = {"undo", JSON_ARRAY, true},
    [DEVICES] = {"devices", JSON_ARRAY, true},
};

static int read_vm_itself(struct reader *r, const struct json_node **values, struct vm *vm) {
    static const char *const dispatchers[] = {"vmm", "kernel", NULL};
    uint64_t kept, next_channel;
    unsigned dispatcher;
    const char *name;
    int ret;

    if ((ret = read_name(r, values[VM_NAME], &name)) < 0 ||
        (ret = read_number(r, values[VM_KEPT], UINT32_MAX, &kept)) < 0 ||
        (ret = read_choice(r, values[DISPATCHER], dispatchers, &dispatcher)) < 0 ||
        (ret = read_number(r, values[VM_LEASE], UINT64_MAX, &vm->lease_cookie)) < 0 ||
        (ret = read_owner(r, values[VM_OWNER], &vm->owner)) < 0 ||
        (ret = read_text(r, values[VM_RULE], &vm->rule)) < 0 ||
        (ret = read_number(r, values[CEILING], UINT64_MAX, &vm->ceiling)) < 0 ||
        (ret = read_number(r, values[VM_FEATURES], UINT64_MAX, &vm->features)) < 0 ||
        (ret = read_number(r, values[NEXT_REGION], UINT64_MAX, &vm->next_region)) < 0 ||
        (ret = read_number(r, values[NEXT_CHANNEL], UINT32_MAX, &next_channel)) < 0)
        return ret;
    if (vm->next_region == 0 || next_channel == 0)
        return READ_FAIL(r, values[NEXT_REGION], "ids begin with 1");
    vm->dispatch = dispatcher ? POLICY_DISPATCH_KERNEL : POLICY_DISPATCH_VMM;
    vm->kept = (uint32_t) kept;
    vm->next_channel = (uint32_t) next_channel;
    vm->name = strdup(name);
    return vm->name ? 0 : -ENOMEM;
}

static int read_vm(struct reader *r, struct vm *vm) {
    const struct json_node *root = r->document->nodes, *values[N_VM_KEYS];
    int ret;

    if ((ret = read_version(r, root)) < 0 || (ret = READ_OBJECT(r, root, vm_keys, values)) < 0 ||
        (ret = read_vm_itself(r, values, vm)) < 0 || (ret = read_reserved(r, values[RESERVED], vm)) < 0 ||
        (ret = read_undo(r, values[UNDO], vm)) < 0)
        return ret;
    ret = read_devices(r, values[DEVICES], vm);
    return ret < 0 ? ret : check_ids(r, values[UNDO], values[DEVICES], vm);
}

int state_read(const char *name, const char *text, size_t size, struct vm **ret_vm, char **ret_error) {
    _cleanup_(json_document_freep) struct json_document *document = NULL;
    struct pool pool = {};
    struct reader reader = {.pool = &pool, .ret_error = ret_error};
    struct vm *vm;
    int r;

    *ret_error = NULL;
    r = json_scan(name, text, size, &document, ret_error);
    if (r < 0)
        return r;
    reader.document = document;
    vm = calloc(1, sizeof(*vm));
    if (!vm)
        return -ENOMEM;
    TAILQ_INIT(&vm->removals);
    r = read_vm(&reader, vm);
    pool_clear(&pool);
    if (r < 0)
        vm_free(vm);
    else
        *ret_vm = vm;
    return r;
}
