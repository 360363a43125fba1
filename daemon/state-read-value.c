/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "device.h"
#include "state-read.h"

#define GIDS_MAX 65536 /* NGROUPS_MAX of Linux */

int state_read_row(struct reader *r, const struct json_node *node, size_t n, const uint64_t *max, uint64_t *ret_row) {
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

int state_read_text(struct reader *r, const struct json_node *node, char **ret_text) {
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

int state_read_owner(struct reader *r, const struct json_node *node, struct identity **ret_owner) {
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
        (ret = state_read_text(r, values[UNIT], &owner->unit)) < 0)
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

int state_read_range(struct reader *r, const struct json_node *node, uint64_t space, uint64_t first, uint64_t last,
                     void *owner, struct range *ret_range) {
    if (first > last || last - first == UINT64_MAX ||
        range_init(ret_range, (uint32_t) space, first, last - first + 1, owner) < 0)
        return READ_FAIL(r, node, "no range of addresses");
    return 0;
}

int state_read_map(struct reader *r, const struct json_node *node, struct vm *vm, struct range *range, uint64_t space,
                   uint64_t first, uint64_t last, void *owner) {
    const struct range *conflict;
    int ret;

    ret = state_read_range(r, node, space, first, last, owner, range);
    if (ret < 0)
        return ret;
    ret = region_map_add(&vm->map, range, &conflict);
    return ret == -EEXIST ? READ_FAIL(r, node, "it overlaps another range") : ret;
}
