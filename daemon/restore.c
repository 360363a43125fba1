/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "audit.h"
#include "broker.h"
#include "dispatch-kernel.h"
#include "dispatch-vmm.h"
#include "journal.h"
#include "removal.h"
#include "restore.h"

bool ran_out(int error) {
    return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -ENOSPC;
}

static void vm_freep(struct vm **vm) {
    if (*vm)
        vm_free(*vm);
}

static int charge(struct broker *broker, const struct identity *owner, enum charge what, struct account **ret_account) {
    uint64_t now;
    int r;

    r = registry_account(broker, owner->unit, owner->uid, ret_account, &now);
    return r < 0 ? r : account_charge(*ret_account, what, UINT64_MAX);
}

/* The kernel remembers who made the pair: should it be somebody else, then this is no lease of theirs. */
static int take_lease(struct broker *broker, const struct identity *owner, int fd, struct lease **ret_lease) {
    _cleanup_(lease_freep) struct lease *lease = NULL;
    struct ucred peer;
    int r;

    r = lease_restore(&lease, &broker->proofs.leases, broker->event, fd);
    if (r >= 0)
        r = lease_peer(lease, &peer);
    if (r < 0)
        return r;
    if (peer.pid != owner->pid)
        return -ESTALE;
    *ret_lease = STEAL(lease);
    return 0;
}

static int charge_device(struct device *device, void *userdata) {
    struct vm *vm = device->vm;
    int r;

    r = charge(vm->broker, device->owner, CHARGE_DEVICE, &device->account);
    if (r >= 0)
        vm->n_charged += device->n_regions;
    return r;
}

/* Takes the descriptors. */
static int restore_dispatcher(struct vm *vm, int fd, int handle) {
    sd_event *event = vm->broker->event;
    struct lease *lease = NULL;
    int r = 0;

    if (fd >= 0)
        r = take_lease(vm->broker, vm->owner, fd, &lease);
    if (r < 0)
        fd_close(handle);
    else if (vm->dispatch == POLICY_DISPATCH_VMM)
        r = dispatch_vmm_new(&vm->dispatcher, event, lease, true, vm_on_event, vm_on_gone, vm);
    else
        r = dispatch_kernel_resume(&vm->dispatcher, event, handle, lease, vm_on_event, vm_on_gone, vm);
    return r;
}

static int restore_regions(struct device *device, void *userdata) {
    struct dispatcher *dispatcher = device->vm->dispatcher;
    int r = 0;

    for (size_t i = 0; i < device->n_regions && r >= 0; i++) {
        const struct ioregion_lease_region_add add = region_message(&device->regions[i]);

        r = dispatcher->type->restore(dispatcher, &add);
    }
    return r;
}

/* Of those that nobody holds, where they are is enough. */
static int restore_removals(struct vm *vm) {
    const struct removal *removal;
    int r = 0;

    TAILQ_FOREACH(removal, &vm->removals, link) {
        for (size_t i = 0; i < removal->n && r >= 0; i++) {
            const struct ioregion_lease_region_add add = {
                .region = removal->first + i,
                .base = removal->ranges[i].base,
                .size = removal->ranges[i].last - removal->ranges[i].base + 1,
                .space = removal->ranges[i].space,
            };

            r = vm->dispatcher->type->restore(vm->dispatcher, &add);
        }
    }
    return r;
}

static int vm_link(struct vm *vm, int lease, int handle) {
    struct broker *broker = vm->broker;
    int r;

    r = restore_dispatcher(vm, lease, handle);
    if (r >= 0)
        r = vm_each_device(vm, restore_regions, NULL);
    if (r >= 0)
        r = restore_removals(vm);
    if (r < 0)
        return r;
    r = charge(broker, vm->owner, CHARGE_VM, &vm->account);
    if (r >= 0)
        r = vm_each_device(vm, charge_device, NULL);
    return r < 0 ? r : registry_add_vm(vm);
}

static int device_audit_loss(struct device *device, void *userdata) {
    device_audit(device, AUDIT_DETACH, NULL, "its VM did not come back");
    return 0;
}

void vm_audit_loss(const struct vm *vm) {
    vm_each_any_device(vm, device_audit_loss, NULL);
    vm_audit(vm, AUDIT_UNREGISTER, NULL, "it did not come back");
}

