/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef IOREGIONFD_INTERNAL_H
#define IOREGIONFD_INTERNAL_H

/*
 * What the module's files share. README.md has the whole theory: who locks
 * what, who keeps whom alive. In short:
 *
 *   channel   one ioregionfd; alive while its file or a region refers to it
 *   region    one range on a VM's bus; alive while on its VM's list or on the bus
 *   vm        one VM handle; alive while its file, its bus device or a region is
 *   exchange  one access of one vCPU, on that vCPU's stack
 *
 * Locks, outermost first:
 *
 *   vm->lock (mutex)       changes of regions, vm->regions, region->told
 *   kvm->slots_lock        the VM's buses; KVM's, and a VMM may hold it for long
 *   region->lock           region->dead, channel, inside
 *   channel->lock          all of a channel
 *   vm->kvm_lock           vm->kvm
 */

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <kvm/iodev.h>

#include <ioregion/ioregionfd.h>

/* Of one VM in each address space; the bus has room for NR_IOBUS_DEVS, 1000. */
#define IOREGION_MAX_REGIONS	256
#define IOREGION_TIMEOUT_USEC	1000000ULL
/* Commands that a device has not read yet; all but one of them posted. */
#define IOREGION_RING		64
/* How long a caller waits for what a VMM may hold up: for a sweep, and again for slots_lock. */
#define IOREGION_PATIENCE	msecs_to_jiffies(100)

struct ioregion;
struct ioregion_vm;

struct ioregion_exchange {
	struct list_head inside;	/* in region->inside */
	struct list_head queued;	/* in channel->queue; empty once sent */
	struct ioregion *region;
	struct completion wake;		/* look again */
	struct ioregionfd_cmd cmd;
	u64 data;			/* the answer */
	bool taken;			/* the device has read it */
	bool done;
};

struct ioregion_channel {
	struct kref ref;
	spinlock_t lock;		/* all of the channel */
	wait_queue_head_t device;	/* read() and poll() */
	struct ioregion_vm *vm;		/* the only one it serves; set with the first region */
	unsigned int regions;
	bool served;			/* a region has been deleted, or given to another */
	u32 loss;			/* IOREGIONFD_LOSS_*; set once */
	ktime_t lost_at;

	struct list_head queue;		/* exchanges to be sent, in order */
	bool owed;			/* a response is; to ... */
	struct ioregion_exchange *owner; /* ... this, or nobody any more */
	bool taken;			/* the command it answers was read */
	bool closing;			/* takes no more commands, its end is near */
	u32 info;			/* of that command */
	ktime_t due;			/* when the device must have moved; 0: any time */

	bool posted;			/* was what was read last */
	bool linger;			/* see linger.c */

	unsigned int head, tail;	/* of the ring: sent, not read */
	struct ioregionfd_cmd ring[IOREGION_RING];
};

struct ioregion {
	struct kvm_io_device dev;
	struct kref ref;
	struct list_head list;		/* in vm->regions */
	struct ioregion_vm *vm;
	struct kvm_ioregion desc;	/* as it was set; fd means nothing */
	bool told;			/* the broker, of the channel's loss */

	spinlock_t lock;		/* dead, channel, inside */
	bool dead;
	struct ioregion_channel *channel;
	struct list_head inside;	/* exchanges of vCPUs in this region */
	struct list_head gone;		/* in vm->gone */

	atomic64_t reads, writes, posted, failures, timeouts;
};

struct ioregion_vm {
	struct kref ref;
	struct mutex lock;		/* changes of regions, and their list */
	struct list_head regions;
	wait_queue_head_t wait;		/* poll(), read() */
	spinlock_t kvm_lock;		/* kvm */
	struct kvm *kvm;		/* not a reference; NULL when it is gone */
	struct kvm_io_device sentinel;	/* its destructor tells of the VM's end */
	bool closed;

	/* sweep.c */
	struct work_struct sweep;
	atomic_t sweeps;		/* asked for, not through */
	wait_queue_head_t swept;
	bool held_up;			/* by the VMM: somebody waited in vain */
	struct kvm *held;		/* handed to the sweep: a reference, */
	struct kvm_io_bus *replaced;	/* and a bus to be freed */
	struct list_head gone;		/* the sweep's: regions that it took from the buses */
};

/* time.c: deadlines saturate, so that any number of microseconds is valid */
ktime_t ioregion_after(ktime_t from, u64 usec);
bool ioregion_passed(ktime_t when);
unsigned long ioregion_jiffies_until(ktime_t when);

