/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_KEEPER_H
#define DAEMON_KEEPER_H

/*
 * Who sees to it that what was granted outlives this process. The broker tells it before the fact: what a client was
 * told is written down already, and what is written down and was not told is a hang-up or a removal for the next
 * process. persist.h has the one there is; without one nothing outlives the broker.
 */

#include <stddef.h>
#include <stdint.h>

struct broker;
struct vm;

/* What descriptors are kept for. */
enum keeper_kind { KEEPER_VM = 'v', KEEPER_DEVICE = 'd' };

struct keeper_type {
    /* Take duplicates of descriptors into care. *ret_id is not in use yet. -EDQUOT: there is no room for so many. */
    int (*hold)(void *userdata, enum keeper_kind kind, const int *fds, size_t n_fds, uint32_t *ret_id);
    void (*release)(void *userdata, enum keeper_kind kind, uint32_t id);
    /* Write down what a VM is now, with all its devices; or that it is no more. */
    int (*save)(void *userdata, const struct vm *vm);
    void (*forget)(void *userdata, const struct vm *vm);
    int (*save_generation)(void *userdata, uint64_t generation);
};

struct keeper {
    const struct keeper_type *type; /* NULL: there is none, and every call below is a success */
    void *userdata;
};

/* Id 0 is none, and is released in vain. */
int keeper_hold(const struct keeper *keeper, enum keeper_kind kind, const int *fds, size_t n_fds, uint32_t *ret_id);
void keeper_release(const struct keeper *keeper, enum keeper_kind kind, uint32_t id);
int keeper_save(const struct keeper *keeper, const struct vm *vm);
void keeper_forget(const struct keeper *keeper, const struct vm *vm);
int keeper_save_generation(const struct keeper *keeper, uint64_t generation);

#endif
