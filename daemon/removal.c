/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "removal.h"

struct removal *removal_new(struct vm *vm, uint64_t first, size_t n, broker_done_t done, void *userdata) {
    struct removal *removal = calloc(1, sizeof(*removal) + n * sizeof(struct range));

    if (!removal)
        return NULL;
    removal->vm = vm;
    removal->first = first;
    removal->n = n;
    removal->pending = 1;
    removal->done = done;
    removal->userdata = userdata;
    TAILQ_INSERT_TAIL(&vm->removals, removal, link);
    return removal;
}

struct removal *removal_free(struct removal *removal) {
    TAILQ_REMOVE(&removal->vm->removals, removal, link);
    free(removal);
    return NULL;
}

void removal_unref(struct removal *removal) {
    broker_done_t done = removal->done;
    void *userdata = removal->userdata;

    if (--removal->pending > 0)
        return;
    removal_free(removal);
    if (done)
        done(userdata);
}

static void on_removed(void *userdata, int error, const struct ioregion_lease_stats_reply *stats) {
    removal_unref(userdata);
}

void removal_start(struct removal *removal) {
    struct dispatcher *dispatcher = removal->vm->dispatcher;
    uint64_t end = removal->first + removal->n;

    for (uint64_t id = removal->first; id < end; id++) {
        removal->pending++;
        if (dispatcher->type->remove(dispatcher, id, on_removed, removal) < 0)
            removal->pending--;
    }
}
