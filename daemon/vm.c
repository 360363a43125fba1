/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "allowed.h"
#include "audit.h"
#include "device.h"
#include "dispatch-kernel.h"
#include "dispatch-vmm.h"
#include "removal.h"
#include "vm.h"

/* How many announcements of a loss a VMM may make between two swaps of a channel before we call it a flood. */
#define EVENTS_MAX 8

struct event_search {
    uint64_t region;
    struct device *device;
    struct channel *channel;
};

static int match_region(struct device *device, void *userdata) {
    struct event_search *search = userdata;

    /* a device's regions have consecutive ids */
    if (search->region - device->regions[0].id < device->n_regions) {
        search->device = device;
        search->channel = &device->channels[device->regions[search->region - device->regions[0].id].channel];
    }
    return 0;
}

/* The dispatcher tells of a loss. A VMM may well speak of a region that we just ended: that is no fault. */
void vm_on_event(void *userdata, uint64_t region, enum ioregion_lease_event_what what) {
    struct event_search search = {.region = region};
    struct vm *vm = userdata;

    vm_each_device(vm, match_region, &search);
    if (search.device && ++search.channel->events <= EVENTS_MAX)
        device_channel_lost(search.device, what);
    else if (search.device || region >= vm->next_region)
        vm_end(vm, IOREGION_REVOKE_FAILED);
}

void vm_on_gone(void *userdata) {
    vm_end(userdata, IOREGION_REVOKE_VM_GONE);
}

void vm_free(struct vm *vm) {
    while (vm->devices) {
        struct device *device = *(struct device **) vm->devices;

        registry_remove_device(device);
        for (size_t i = 0; i < device->n_mapped; i++)
            region_map_remove(&vm->map, &device->regions[i].range);
        device_free(device);
    }
    if (vm->kept && vm->broker)
        keeper_release(&vm->broker->keeper, KEEPER_VM, vm->kept);
    if (vm->account)
        account_refund(vm->account, CHARGE_VM);
    dispatcher_free(vm->dispatcher);
    while (!TAILQ_EMPTY(&vm->removals))
        removal_free(TAILQ_FIRST(&vm->removals));
    for (size_t i = 0; i < vm->n_reserved; i++)
        region_map_remove(&vm->map, &vm->reserved[i]);
    free(vm->reserved);
    identity_free(vm->owner);
    free(vm->rule);
    free(vm->name);
    free(vm);
}

static void vm_freep(struct vm **vm) {
    if (*vm)
        vm_free(*vm);
}

static int charge_vm(struct vm *vm, struct account *account, struct refusal *ret_refusal) {
    const struct policy_limits *limits = policy_limits(vm->broker->policy);

    if (vm->broker->n_vms >= limits->vms)
        return refuse(ret_refusal, REFUSAL_QUOTA_EXCEEDED, "limit vms: %" PRIu64 " are registered", limits->vms);
    if (account_charge(account, CHARGE_VM, limits->vms_per_user) < 0)
        return refuse(ret_refusal, REFUSAL_QUOTA_EXCEEDED, "limit vms-per-user: this unit or user has %" PRIu64,
                      limits->vms_per_user);
    vm->account = account;
    return 0;
}

/* The ranges that the VMM keeps for its own devices. */
static int reserve_ranges(struct vm *vm, const struct register_request *request, struct refusal *ret_refusal) {
    const struct range *conflict;
    int r;

    vm->reserved = calloc(request->n_reserve + 1, sizeof(struct range));
    if (!vm->reserved)
        return -ENOMEM;
    for (size_t i = 0; i < request->n_reserve; i++) {
        const struct ioregion_region *range = &request->reserve[i];

        r = range_init(&vm->reserved[i], range->space, range->base, range->size, NULL);
        if (r < 0)
            return refuse(ret_refusal, REFUSAL_INVALID_REGION,
                          "reserved range %zu: size 0, or past the end of its space", i);
        r = region_map_add(&vm->map, &vm->reserved[i], &conflict);
        if (r == -EEXIST)
            return refuse(ret_refusal, REFUSAL_REGION_OVERLAP, "reserved range %zu overlaps another one", i);
        if (r < 0)
            return r;
        vm->n_reserved++;
    }
    return 0;
}

