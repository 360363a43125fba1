/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGION_VMM_H
#define IOREGION_VMM_H

/*
 * The VMM side of libioregion: register a VM, follow its regions, dispatch its exits.
 *
 * Functions return a negative errno on failure, with words in ioregion_last_error(). ioregion_vmm_handle_exit()
 * and ioregion_vmm_access() may be called from any number of vCPU threads at once, and those about guest memory from
 * any thread, all also while another thread is in ioregion_vmm_process(). Everything else belongs to one thread.
 * SIGPIPE is never raised.
 */

#include <stddef.h>
#include <ioregion/region.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvm_run; /* <linux/kvm.h> */
struct ioregion_vmm;

/* A range that the VMM keeps for its own devices: no device is granted it. */
struct ioregion_range {
    uint32_t space;    /* enum ioregion_space */
    uint32_t reserved; /* zero */
    uint64_t base;     /* guest physical address, or port */
    uint64_t size;     /* bytes, at least 1 */
};

/*
 * How to register. Zero-initialise; a NULL pointer to this means all defaults. What a later version of this struct has
 * set at its end is refused with -EINVAL.
 */
struct ioregion_vmm_options {
    size_t struct_size; /* sizeof(struct ioregion_vmm_options) */
    int has_ceiling;    /* nonzero: ceiling counts; zero: no ceiling */
    uint64_t ceiling;   /* IOREGION_FEATURE_* that devices of this VM may be granted at most */
    const struct ioregion_range *reserve; /* the caller's */
    size_t n_reserve;
    const char *dispatch; /* "auto", "kernel" or "vmm"; NULL: "auto" where there is a vm_fd, else "vmm" */
    int has_vm_fd;        /* nonzero: vm_fd counts */
    int vm_fd;            /* what KVM_CREATE_VM gave, the caller's: lets the broker use the kernel dispatcher */
    uint32_t pid;         /* for operators: the process that made vm_fd, whose VM this is; zero: the caller */
};

/*
 * Register VM @name: call RegisterVM on the system bus (DBUS_SYSTEM_BUS_ADDRESS is honoured), prove the identity,
 * wait for the grant, leave the bus. Busy and LimitsExceeded are tried again, with back-off, for up to two seconds.
 * On success *ret_vmm is the caller's. The VM ends when it is freed or the process ends.
 *
 * Where the broker has the kernel dispatch (the property Dispatch of the VM says so), accesses of devices never reach
 * the VMM, and no region will be heard of; everything else is the same. With @pid the VM lives by itself: its lease
 * ends with this call, and all that is left to do is to free *ret_vmm.
 *
 * -EACCES policy denied or identity unproven · -EEXIST name taken · -EINVAL name or option not valid · -EDQUOT a limit
 * · -EBUSY still busy · -ENOENT there is no process @pid in /proc · -EHOSTUNREACH no broker · -EPROTO, -EPROTONOSUPPORT
 * the broker broke the protocol, or speaks another version · -EIO another error of the bus · -ENOMEM.
 */
IOREGION_PUBLIC int ioregion_vmm_register(struct ioregion_vmm **ret_vmm, const char *name,
                                          const struct ioregion_vmm_options *options);

/*
 * A VMM on a lease that was granted by other means (taken; on failure it is still the caller's); for tests, and for
 * VMMs with their own bus client.
 */
IOREGION_PUBLIC int ioregion_vmm_from_lease(struct ioregion_vmm **ret_vmm, int lease);

/* Unregister, close all descriptors, free. No vCPU thread may be inside. Accepts NULL; returns NULL. */
IOREGION_PUBLIC struct ioregion_vmm *ioregion_vmm_free(struct ioregion_vmm *vmm);

/*
 * Region changes: poll the descriptor (owned by the VMM object) for reading, then call ioregion_vmm_process(),
 * which takes in all that is pending and blocks only until vCPUs have left a removed region: for its deadline at most,
 * and as a rule no time, since the broker cuts the channel first. The broker waits 2 s for it. Returns 0, or
 * -ECONNRESET once the broker has ended the lease: regions stay as they are then, their devices go on being served,
 * and the descriptor should no longer be polled.
 */
IOREGION_PUBLIC int ioregion_vmm_fd(const struct ioregion_vmm *vmm);
IOREGION_PUBLIC int ioregion_vmm_process(struct ioregion_vmm *vmm);

/*
 * After KVM_RUN returned: 1 if the exit was an access to a region and was dealt with (call KVM_RUN again: it
 * completes the access), 0 if it is not ours (run was not touched). Reads exit_reason once; handles KVM_EXIT_IO with
 * any count, and KVM_EXIT_MMIO.
 *
 * One access is atomic: it is bounded by the region's deadline (and grace, under hold), signals do not interrupt it,
 * and a device that fails makes reads all ones and drops writes.
 */
IOREGION_PUBLIC int ioregion_vmm_handle_exit(struct ioregion_vmm *vmm, struct kvm_run *run);

/*
 * The same for one access of 1 to 8 bytes at @data, host byte order: 1 dealt with, 0 not ours. An access that is not
 * wholly inside one region is not ours; one of 3, 5, 6 or 7 bytes reaches the device as several commands.
 */
IOREGION_PUBLIC int ioregion_vmm_access(struct ioregion_vmm *vmm, enum ioregion_space space, uint64_t address,
                                        void *data, unsigned size, int write);

/*
 * Guest memory: KVM exits for no access to it, so a device's region that lies in it, even in part, would never be
 * heard of. Tell each slot that KVM_SET_USER_MEMORY_REGION has set, @size 0 for one that went, and such regions are
 * refused when they come. -EINVAL past the end of the space, -ENOMEM.
 */
IOREGION_PUBLIC int ioregion_vmm_memory_slot(struct ioregion_vmm *vmm, uint32_t slot, uint64_t base, uint64_t size);

/* Those that were there before the memory stay: 1 and the range of one of them, the first; 0 if there is none. */
IOREGION_PUBLIC int ioregion_vmm_covered(struct ioregion_vmm *vmm, struct ioregion_range *ret_range);

#ifdef __cplusplus
}
#endif

#endif
