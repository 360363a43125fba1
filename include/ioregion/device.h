/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGION_DEVICE_H
#define IOREGION_DEVICE_H

/*
 * The device side of libioregion: attach to a VM, then answer its guest.
 *
 * A device is one struct of two callbacks. Functions return 0 or more on success and a negative errno on failure,
 * with words in ioregion_last_error(). A struct ioregion_device is used by one thread at a time; different devices
 * by different threads.
 */

#include <stddef.h>
#include <ioregion/region.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ioregion_device;

/*
 * The registers. Both callbacks get the region's token, the offset in bytes from its base, and the access size in
 * bytes (1, 2, 4 or 8), all checked: the access lies within the region. They can't fail, as hardware can't: what
 * read() returns is cut to the access size. They may take as long as the deadline that was granted.
 */
struct ioregion_device_ops {
    size_t struct_size; /* sizeof(struct ioregion_device_ops), so that later versions can add members */
    uint64_t (*read)(void *userdata, uint64_t region, uint64_t offset, unsigned size);
    void (*write)(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value);
    /* The device was attached again after a loss (ioregion_device_resume()); may be NULL. */
    void (*resumed)(void *userdata);
    /* The hold ended: enum ioregion_revoke_reason, or 0 when the broker or the dispatcher hung up; may be NULL. */
    void (*ended)(void *userdata, unsigned reason);
};

/*
 * How to attach. Zero-initialise; a NULL pointer to this means all defaults. What a later version of this struct has
 * set at its end is refused with -EINVAL.
 */
struct ioregion_device_options {
    size_t struct_size;    /* sizeof(struct ioregion_device_options) */
    uint64_t require;      /* IOREGION_FEATURE_*: without these the attach fails */
    uint64_t want;         /* IOREGION_FEATURE_*: granted where everyone can */
    uint64_t timeout_usec; /* deadline asked for; 0: the policy's */
    const char *on_disconnect; /* "ones", "hold" or "remove"; NULL: "ones" */
    uint32_t channels;     /* 0 means 1 */
    uint32_t reserved;     /* zero */
};

/*
 * Attach device @name to VM @vm with @n_regions regions (copied), all or nothing. Makes the lease, calls
 * AttachDevice on the system bus (DBUS_SYSTEM_BUS_ADDRESS is honoured), proves its identity, waits for the grant
 * and leaves the bus. Busy and LimitsExceeded are tried again, with back-off, for up to two seconds. @ops is copied;
 * @userdata is the caller's. On success *ret_device is the caller's, to be given to ioregion_device_free().
 *
 * -EACCES policy denied or identity unproven · -ENOENT no such VM · -ESRCH the VM ended meanwhile · -EEXIST name taken
 * or range overlaps · -EINVAL a region or option is not valid · -ENODEV the VM's dispatcher can't add the region ·
 * -EOPNOTSUPP a required feature is missing · -EDQUOT a limit · -EBUSY still busy · -EHOSTUNREACH no broker · -EPROTO,
 * -EPROTONOSUPPORT the broker broke the protocol, or speaks another version · -EIO another error of the bus · -ENOMEM.
 */
IOREGION_PUBLIC int ioregion_device_attach(struct ioregion_device **ret_device, const char *vm, const char *name,
                                           const struct ioregion_region *regions, size_t n_regions,
                                           const struct ioregion_device_options *options,
                                           const struct ioregion_device_ops *ops, void *userdata);

/*
 * Make a device of descriptors that it was started with ("fd at start"): @channels (taken, @n_channels of them) and
 * @lease (taken; -1 for none). On failure they are still the caller's. @features is what was agreed. No bus, no
 * privileges.
 */
IOREGION_PUBLIC int ioregion_device_from_fds(struct ioregion_device **ret_device, const int *channels,
                                             size_t n_channels, int lease, uint64_t features,
                                             const struct ioregion_region *regions, size_t n_regions,
                                             const struct ioregion_device_ops *ops, void *userdata);

/*
 * Attach again under the same name after ioregion_device_run() ended with -ECONNRESET: new lease, new channels, the
 * same regions. Errors as ioregion_device_attach(). Not after ioregion_device_lockdown().
 */
IOREGION_PUBLIC int ioregion_device_resume(struct ioregion_device *device);

/* Give everything back in good order, close all descriptors, free. Accepts NULL; returns NULL. */
IOREGION_PUBLIC struct ioregion_device *ioregion_device_free(struct ioregion_device *device);

/*
 * Give the descriptors away, for one who only attaches and lets another process serve: *ret_lease (-1 for none) and
 * @n_channels channels, lowest first, are the caller's, and the broker hears nothing. -EINVAL when the device has
 * another number of channels. Afterwards the device is good for nothing but ioregion_device_free().
 */
IOREGION_PUBLIC int ioregion_device_take_fds(struct ioregion_device *device, int *ret_lease, int *ret_channels,
                                             size_t n_channels);

/* What was granted. */
IOREGION_PUBLIC uint64_t ioregion_device_features(const struct ioregion_device *device);
IOREGION_PUBLIC uint64_t ioregion_device_timeout_usec(const struct ioregion_device *device);

/*
 * Answer the guest until the hold ends. With one channel every command costs one receive and one send and nothing
 * else. Returns 0 after a revoke or the VM's end, -ECONNRESET when broker or dispatcher hung up without a word,
 * -EPROTO when the dispatcher broke the protocol (the channel is closed then), -EINTR after ioregion_device_stop().
 */
IOREGION_PUBLIC int ioregion_device_run(struct ioregion_device *device);

/*
 * Make ioregion_device_run() return, once and for all; may be called from a signal handler or another thread. The
 * command in hand is still answered. Free the device then: the guest's next access waits until that or the process's
 * end, up to its deadline, unless it finds right away that the device has gone.
 */
IOREGION_PUBLIC void ioregion_device_stop(struct ioregion_device *device);

/*
 * For one's own event loop, in place of ioregion_device_run(): poll the descriptor (owned by the device) for
 * reading, then call ioregion_device_process(), which answers all that is pending and never blocks. It returns 0
 * to go on, 1 when the hold ended with a word, else as ioregion_device_run().
 */
IOREGION_PUBLIC int ioregion_device_fd(const struct ioregion_device *device);
IOREGION_PUBLIC int ioregion_device_process(struct ioregion_device *device);

/*
 * Install the strict system call filter for what is left to do: receive, send, poll, write to open descriptors,
 * exit. No new descriptor, no new program, no signal to others. For good, for all threads. -ENOSYS where the kernel
 * can't.
 */
IOREGION_PUBLIC int ioregion_device_lockdown(struct ioregion_device *device);

#ifdef __cplusplus
}
#endif

#endif