/* channel.c */
long ioregion_channel_create(unsigned long flags);
struct ioregion_channel *ioregion_channel_from_fd(int fd);
void ioregion_channel_put(struct ioregion_channel *channel);
int ioregion_channel_claim(struct ioregion_channel *channel,
			   struct ioregion_vm *vm);
void ioregion_channel_unclaim(struct ioregion_channel *channel, bool served);
void ioregion_channel_cut(struct ioregion_channel *channel, u32 loss);

/* linger.c */
int ioregion_channel_wait(struct ioregion_channel *channel);

/* exchange.c */
bool ioregion_abandoned(const struct ioregion *region);
void ioregion_channel_cut_locked(struct ioregion_channel *channel, u32 loss);
void ioregion_channel_shutdown(struct ioregion_channel *channel);
bool ioregion_channel_pop(struct ioregion_channel *channel,
			  struct ioregionfd_cmd *cmd);
bool ioregion_channel_answer(struct ioregion_channel *channel,
			     const struct ioregionfd_resp *resp);
bool ioregion_channel_post(struct ioregion_channel *channel,
			   const struct ioregionfd_cmd *cmd);
bool ioregion_exchange(struct ioregion_channel *channel,
		       struct ioregion_exchange *ex);

/* region.c */
struct ioregion *ioregion_new(struct ioregion_vm *vm,
			      const struct kvm_ioregion *desc,
			      struct ioregion_channel *channel);
void ioregion_put(struct ioregion *region);
bool ioregion_dev_is_ours(const struct kvm_io_device *dev);
void ioregion_kill(struct ioregion *region);
bool ioregion_swap(struct ioregion *region, struct ioregion_channel *channel);
u32 ioregion_state(struct ioregion *region, u32 *loss);
static inline struct ioregion *ioregion_of(struct kvm_io_device *dev)
{
	return container_of(dev, struct ioregion, dev);
}

static inline enum kvm_bus ioregion_bus(const struct kvm_ioregion *desc)
{
	return desc->flags & KVM_IOREGION_PIO ? KVM_PIO_BUS : KVM_MMIO_BUS;
}

/* access.c */
int ioregion_read(struct kvm_vcpu *vcpu, struct kvm_io_device *dev, gpa_t addr,
		  int len, void *val);
int ioregion_write(struct kvm_vcpu *vcpu, struct kvm_io_device *dev, gpa_t addr,
		   int len, const void *val);

/* set.c */
void ioregion_vm_forget_dead(struct ioregion_vm *vm);
long ioregion_set(struct ioregion_vm *vm, const struct kvm_ioregion *desc);
long ioregion_cut(struct ioregion_vm *vm, const struct kvm_ioregion *desc);
long ioregion_get_stats(struct ioregion_vm *vm, struct ioregionfd_stats *stats);

/* bind.c */
long ioregion_vm_bind(const struct ioregionfd_bind_vm *bind);

/* handle.c */
extern const struct file_operations ioregion_handle_fops;

/* sentinel.c: added with slots_lock held, which removing takes */
void ioregion_sentinel_init(struct ioregion_vm *vm);
int ioregion_sentinel_add(struct ioregion_vm *vm, struct kvm *kvm);
void ioregion_sentinel_remove(struct ioregion_vm *vm, struct kvm *kvm);

/* vm.c */
void ioregion_vm_put(struct ioregion_vm *vm);
struct kvm *ioregion_vm_get_kvm(struct ioregion_vm *vm);

/* sweep.c */
int ioregion_sweepers_start(void);
void ioregion_sweepers_stop(void);
void ioregion_sweep_init(struct ioregion_vm *vm);
void ioregion_vm_sweep(struct ioregion_vm *vm);
bool ioregion_lock_slots(struct kvm *kvm);
int ioregion_change_begin(struct ioregion_vm *vm, struct kvm **ret_kvm);
void ioregion_change_end(struct ioregion_vm *vm, struct kvm *kvm,
			 struct kvm_io_bus *replaced);

/* bus.c: all with the VM's slots_lock held */
typedef bool (*ioregion_match_t)(struct kvm_io_device *dev, void *arg);
unsigned int ioregion_bus_count(struct kvm *kvm, enum kvm_bus idx,
				ioregion_match_t match, void *arg);
int ioregion_bus_insert(struct kvm *kvm, enum kvm_bus idx, gpa_t addr, int len,
			struct kvm_io_device *dev,
			struct kvm_io_bus **ret_replaced);
struct kvm_io_bus *ioregion_bus_remove(struct kvm *kvm, enum kvm_bus idx,
				       ioregion_match_t take, void *arg);

#endif
