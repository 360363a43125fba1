/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_STORE_H
#define DAEMON_STORE_H

/*
 * Descriptors that outlive a process of a service, since the service manager keeps them (FileDescriptorStoreMax=).
 *
 * They are kept under a letter and a number, all that belong together under one. The names they go by are short, since
 * all names come back in one string of the environment, which has room for 128 KiB. The order in which they come back
 * means nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "internal/cleanup.h"

/* The most that units/ioregiond.service allows (FileDescriptorStoreMax=). */
#define STORE_FDS_MAX 8192

struct store;

/* What came back from the manager is taken out of the environment. */
int store_new(struct store **ret_store);
/* What is in the store stays there. */
struct store *store_free(struct store *store);
DEFINE_CLEANUP(store_free, struct store *);

/* -EDQUOT when there would be more than STORE_FDS_MAX. */
int store_put(struct store *store, char kind, const int *fds, size_t n_fds, uint32_t *ret_id);
void store_drop(struct store *store, char kind, uint32_t id);

/*
 * What came back under a name: the descriptors in *ret_fds are the caller's to close or to replace by -1, the array
 * is the store's. -ENOENT: nothing did.
 */
int store_find(struct store *store, char kind, uint32_t id, int **ret_fds, size_t *ret_n_fds);
/* It is in use from now on, but for the descriptors that were not taken. */
void store_use(struct store *store, char kind, uint32_t id);
/* Hang up on what came back and is of no use, close it and drop it: of this kind, or of any (0). Returns how many. */
size_t store_drop_unused(struct store *store, char kind);

#endif