int vm_restore(struct broker *broker, struct vm *vm, int lease, int handle) {
    _cleanup_(vm_freep) struct vm *owned = vm;
    int r;

    if (broker_find_vm(broker, vm->name)) {
        fd_close(lease);
        fd_close(handle);
        return -EEXIST;
    }
    vm->broker = broker;
    r = vm_link(vm, lease, handle);
    if (r >= 0) {
        STEAL(owned);
        return 0;
    }
    if (!ran_out(r)) {
        journal_log(LOG_ERR, "VM %s ends, as it is not as it was left: %s", vm->name, strerrordesc_np(-r));
        vm_audit_loss(vm);
    }
    vm->broker = NULL; /* what is kept for it stays for the keeper to end in order */
    return r;
}

int device_restore_lease(struct device *device, int fd) {
    struct lease *lease;
    int r;

    r = take_lease(device->vm->broker, device->owner, fd, &lease);
    if (r >= 0)
        device_set_lease(device, lease);
    else if (!ran_out(r))
        journal_log(LOG_ERR, "the lease of device %s on VM %s is not its own: %s", device->name, device->vm->name,
                    strerrordesc_np(-r));
    return ran_out(r) ? r : 0;
}

static int device_restored(struct device *device, void *userdata) {
    const struct broker *broker = device->vm->broker;

    registry_count_device(device, 1);
    broker->watcher->device_added(broker->watcher_userdata, device);
    if (device->state != DEVICE_ATTACHED)
        device_cut(device); /* as was under way when that was written down */
    return device->state == DEVICE_HELD ? device_start_grace(device) : 0;
}

/* What is undone is not to be undone again by the process after this one, and by the one after that. */
static void on_undone(void *userdata) {
    struct vm *vm = userdata;

    if (!vm->ending && TAILQ_EMPTY(&vm->removals))
        vm_save(vm, NULL);
}

int vm_restored(struct vm *vm) {
    const struct broker *broker = vm->broker;
    struct removal *removal, *next;

    broker->watcher->vm_added(broker->watcher_userdata, vm);
    for (removal = TAILQ_FIRST(&vm->removals); removal; removal = next) {
        next = TAILQ_NEXT(removal, link);
        removal->done = on_undone;
        removal->userdata = vm;
        removal_start(removal);
        removal_unref(removal);
    }
    return vm_each_device(vm, device_restored, NULL);
}

/* Who told us may have told the process before. */
static enum ioregion_lease_event_what loss_of(const struct device *device) {
    struct dispatcher *dispatcher = device->vm->dispatcher;
    enum ioregion_lease_event_what loss = 0;

    for (size_t i = 0; i < device->n_channels && !loss && device->state == DEVICE_ATTACHED; i++)
        if (device->channels[i].open)
            loss = dispatcher->type->lost(dispatcher, device->channels[i].id, device->channels[i].fd);
    return loss;
}

struct losses {
    struct device **devices;
    size_t n;
};

static int collect_loss(struct device *device, void *userdata) {
    struct losses *losses = userdata;

    if ((!device->lease && device->lease_cookie) || loss_of(device))
        losses->devices[losses->n++] = device;
    return 0;
}

static int collect_losses(struct vm *vm, void *userdata) {
    return vm_each_device(vm, collect_loss, userdata);
}

/* Collected first: what ends changes the trees that we walk. */
static int on_settle(sd_event_source *source, void *userdata) {
    struct broker *broker = userdata;
    _cleanup_(freep) struct device **devices = calloc(broker->n_devices + 1, sizeof(struct device *));
    struct losses losses = {.devices = devices};

    if (!devices)
        return 0;
    broker_each_vm(broker, collect_losses, &losses);
    for (size_t i = 0; i < losses.n; i++)
        if (devices[i]->lease)
            device_channel_lost(devices[i], loss_of(devices[i]));
        else
            device_lease_lost(devices[i]);
    return 0;
}

int broker_restored(struct broker *broker) {
    int r;

    r = sd_event_add_defer(broker->event, &broker->settle, on_settle, broker);
    if (r >= 0)
        r = sd_event_source_set_priority(broker->settle, SD_EVENT_PRIORITY_IDLE);
    return r < 0 ? r : broker_judge(broker);
}
