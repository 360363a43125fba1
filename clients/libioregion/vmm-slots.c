/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Guest memory, as the VMM tells of it. KVM exits for no access to memory, so a region that lies under it would
 * never be heard of: it is refused when it comes after the memory, and told when it was there before.
 *
 * Memory matters to the MMIO space alone. Slots of other address spaces than the first (x86 has one for SMM) do not
 * count: outside of SMM they are not there.
 */

#include <errno.h>

#include "error.h"
#include "vmm-internal.h"

/* KVM keeps the address space in the upper half of a slot's number. */
#define ADDRESS_SPACE(number) ((number) >> 16)

static struct slot *find_slot(const struct slots *slots, uint32_t number) {
    for (size_t i = 0; i < slots->n; i++)
        if (slots->list[i].number == number)
            return &slots->list[i];
    return NULL;
}

static int set_slot(struct slots *slots, const struct slot *new) {
    struct slot *slot = find_slot(slots, new->number), *list;

    if (!new->size) {
        if (slot)
            *slot = slots->list[--slots->n];
        return 0;
    }
    if (!slot) {
        list = reallocarray(slots->list, slots->n + 1, sizeof(*list));
        if (!list)
            return last_error_step(-ENOMEM, "memory slot");
        slots->list = list;
        slot = &list[slots->n++];
    }
    *slot = *new;
    return 0;
}

bool slots_cover(const struct slots *slots, uint32_t space, uint64_t base, uint64_t size) {
    for (size_t i = 0; space == IOREGION_MMIO && i < slots->n; i++) {
        const struct slot *slot = &slots->list[i];

        if (base <= slot->base + (slot->size - 1) && slot->base <= base + (size - 1))
            return true;
    }
    return false;
}

int ioregion_vmm_memory_slot(struct ioregion_vmm *vmm, uint32_t slot, uint64_t base, uint64_t size) {
    const struct slot new = {.number = slot, .base = base, .size = size};
    int r;

    if (ADDRESS_SPACE(slot))
        return 0;
    if (size && base > UINT64_MAX - (size - 1))
        return last_error_step(-EINVAL, "memory slot");
    pthread_mutex_lock(&vmm->slots.lock);
    r = set_slot(&vmm->slots, &new);
    pthread_mutex_unlock(&vmm->slots.lock);
    return r;
}

int ioregion_vmm_covered(struct ioregion_vmm *vmm, struct ioregion_range *ret_range) {
    const struct region *region = NULL;

    pthread_mutex_lock(&vmm->slots.lock);
    for (size_t i = 0; !region && i < vmm->slots.n; i++)
        region = tables_overlap(&vmm->tables, IOREGION_MMIO, vmm->slots.list[i].base, vmm->slots.list[i].size);
    if (region)
        *ret_range = (struct ioregion_range){.space = region->space, .base = region->base, .size = region->size};
    pthread_mutex_unlock(&vmm->slots.lock);
    return region != NULL;
}
