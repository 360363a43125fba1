/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Saved state: whatever a file says, it is a VM or gives one printable line; what is a VM is written as it is read. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/state.h"
#include "daemon/vm.h"

static void require(bool holds) {
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *error = NULL, *first, *second;
    size_t first_size, second_size;
    struct vm *vm = NULL;
    int r = state_read("s", (const char *) data, size, &vm, &error);

    require(r == 0 || r == -EBADMSG);
    require(!vm == !!r && !error == !r);
    for (const char *c = error ?: ""; *c; c++)
        require(*c >= ' ' && *c <= '~');
    free(error);
    if (r < 0)
        return 0;
    r = state_write(vm, &first, &first_size);
    vm_free(vm);
    require(r == 0 || r == -EFBIG);
    if (r < 0)
        return 0;
    require(state_read("s", first, first_size, &vm, &error) == 0 && state_write(vm, &second, &second_size) == 0);
    require(first_size == second_size && memcmp(first, second, first_size) == 0);
    vm_free(vm);
    free(first);
    free(second);
    return 0;
}