/* Is this what KVM_CREATE_VM gave? The name that the kernel gave the file is all that tells. */
static int check_vm_fd(int fd, struct refusal *ret_refusal) {
    char path[64], target[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    if (strcmp(target, "anon_inode:kvm-vm") != 0)
        return refuse(ret_refusal, REFUSAL_NOT_A_VM, "vm-fd is not what KVM_CREATE_VM returns");
    return 0;
}

/*
 * The kernel's, if it would do and can be had; else the VMM's. An adopted VM's VMM knows nothing of us. A binding that
 * the module refuses leads nowhere else: the VM is another's, or has a registration, or is to be tried again.
 */
static int choose_dispatcher(struct vm *vm, const struct register_request *request, unsigned allowed,
                             struct refusal *ret_refusal) {
    unsigned choice = request->dispatch & allowed;

    if (request->process >= 0)
        choice &= POLICY_DISPATCH_KERNEL;
    if (choice & POLICY_DISPATCH_KERNEL && request->vm_fd >= 0 && dispatch_kernel_available())
        vm->dispatch = POLICY_DISPATCH_KERNEL;
    else if (choice & POLICY_DISPATCH_VMM)
        vm->dispatch = POLICY_DISPATCH_VMM;
    else if (!(choice & POLICY_DISPATCH_KERNEL))
        return refuse(ret_refusal, REFUSAL_NO_DISPATCHER,
                      "a VM that is adopted needs the kernel dispatcher, which was not asked for or is not allowed");
    else if (request->vm_fd < 0)
        return refuse(ret_refusal, REFUSAL_NO_DISPATCHER, "the kernel dispatcher needs the option vm-fd");
    else
        return refuse(ret_refusal, REFUSAL_NO_DISPATCHER,
                      "the kernel dispatcher is not available on this host (is ioregionfd.ko loaded?)%s",
                      request->process >= 0 ? "" : ": ask for auto or vmm");
    return 0;
}

static int check_register(struct vm *vm, const struct register_request *request, struct refusal *ret_refusal) {
    const struct policy_subject subject = identity_subject(vm->owner);
    const struct policy_register question = {.vm = request->name, .dispatch = request->dispatch};
    struct policy_verdict verdict;
    int r;

    policy_check_register(vm->broker->policy, &subject, &question, &verdict);
    if (!verdict.allowed)
        return refuse(ret_refusal, REFUSAL_POLICY_DENIED, "rule %s: %s", verdict.rule, verdict.reason);
    if (request->vm_fd >= 0) {
        r = check_vm_fd(request->vm_fd, ret_refusal);
        if (r < 0)
            return r;
    }
    r = choose_dispatcher(vm, request, verdict.dispatch, ret_refusal);
    if (r < 0)
        return r;
    if (broker_find_vm(vm->broker, request->name))
        return refuse(ret_refusal, REFUSAL_VM_EXISTS, "VM %s is registered already", request->name);
    vm->name = strdup(request->name);
    vm->rule = strdup(verdict.rule);
    vm->features = verdict.features;
    return vm->name && vm->rule ? 0 : -ENOMEM;
}

static int match_process(struct vm *vm, void *userdata) {
    const struct vm *other = userdata;

    return vm->dispatch == POLICY_DISPATCH_KERNEL && vm->owner->pid == other->owner->pid ? -EEXIST : 0;
}

/* A VM has one handle: that of a registration that goes on, or that of one whose end the service manager is to hear. */
static int refuse_second_handle(struct vm *vm, struct refusal *ret_refusal) {
    if (broker_each_vm(vm->broker, match_process, vm) == -EEXIST)
        return refuse(ret_refusal, REFUSAL_VM_EXISTS, "the VM behind vm-fd is registered already, by whatever name");
    return refuse(ret_refusal, REFUSAL_BUSY, "the last registration of the VM behind vm-fd is ending: try again");
}

static int refuse_binding(struct vm *vm, int error, struct refusal *ret_refusal) {
    switch (error) {
    case -EPERM:
    case -ESRCH:
        return refuse(ret_refusal, REFUSAL_NOT_A_VM, "vm-fd is not a VM of process %d", (int) vm->owner->pid);
    case -EBUSY:
        return refuse_second_handle(vm, ret_refusal);
    case -EAGAIN:
        return refuse(ret_refusal, REFUSAL_BUSY, "the VMM of process %d holds its VM up: try again",
                      (int) vm->owner->pid);
    default:
        return error;
    }
}

/* The VM's descriptor is closed with the request: the module's handle keeps nothing of the VM alive. */
static int make_dispatcher(struct vm *vm, const struct register_request *request, struct lease *lease,
                           struct refusal *ret_refusal) {
    struct broker *broker = vm->broker;
    int r;

    if (vm->dispatch == POLICY_DISPATCH_VMM)
        return dispatch_vmm_new(&vm->dispatcher, broker->event, lease, false, vm_on_event, vm_on_gone, vm);
    r = dispatch_kernel_new(&vm->dispatcher, broker->event, request->vm_fd, vm->owner->pid, lease, request->process < 0,
                            vm_on_event, vm_on_gone, vm);
    if (r < 0)
        return refuse_binding(vm, r, ret_refusal);
    /* the module took the pid's word for it */
    return identity_exited(vm->owner) ? refuse_binding(vm, -ESRCH, ret_refusal) : 0;
}

int vm_save(const struct vm *vm, struct refusal *ret_refusal) {
    int r = keeper_save(&vm->broker->keeper, vm);

    if (r != -EFBIG || !ret_refusal)
        return r;
    return refuse(ret_refusal, REFUSAL_QUOTA_EXCEEDED, "VM %s has more than can be written down", vm->name);
}

/* For the process that comes after this one. */
static int vm_keep(struct vm *vm, struct refusal *ret_refusal) {
    int fds[DISPATCHER_FDS_MAX], r;
    size_t n = vm->dispatcher->type->descriptors(vm->dispatcher, fds);

    r = keeper_hold(&vm->broker->keeper, KEEPER_VM, fds, n, &vm->kept);
    if (r == -EDQUOT)
        return refuse(ret_refusal, REFUSAL_QUOTA_EXCEEDED, "the service manager has no room for more descriptors");
    return r < 0 ? r : vm_save(vm, ret_refusal);
}

int vm_new(struct vm **ret_vm, struct broker *broker, const struct register_request *request, struct identity *identity,
           struct lease *lease, struct refusal *ret_refusal) {
    _cleanup_(lease_freep) struct lease *owned = lease;
    _cleanup_(vm_freep) struct vm *vm = calloc(1, sizeof(*vm));
    struct account *account = NULL;
    int r;

    if (!vm) {
        identity_free(identity);
        return -ENOMEM;
    }
    *vm = (struct vm){
        .broker = broker, .owner = identity, .ceiling = request->ceiling, .next_region = 1, .next_channel = 1};
    TAILQ_INIT(&vm->removals);
    r = registry_spend(broker, vm->owner, SPEND_REGISTER, &account, ret_refusal);
    if (r < 0) {
        if (request->process >= 0)
            ret_refusal->until_usec = 0; /* for whose process it is, and not for who asks */
        return r;
    }
    r = check_register(vm, request, ret_refusal);
    if (r < 0)
        return r;
    r = reserve_ranges(vm, request, ret_refusal);
    if (r < 0)
        return r;
    r = charge_vm(vm, account, ret_refusal);
    if (r < 0)
        return r;
    vm->lease_cookie = request->process >= 0 ? 0 : lease_cookie(owned); /* who is adopted keeps no lease */
    r = make_dispatcher(vm, request, STEAL(owned), ret_refusal);
    if (r < 0)
        return r;
    r = registry_add_vm(vm);
    if (r < 0)
        return r;

    /* the commit point: what can't be granted never was */
    r = vm_keep(vm, ret_refusal);
    if (r >= 0)
        r = vm->dispatcher->type->grant(vm->dispatcher, vm->dispatcher->type->features & vm->ceiling & vm->features);
    if (r < 0) {
        keeper_forget(&broker->keeper, vm);
        registry_remove_vm(vm);
        return r;
    }
    *ret_vm = STEAL(vm);
    return 0;
}

void vm_end(struct vm *vm, enum ioregion_revoke_reason reason) {
    struct broker *broker = vm->broker;

    if (vm->ending)
        return;
    vm->ending = true;
    keeper_forget(&broker->keeper, vm); /* should this process end here, the next one hangs up on all of them */
    while (vm->devices)
        device_end(*(struct device **) vm->devices, IOREGION_REVOKE_VM_GONE, "the VM ended", NULL, NULL);
    vm_audit(vm, AUDIT_UNREGISTER, NULL, NULL);
    vm->dispatcher->type->revoke(vm->dispatcher, reason);
    registry_remove_vm(vm);
    broker->watcher->vm_removed(broker->watcher_userdata, vm);
    vm_free(vm);
}
