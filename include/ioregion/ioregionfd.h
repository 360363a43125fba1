/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note OR BSD-3-Clause */
#ifndef IOREGION_IOREGIONFD_H
#define IOREGION_IOREGIONFD_H

/*
 * The kernel dispatcher: /dev/ioregionfd, made by ioregionfd.ko.
 *
 * A guest's access to a region becomes a 32-byte command on an ioregionfd, and the 32 bytes
 * written back are its answer; no exit to the VMM. The ioctls of KVM's ioregionfd proposal are
 * here under their names, with numbers of their own, on descriptors of their own: never ask KVM
 * for them by number. doc/protocol.md says what commands and responses may contain,
 * kernel/README.md how the module works.
 *
 * Three kinds of descriptors, all close-on-exec:
 *
 *   the device node  gives the two others;
 *   an ioregionfd    is a device's: read() commands, write() responses, poll(). Its last close is
 *                    the device's end;
 *   a VM handle      is the broker's: sets regions of one VM. It hangs up when the VM is gone,
 *                    which it does not keep alive; closing it deletes its regions.
 *
 * Every ioctl checks all of its argument and changes nothing when it fails. EFAULT, for an
 * argument that can't be read or written, and ENOTTY, for an unknown ioctl, are not listed
 * below. No call but a device's read() waits for anything that a VMM, a guest or a device may
 * hold up; but for a moment, 0.2 s at most, binding and adding do, and fail then. Try again.
 */

#include <linux/ioctl.h>
#include <linux/types.h>

#define IOREGIONFD_VERSION 1

/* A command. info: bits 0-3 operation, 4-5 log2 of the size in bytes, 6 a response is wanted. */
struct ioregionfd_cmd {
	__u32 info;
	__u32 padding;   /* zero */
	__u64 user_data; /* of the region */
	__u64 offset;    /* bytes from the region's base */
	__u64 data;      /* the value written, zero-extended; zero for reads */
};

#define IOREGIONFD_CMD_READ       0x00u
#define IOREGIONFD_CMD_WRITE      0x01u
#define IOREGIONFD_CMD_SIZE_SHIFT 4
#define IOREGIONFD_CMD_RESP       0x40u

struct ioregionfd_resp {
	__u64 data;   /* the value read, zero-extended; zero for writes */
	__u8 pad[24]; /* zero */
};

/*
 * A region. Deadlines live in what the proposal called padding, so that a plain zeroed struct
 * works: zero is the default deadline, and no grace.
 */
struct kvm_ioregion {
	__u64 guest_paddr; /* guest physical address, or port */
	__u64 memory_size; /* bytes: 1 to 2^31-1 */
	__u64 user_data;   /* token that every command carries; unique on its ioregionfd */
	__s32 fd;          /* from KVM_CREATE_IOREGIONFD; -1 to delete */
	__u32 flags;       /* KVM_IOREGION_*, IOREGIONFD_REGION_* */
	__u64 timeout_usec; /* deadline of each command; 0: default_timeout_usec */
	__u64 grace_usec;   /* how long HOLD waits; else zero */
	__u8 pad[16];       /* zero */
};

#define KVM_IOREGION_PIO           (1u << 0) /* ports, not memory addresses */
#define KVM_IOREGION_POSTED_WRITES (1u << 1) /* writes want no response */

/*
 * What accesses meet when the device closed its ioregionfd: all ones are read and writes
 * dropped; or, by flag, they wait for the device's return; or go to the VMM as if there were no
 * region. After a missed deadline a region holds if flagged so, else answers with ones; after a
 * violation of the protocol it always answers with ones.
 */
#define IOREGIONFD_REGION_HOLD   (1u << 16)
#define IOREGIONFD_REGION_REMOVE (1u << 17) /* not with HOLD */
#define IOREGIONFD_REGION_REPLAY (1u << 18) /* what was read and not answered is sent again */

#define IOREGIONFD_REGION_FLAGS						\
	(KVM_IOREGION_PIO | KVM_IOREGION_POSTED_WRITES |		\
	 IOREGIONFD_REGION_HOLD | IOREGIONFD_REGION_REMOVE |		\
	 IOREGIONFD_REGION_REPLAY)

/* What there is; asked of the device node, in place of KVM_CHECK_EXTENSION. */
struct ioregionfd_info {
	__u32 version;              /* IOREGIONFD_VERSION */
	__u32 region_flags;         /* those that KVM_SET_IOREGION takes */
	__u64 features;             /* of the data plane, bits as in wire.h */
	__u64 default_timeout_usec;
	__u32 max_regions;          /* of one VM, in each address space */
	__u32 zero;
};

struct ioregionfd_bind_vm {
	__s32 vm_fd;
	__s32 pid; /* of the process that runs the VM, as the caller sees it */
	__u64 flags; /* zero */
};

/* Why a channel is lost. Numbers as of enum ioregion_lease_event_what. */
#define IOREGIONFD_LOSS_EOF       1 /* the ioregionfd was closed */
#define IOREGIONFD_LOSS_DEADLINE  2
#define IOREGIONFD_LOSS_VIOLATION 3

/*
 * Read from a VM handle, one at a time: a region lost its device. Told once for each loss; the
 * first two fields and KVM_IOREGION_PIO name the region, as in IOREGIONFD_GET_STATS. Events are
 * not queued: whoever reads is told what is so then. A loss that nobody has read about is
 * forgotten when the region is swapped or deleted; no event tells of an ioregionfd that is the
 * region's no more.
 */
