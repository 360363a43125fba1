/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "removal.h"
#include "state-read.h"
#include "state.h"
#include "vm.h"

static int read_reserved(struct reader *r, const struct json_node *node, struct vm *vm) {
    static const uint64_t max[] = {IOREGION_PIO, UINT64_MAX, UINT64_MAX};
    const struct json_node *item = node + 1;
    uint64_t row[3];
    int ret;

    vm->reserved = calloc(node->number + 1, sizeof(struct range));
    if (!vm->reserved)
        return -ENOMEM;
    for (; vm->n_reserved < node->number; vm->n_reserved++, item = json_next(item))
        if ((ret = state_read_row(r, item, 3, max, row)) < 0 ||
            (ret = state_read_map(r, item, vm, &vm->reserved[vm->n_reserved], row[0], row[1], row[2], NULL)) < 0)
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
        ret = state_read_row(r, item, 4, max, row);
        if (ret < 0)
            return ret;
        removal = removal_new(vm, row[0], 1, NULL, NULL);
        if (!removal)
            return -ENOMEM;
        ret = state_read_range(r, item, row[1], row[2], row[3], NULL, &removal->ranges[0]);
        if (ret < 0)
            return ret;
    }
    return 0;
}

struct ids {
    uint64_t first, n;
};

static int ids_compare(const void *left, const void *right) {
    const struct ids *a = left, *b = right;

    return a->first < b->first ? -1 : a->first > b->first;
}

/* No id twice: whose region is it that the dispatcher tells of, or whose channel that it is to cut? */
static int refuse_doubles(struct reader *r, const struct json_node *node, struct ids *ids, size_t n, const char *what) {
    qsort(ids, n, sizeof(*ids), ids_compare);
    for (size_t i = 0; i + 1 < n; i++)
        if (ids[i].n > ids[i + 1].first - ids[i].first)
            return READ_FAIL(r, node, "two %s have the id %" PRIu64, what, ids[i + 1].first);
    return 0;
}

static int add_region_ids(struct device *device, void *userdata) {
    struct ids **next = userdata;

    *(*next)++ = (struct ids){device->regions[0].id, device->n_regions};
    return 0;
}

static int check_region_ids(struct reader *r, const struct json_node *undo, const struct json_node *devices,
                            const struct vm *vm) {
    _cleanup_(freep) struct ids *ids = calloc(undo->number + devices->number + 1, sizeof(*ids));
    struct ids *end = ids;
    struct removal *removal;

    if (!ids)
        return -ENOMEM;
    TAILQ_FOREACH(removal, &vm->removals, link) {
        *end++ = (struct ids){removal->first, removal->n};
    }
    vm_each_any_device(vm, add_region_ids, &end);
    return refuse_doubles(r, devices, ids, (size_t) (end - ids), "regions");
}

static int add_channel_ids(struct device *device, void *userdata) {
    struct ids **next = userdata;

    for (size_t i = 0; i < device->n_channels; i++)
        *(*next)++ = (struct ids){device->channels[i].id, 1};
    return 0;
}

static int count_channels(struct device *device, void *userdata) {
    *(size_t *) userdata += device->n_channels;
    return 0;
}

static int check_channel_ids(struct reader *r, const struct json_node *devices, const struct vm *vm) {
    _cleanup_(freep) struct ids *ids = NULL;
    struct ids *end;
    size_t n = 0;

    vm_each_any_device(vm, count_channels, &n);
    ids = end = calloc(n + 1, sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    vm_each_any_device(vm, add_channel_ids, &end);
    return refuse_doubles(r, devices, ids, n, "channels");
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
        (ret = state_read_owner(r, values[VM_OWNER], &vm->owner)) < 0 ||
        (ret = state_read_text(r, values[VM_RULE], &vm->rule)) < 0 ||
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
    if ((ret = state_read_devices(r, values[DEVICES], vm)) < 0 ||
        (ret = check_region_ids(r, values[UNDO], values[DEVICES], vm)) < 0)
        return ret;
    return check_channel_ids(r, values[DEVICES], vm);
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
