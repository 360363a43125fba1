/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/kvm.h>
#include <pthread.h>
#include <string.h>

#include "vmm-internal.h"

static void count(atomic_uint_fast64_t *counter) {
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static uint64_t load(const void *data, unsigned size) {
    switch (size) {
    case 1:
        return *(const uint8_t *) data;
    case 2: {
        uint16_t value;
        memcpy(&value, data, sizeof(value));
        return value;
    }
    case 4: {
        uint32_t value;
        memcpy(&value, data, sizeof(value));
        return value;
    }
    default: {
        uint64_t value;
        memcpy(&value, data, sizeof(value));
        return value;
    }
    }
}

static void store(void *data, unsigned size, uint64_t value) {
    uint8_t u8 = (uint8_t) value;
    uint16_t u16 = (uint16_t) value;
    uint32_t u32 = (uint32_t) value;

    memcpy(data, size == 1 ? (void *) &u8 : size == 2 ? (void *) &u16 : size == 4 ? (void *) &u32 : &value, size);
}

/* One command. @data is touched only when the answer is there or will never be. */
static enum channel_result transfer(struct region *region, uint64_t offset, void *data, unsigned size, bool write) {
    bool posted = write && region->flags & IOREGION_REGION_POSTED && region->features & IOREGION_FEATURE_POSTED_WRITES;
    const struct ioregion_command command = {
        .info = ioregion_info(write, size, !posted),
        .user_data = region->user_data,
        .offset = offset,
        .data = write ? load(data, size) : 0,
    };
    uint64_t value = 0;
    enum channel_result result = channel_exchange(region, &command, &value);

    if (result == CHANNEL_NOT_OURS)
        return result;
    count(write ? &region->writes : &region->reads);
    if (result == CHANNEL_FAILED)
        count(&region->failures);
    else if (posted)
        count(&region->posted);
    if (!write)
        store(data, size, result == CHANNEL_ANSWERED ? value : ioregion_all_ones(size));
    return result;
}

/*
 * All of an access, in commands of descending powers of two. A device that goes away in the middle fails the rest:
 * an access is ours as a whole or not at all.
 */
static bool access_pieces(struct region *region, uint64_t offset, uint8_t *data, unsigned size, bool write) {
    unsigned piece = 8;

    for (unsigned done = 0; done < size; done += piece) {
        while (piece > size - done)
            piece /= 2;
        if (transfer(region, offset + done, data + done, piece, write) == CHANNEL_NOT_OURS) {
            if (done == 0)
                return false;
            if (!write)
                memset(data + done, 0xff, size - done);
            return true;
        }
    }
    return true;
}

/*
 * @n accesses to one address, as by a string instruction. vCPU threads may be cancelled, but not in here: a
 * turn that nobody gives back would stop all others.
 */
static bool access_times(struct ioregion_vmm *vmm, uint32_t space, uint64_t address, uint8_t *data, unsigned size,
                         bool write, uint32_t n) {
    struct region *region = tables_enter(&vmm->tables, space, address, size);
    bool ours = true;
    int cancel;

    if (!region)
        return false;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    for (uint32_t i = 0; i < n; i++)
        if (!access_pieces(region, address - region->base, data + (size_t) i * size, size, write)) {
            ours = i > 0;
            if (ours && !write)
                memset(data + (size_t) i * size, 0xff, (size_t) (n - i) * size);
            break;
        }
    if (tables_leave(region)) {
        pthread_mutex_lock(&vmm->lock);
        pthread_cond_broadcast(&vmm->left);
        pthread_mutex_unlock(&vmm->lock);
    }
    pthread_setcancelstate(cancel, &cancel);
    return ours;
}

int ioregion_vmm_access(struct ioregion_vmm *vmm, enum ioregion_space space, uint64_t address, void *data,
                        unsigned size, int write) {
    if ((uint32_t) space > IOREGION_PIO || size < 1 || size > 8)
        return 0;
    return access_times(vmm, space, address, data, size, write, 1);
}

/*
 * Whoever shares the mapping can change it at any time: what is read is read once, and checked. The data of port
 * accesses lies behind the struct, in the second page, which every mapping has.
 */
#define IO_PAGE 4096u

static bool handle_io(struct ioregion_vmm *vmm, struct kvm_run *run) {
    const __typeof__(run->io) io = *(volatile __typeof__(run->io) *) &run->io;

    if ((io.size != 1 && io.size != 2 && io.size != 4) || io.count < 1 || io.count > IO_PAGE / io.size ||
        io.data_offset < sizeof(*run) || io.data_offset > 2 * IO_PAGE - io.count * io.size ||
        io.direction > KVM_EXIT_IO_OUT)
        return false;
    return access_times(vmm, IOREGION_PIO, io.port, (uint8_t *) run + io.data_offset, io.size,
                        io.direction == KVM_EXIT_IO_OUT, io.count);
}

static bool handle_mmio(struct ioregion_vmm *vmm, struct kvm_run *run) {
    const volatile __typeof__(run->mmio) *mmio = &run->mmio;
    uint64_t address = mmio->phys_addr;
    uint32_t length = mmio->len;
    bool write = mmio->is_write;

    if (length < 1 || length > sizeof(run->mmio.data))
        return false;
    return access_times(vmm, IOREGION_MMIO, address, run->mmio.data, length, write, 1);
}

int ioregion_vmm_handle_exit(struct ioregion_vmm *vmm, struct kvm_run *run) {
    switch (*(volatile uint32_t *) &run->exit_reason) {
    case KVM_EXIT_IO:
        return handle_io(vmm, run);
    case KVM_EXIT_MMIO:
        return handle_mmio(vmm, run);
    default:
        return 0;
    }
}