struct ioregionfd_event {
	__u64 guest_paddr;
	__u64 memory_size;
	__u64 user_data;
	__u32 flags; /* of the region */
	__u32 loss;  /* IOREGIONFD_LOSS_* */
};

#define IOREGIONFD_STATE_ATTACHED 0
#define IOREGIONFD_STATE_HELD     1
#define IOREGIONFD_STATE_FAILED   2
#define IOREGIONFD_STATE_GONE     3 /* accesses go to the VMM; the range stays taken */

/* Of one region: the caller sets the first four fields. Counts are of commands. */
struct ioregionfd_stats {
	__u64 guest_paddr;
	__u64 memory_size;
	__u32 flags;     /* KVM_IOREGION_PIO or zero */
	__u32 zero;
	__u32 state;     /* IOREGIONFD_STATE_* */
	__u32 loss;      /* IOREGIONFD_LOSS_*, or zero */
	__u64 reads;
	__u64 writes;    /* the posted ones too */
	__u64 posted;    /* writes that waited for no response */
	__u64 failures;  /* reads that gave all ones, writes that were dropped */
	__u64 timeouts;  /* deadlines missed */
};

#define IOREGIONFD_IOC 0xBE

/* On the device node. */

#define IOREGIONFD_GET_INFO _IOR(IOREGIONFD_IOC, 0x00, struct ioregionfd_info)

/*
 * A new ioregionfd; the argument, a value, is 0 or O_NONBLOCK. EINVAL another argument; EMFILE,
 * ENFILE, ENOMEM.
 *
 * read() gives one command, and never waits for one under O_NONBLOCK or preadv2()'s RWF_NOWAIT; it
 * fails with EINVAL when there is no room for one, EAGAIN, EINTR, and gives 0 once the device was
 * cut off, the last region of the ioregionfd was deleted or given to another, or the VM is gone.
 * write() takes one response; EPROTO, and the device is cut off, if it is not 32 bytes, not what
 * the last command allows, or no command waits for it; EPIPE after the end. poll() tells POLLIN,
 * POLLOUT while a response is owed, POLLHUP.
 */
#define KVM_CREATE_IOREGIONFD _IO(IOREGIONFD_IOC, 0x01)

/*
 * A VM handle. EBADF vm_fd is not open; EINVAL it is no VM's, or flags; ESRCH no such process;
 * EPERM its address space is not that of the VM; EBUSY there is a handle for this VM; EAGAIN its
 * VMM holds the VM up, or so it did when a former handle was closed; EMFILE, ENFILE, ENOMEM. A
 * handle takes no place on the buses that the VM uses, and is given where those are full. The
 * caller should close the VM descriptor: that one does keep the VM alive.
 *
 * read() gives an event (struct ioregionfd_event) and never waits for one: EAGAIN without one, 0
 * when the VM is gone, EINVAL when there is no room; poll() tells POLLIN, and POLLHUP when the
 * VM is gone. fdinfo lists the regions.
 */
#define IOREGIONFD_BIND_VM _IOW(IOREGIONFD_IOC, 0x02, struct ioregionfd_bind_vm)

/*
 * On an ioregionfd whose device goes, though descriptors of it are open still: read() gives 0, also
 * to those who wait in it. The argument is a value. READ: a response that is owed may still be
 * given; other accesses wait for the end, up to their deadline. BOTH: this is the end, as the last
 * close is. EINVAL another argument.
 */
#define IOREGIONFD_SHUTDOWN _IO(IOREGIONFD_IOC, 0x06)
#define IOREGIONFD_SHUTDOWN_READ 0
#define IOREGIONFD_SHUTDOWN_BOTH 1

/* On a VM handle. */

/*
 * Add: EINVAL size 0 or above 2^31-1, past the end of the address space, flags, padding, grace
 * without HOLD; EBADF fd is not open; ENXIO it is no ioregionfd; EBUSY it is in use for another
 * VM; EPIPE it has ended; EEXIST the range overlaps what is on the VM's bus, the VM's memory or
 * the local APIC's page as KVM has it, or the ioregionfd has this user_data; ENOSPC max_regions,
 * or the bus is full; EBUSY, too, while the VMM holds the VM up: a vCPU in a page fault that
 * nobody resolves, say; ESRCH the VM is gone; ENOMEM. What the VM gets later may still hide it.
 *
 * Swap: a region of the same address and size that differs in fd alone gets the other
 * ioregionfd, and its former one ends, which is a loss for other regions on that; accesses that
 * waited go on. EEXIST if it differs in more. The same ioregionfd again changes nothing.
 *
 * Delete (fd is -1): accesses that wait are ended, with ones; from the return on no access enters
 * the region, and no command of it is sent. Other fields but address, size, and KVM_IOREGION_PIO
 * must be valid and do not matter. ENOENT no such region.
 */
#define KVM_SET_IOREGION _IOW(IOREGIONFD_IOC, 0x03, struct kvm_ioregion)

/*
 * Cut the device of a region off: its ioregionfd ends, with all of its regions, as if the device
 * had closed it. They stay, for its return, say. Fields as for delete, and so are the errors.
 * Nothing happens to a device that is lost already.
 */
#define IOREGIONFD_CUT_REGION _IOW(IOREGIONFD_IOC, 0x05, struct kvm_ioregion)

/* ENOENT no such region; EINVAL flags or zero. */
#define IOREGIONFD_GET_STATS _IOWR(IOREGIONFD_IOC, 0x04, struct ioregionfd_stats)

#endif
