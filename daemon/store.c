/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "store.h"

/* What is kept under one name. */
struct stored {
    char kind;
    uint32_t id;
    bool used;
    size_t n_fds;
    int *fds; /* those that came back */
};

struct store {
    void *entries; /* tsearch(3) by kind and id */
    size_t n_fds;
    uint32_t last_id;
};

/* FDPOLL=0: what hung up meanwhile has to come back, too, with all that was sent before */
#define STORE "FDSTORE=1\nFDPOLL=0\nFDNAME=%c%" PRIx32
#define REMOVE "FDSTOREREMOVE=1\nFDNAME=%c%" PRIx32

static int entry_compare(const void *left, const void *right) {
    const struct stored *a = left, *b = right;

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static void entry_free(void *p) {
    struct stored *entry = p;

    for (size_t i = 0; entry->fds && i < entry->n_fds; i++)
        fd_close(entry->fds[i]);
    free(entry->fds);
    free(entry);
}

static struct stored *entry_find(const struct store *store, char kind, uint32_t id) {
    const struct stored key = {.kind = kind, .id = id};
    struct stored **node = tfind(&key, &store->entries, entry_compare);

    return node ? *node : NULL;
}

static struct stored *entry_new(struct store *store, char kind, uint32_t id) {
    struct stored *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return NULL;
    entry->kind = kind;
    entry->id = id;
    if (tsearch(entry, &store->entries, entry_compare))
        return entry;
    entry_free(entry);
    return NULL;
}

/* The opposite of the format above; upper case, leading zeros and the like are nobody's. */
static bool parse_name(const char *name, char *ret_kind, uint32_t *ret_id) {
    char again[16];
    uint32_t id;

    if (sscanf(name, "%c%" SCNx32, ret_kind, &id) != 2 || id == 0)
        return false;
    snprintf(again, sizeof(again), "%c%" PRIx32, *ret_kind, id);
    *ret_id = id;
    return strcmp(name, again) == 0;
}

/* Takes @fd. */
static int take_back(struct store *store, const char *name, int fd) {
    struct stored *entry;
    uint32_t id;
    char kind;
    int *fds;

    if (!parse_name(name, &kind, &id)) { /* not ours: it takes room, and does nothing */
        sd_pid_notifyf(0, false, "FDSTOREREMOVE=1\nFDNAME=%s", name);
        fd_close(fd);
        return 0;
    }
    entry = entry_find(store, kind, id) ?: entry_new(store, kind, id);
    fds = entry ? realloc(entry->fds, (entry->n_fds + 1) * sizeof(int)) : NULL;
    if (!fds) {
        fd_close(fd);
        return -ENOMEM;
    }
    entry->fds = fds;
    fds[entry->n_fds++] = fd;
    store->n_fds++;
    if (store->last_id < id)
        store->last_id = id;
    return 0;
}

static int take_all_back(struct store *store) {
    char **names = NULL;
    int n = sd_listen_fds_with_names(true, &names), r = 0;

    for (int i = 0; i < n; i++) {
        if (r >= 0)
            r = take_back(store, names[i], SD_LISTEN_FDS_START + i);
        else
            fd_close(SD_LISTEN_FDS_START + i);
        free(names[i]);
    }
    free(names);
    return n < 0 ? n : r;
}

int store_new(struct store **ret_store) {
    _cleanup_(store_freep) struct store *store = calloc(1, sizeof(*store));
    int r;

    if (!store)
        return -ENOMEM;
    r = take_all_back(store);
    if (r < 0)
        return r;
    *ret_store = STEAL(store);
    return 0;
}

struct store *store_free(struct store *store) {
    if (!store)
        return NULL;
    tdestroy(store->entries, entry_free);
    free(store);
    return NULL;
}

/* Numbers come round after some weeks of the busiest of hosts. */
static uint32_t next_id(struct store *store, char kind) {
    do
        store->last_id++;
    while (store->last_id == 0 || entry_find(store, kind, store->last_id));
    return store->last_id;
}

int store_put(struct store *store, char kind, const int *fds, size_t n_fds, uint32_t *ret_id) {
    struct stored *entry;
    char message[64];
    int r;

    if (store->n_fds > STORE_FDS_MAX || n_fds > STORE_FDS_MAX - store->n_fds)
        return -EDQUOT;
    entry = entry_new(store, kind, next_id(store, kind));
    if (!entry)
        return -ENOMEM;
    snprintf(message, sizeof(message), STORE, kind, entry->id);
    r = sd_pid_notify_with_fds(0, false, message, fds, (unsigned) n_fds);
    if (r <= 0) {
        tdelete(entry, &store->entries, entry_compare);
        entry_free(entry);
        return r < 0 ? r : -ENOTCONN;
    }
    entry->used = true;
    entry->n_fds = n_fds;
    store->n_fds += n_fds;
    *ret_id = entry->id;
    return 0;
}

void store_drop(struct store *store, char kind, uint32_t id) {
    struct stored *entry = entry_find(store, kind, id);

    if (!entry)
        return;
    store->n_fds -= entry->n_fds;
    sd_pid_notifyf(0, false, REMOVE, kind, id);
    tdelete(entry, &store->entries, entry_compare);
    entry_free(entry);
}

int store_find(struct store *store, char kind, uint32_t id, int **ret_fds, size_t *ret_n_fds) {
    struct stored *entry = entry_find(store, kind, id);

    if (!entry || !entry->fds || entry->used)
        return -ENOENT;
    *ret_fds = entry->fds;
    *ret_n_fds = entry->n_fds;
    return 0;
}

/* Some may have been left over: they count until they are dropped with the rest. */
void store_use(struct store *store, char kind, uint32_t id) {
    struct stored *entry = entry_find(store, kind, id);

    entry->used = true;
    for (size_t i = 0; i < entry->n_fds; i++)
        fd_close(entry->fds[i]);
    free(entry->fds);
    entry->fds = NULL;
}

struct unused {
    char kind;
    struct stored **entries;
    size_t n;
};

static void collect_unused(const void *node, VISIT visit, void *userdata) {
    struct stored *entry = *(struct stored *const *) node;
    struct unused *unused = userdata;

    if ((visit == postorder || visit == leaf) && !entry->used && (!unused->kind || entry->kind == unused->kind))
        unused->entries[unused->n++] = entry;
}

size_t store_drop_unused(struct store *store, char kind) {
    _cleanup_(freep) struct stored **entries = calloc(store->n_fds + 1, sizeof(struct stored *));
    struct unused unused = {.kind = kind, .entries = entries};

    if (!entries)
        return 0;
    twalk_r(store->entries, collect_unused, &unused);
    for (size_t i = 0; i < unused.n; i++) {
        struct stored *entry = entries[i];

        for (size_t j = 0; j < entry->n_fds; j++)
            shutdown(entry->fds[j], SHUT_RDWR); /* others may have it, too */
        store_drop(store, entry->kind, entry->id);
    }
    return unused.n;
}
