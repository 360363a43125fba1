/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper.h"

int keeper_hold(const struct keeper *keeper, enum keeper_kind kind, const int *fds, size_t n_fds, uint32_t *ret_id) {
    if (!keeper->type) {
        *ret_id = 0;
        return 0;
    }
    return keeper->type->hold(keeper->userdata, kind, fds, n_fds, ret_id);
}

void keeper_release(const struct keeper *keeper, enum keeper_kind kind, uint32_t id) {
    if (keeper->type && id != 0)
        keeper->type->release(keeper->userdata, kind, id);
}

int keeper_save(const struct keeper *keeper, const struct vm *vm) {
    return keeper->type ? keeper->type->save(keeper->userdata, vm) : 0;
}

void keeper_forget(const struct keeper *keeper, const struct vm *vm) {
    if (keeper->type)
        keeper->type->forget(keeper->userdata, vm);
}

int keeper_save_generation(const struct keeper *keeper, uint64_t generation) {
    return keeper->type ? keeper->type->save_generation(keeper->userdata, generation) : 0;
}
