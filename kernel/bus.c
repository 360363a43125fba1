// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM's buses, which KVM does not let modules change through functions.
 *
 * A bus is an array, sorted by address, that vCPUs read under kvm->srcu. It is
 * never changed in place: a copy takes its place, under kvm->slots_lock, and
 * the old one is the caller's, to be freed after a grace period. KVM frees what
 * we put there, so it comes from kmalloc().
 */

#include <linux/slab.h>

#include "internal.h"

/* An ioeventfd of length 0 matches accesses of any size at its address. */
static u64 last_of(const struct kvm_io_range *range)
{
	return range->addr + (range->len ? range->len - 1 : 0);
}

static bool overlaps(const struct kvm_io_bus *bus, gpa_t addr, int len)
{
	gpa_t last = addr + len - 1;
	int i;

	for (i = 0; i < bus->dev_count; i++)
		if (bus->range[i].addr <= last && addr <= last_of(&bus->range[i]))
			return true;
	return false;
}

/*
 * Memory and the local APIC take accesses before any bus sees them. What only
 * SMM has there does not count: it hides nothing from the rest.
 */
static bool hidden(struct kvm *kvm, gpa_t addr, int len)
{
	struct kvm_memslot_iter iter;
	gpa_t last = addr + len - 1;

	if (kvm->arch.irqchip_mode != KVM_IRQCHIP_NONE && last >= APIC_DEFAULT_PHYS_BASE &&
	    addr < APIC_DEFAULT_PHYS_BASE + PAGE_SIZE)
		return true;
	kvm_for_each_memslot_in_gfn_range(&iter, kvm_memslots(kvm), gpa_to_gfn(addr),
					  gpa_to_gfn(last) + 1)
		return true;
	return false;
}

unsigned int ioregion_bus_count(struct kvm *kvm, enum kvm_bus idx, ioregion_match_t match,
				void *arg)
{
	struct kvm_io_bus *bus = kvm_get_bus(kvm, idx);
	unsigned int count = 0;
	int i;

	for (i = 0; bus && i < bus->dev_count; i++)
		count += match(bus->range[i].dev, arg);
	return count;
}

/*
 * KVM's own look-up is a binary search that misses ranges when others lie
 * inside them, so nothing may overlap. ioeventfds do not count against
 * NR_IOBUS_DEVS, as in KVM.
 */
int ioregion_bus_insert(struct kvm *kvm, enum kvm_bus idx, gpa_t addr, int len,
			struct kvm_io_device *dev, struct kvm_io_bus **ret_replaced)
{
	struct kvm_io_bus *bus = kvm_get_bus(kvm, idx), *new_bus;
	int i;

	if (!bus)
		return -ENOMEM;
	if (overlaps(bus, addr, len) || (idx == KVM_MMIO_BUS && hidden(kvm, addr, len)))
		return -EEXIST;
	if (bus->dev_count - bus->ioeventfd_count >= NR_IOBUS_DEVS)
		return -ENOSPC;
	new_bus = kmalloc(struct_size(bus, range, bus->dev_count + 1), GFP_KERNEL_ACCOUNT);
	if (!new_bus)
		return -ENOMEM;
	for (i = 0; i < bus->dev_count && bus->range[i].addr < addr; i++)
		;
	memcpy(new_bus, bus, struct_size(bus, range, i));
	new_bus->range[i] = (struct kvm_io_range) { .addr = addr, .len = len, .dev = dev };
	memcpy(new_bus->range + i + 1, bus->range + i,
	       flex_array_size(bus, range, bus->dev_count - i));
	new_bus->dev_count++;
	rcu_assign_pointer(kvm->buses[idx], new_bus);
	*ret_replaced = bus;
	return 0;
}

/*
 * Take out what @take says, which is asked once for each device, and may not
 * forget those. Returns the bus that was replaced; NULL without memory for the
 * copy: then nothing was taken.
 */
struct kvm_io_bus *ioregion_bus_remove(struct kvm *kvm, enum kvm_bus idx, ioregion_match_t take,
				       void *arg)
{
	struct kvm_io_bus *bus = kvm_get_bus(kvm, idx), *new_bus;
	int i;

	new_bus = kmalloc(struct_size(bus, range, bus->dev_count), GFP_KERNEL);
	if (!new_bus)
		return NULL;
	*new_bus = *bus;
	new_bus->dev_count = 0;
	for (i = 0; i < bus->dev_count; i++)
		if (!take(bus->range[i].dev, arg))
			new_bus->range[new_bus->dev_count++] = bus->range[i];
	rcu_assign_pointer(kvm->buses[idx], new_bus);
	return bus;
}
