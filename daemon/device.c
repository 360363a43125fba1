/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <syslog.h>

#include "audit.h"
#include "device.h"
#include "journal.h"
#include "removal.h"

void device_touch(struct device *device) {
    free(device->state_text);
    device->state_text = NULL;
}

/* What happened can't be refused, so the next process may find the device as it was: it looks at its lease itself. */
static void device_save(struct device *device) {
    const struct vm *vm = device->vm;

    device_touch(device);
    if (!vm->ending && keeper_save(&vm->broker->keeper, vm) < 0)
        journal_log(LOG_WARNING, "the state of VM %s can't be written: it is lost if ioregiond ends now", vm->name);
}

void device_cut(struct device *device) {
    struct dispatcher *dispatcher = device->vm->dispatcher;

    for (size_t i = 0; i < device->n_channels; i++) {
        struct channel *channel = &device->channels[i];

        if (channel->open)
            dispatcher->type->cut(dispatcher, channel->id, channel->fd);
        channel->open = false;
        channel->cookie = 0;
        channel->fd = fd_close(channel->fd);
    }
}

static void device_set_state(struct device *device, enum device_state state, const char *reason) {
    struct broker *broker = device->vm->broker;

    device->state = state;
    device->last_error = reason;
    device->grace = sd_event_source_disable_unref(device->grace);
    device_save(device);
    device_audit(device, AUDIT_FAILURE, NULL, reason);
    device_cut(device);
    broker->watcher->device_changed(broker->watcher_userdata, device);
}

static int on_grace_over(sd_event_source *source, uint64_t usec, void *userdata) {
    device_set_state(userdata, DEVICE_FAILED, "the grace time is over and the device did not come back");
    return 0;
}

int device_start_grace(struct device *device) {
    return sd_event_add_time(device->vm->broker->event, &device->grace, CLOCK_MONOTONIC, device->grace_ends_usec, 1,
                             on_grace_over, device);
}

static void device_hold(struct device *device, const char *reason) {
    uint64_t now;

    if (sd_event_now(device->vm->broker->event, CLOCK_MONOTONIC, &now) < 0 ||
        __builtin_add_overflow(now, device->grace_usec, &device->grace_ends_usec))
        device->grace_ends_usec = UINT64_MAX;
    device_set_state(device, DEVICE_HELD, reason);
    if (device_start_grace(device) < 0)
        device_set_state(device, DEVICE_FAILED, "no memory to hold the device");
}

/* What the guest meets from now on is what the device chose for its absence. May free it. */
static void device_be_absent(struct device *device, const char *reason) {
    switch (device->on_disconnect) {
    case IOREGION_ON_DISCONNECT_ONES:
        return device_set_state(device, DEVICE_FAILED, reason);
    case IOREGION_ON_DISCONNECT_HOLD:
        return device_hold(device, reason);
    case IOREGION_ON_DISCONNECT_REMOVE:
        return device_end(device, 0, reason, NULL, NULL);
    }
}

/* The device went away, quietly or not. May free it. */
static void device_disconnected(struct device *device, const char *reason) {
    device->disconnected = true;
    device_be_absent(device, reason);
}

void device_lost_again(struct device *device) {
    device_be_absent(device, "the device came back and hung up at once");
}

void device_channel_lost(struct device *device, enum ioregion_lease_event_what what) {
    if (device->state != DEVICE_ATTACHED)
        return;
    switch (what) {
    case IOREGION_EVENT_EOF:
        /* Who releases the device closes the channel next, and this may be heard of first. It is no failure. */
        if (device->lease && lease_has_news(device->lease))
            return;
        return device_disconnected(device, "the device closed its channel");
    case IOREGION_EVENT_DEADLINE:
        if (device->on_disconnect == IOREGION_ON_DISCONNECT_HOLD)
            return device_hold(device, "the device did not answer within its deadline");
        return device_set_state(device, DEVICE_FAILED, "the device did not answer within its deadline");
    case IOREGION_EVENT_VIOLATION:
        return device_set_state(device, DEVICE_FAILED, "the device broke the protocol");
    }
}

void device_lease_lost(struct device *device) {
    device_drop_lease(device, 0);
    switch (device->state) {
    case DEVICE_ATTACHING:
        return device->abort_attachment(device->attachment, -ECONNRESET, NULL);
    case DEVICE_ATTACHED:
        return device_disconnected(device, "the device hung up");
    case DEVICE_HELD:
        return;
    case DEVICE_FAILED:
        /*
         * A process that dies ends channel and lease: whichever news comes first, it is one disconnect. And where a
         * new process is taking over, the old one's end means nothing.
         */
        if (!device->disconnected && !device->attachment)
            device_end(device, 0, "the failed device hung up", NULL, NULL);
        return;
    }
}

/* Its descriptors may be safe in the unit's store, and then nothing hangs up. */
void device_unit_restarts(struct device *device) {
    if (device->state != DEVICE_ATTACHED)
        return;
    device_drop_lease(device, 0);
    device_disconnected(device, "its unit is about to be restarted");
}

void device_unit_ended(struct device *device) {
    if (!device->attachment) /* else a process of the unit is coming back, after whatever we heard */
        device_end(device, 0, "its unit ended", NULL, NULL);
}

static int on_message(struct lease *lease, const struct ioregion_lease_header *message, const struct ucred *sender,
                      void *userdata) {
    struct device *device = userdata;

    if (message->type != IOREGION_LEASE_RELEASE || device->state == DEVICE_ATTACHING)
        return -EPROTO;
    device_end(device, 0, "released by its owner", NULL, NULL);
    return 0;
}

static void on_lease_ended(struct lease *lease, void *userdata) {
    device_lease_lost(userdata);
}

void device_set_lease(struct device *device, struct lease *lease) {
    device->lease = lease;
    device->lease_cookie = lease_cookie(lease);
    lease_set_handlers(lease, on_message, on_lease_ended, device);
}

void device_drop_lease(struct device *device, enum ioregion_revoke_reason reason) {
    device->lease = reason ? lease_revoke(device->lease, reason) : lease_free(device->lease);
    device->lease_cookie = 0;
}

void device_set_attached(struct device *device) {
    device->state = DEVICE_ATTACHED;
    device->disconnected = false;
    device->last_error = "";
    device->grace = sd_event_source_disable_unref(device->grace);
}

void device_free(struct device *device) {
    if (device->kept && device->vm->broker)
        keeper_release(&device->vm->broker->keeper, KEEPER_DEVICE, device->kept);
    sd_event_source_disable_unref(device->grace);
    lease_free(device->lease);
    for (size_t i = 0; i < device->n_channels; i++)
        fd_close(device->channels[i].fd);
    identity_free(device->owner);
    free(device->channels);
    free(device->regions);
    free(device->restored_error);
    free(device->state_text);
    free(device->rule);
    free(device->name);
    free(device);
}

/* Out of all that the broker has of it. */
static void device_take_out(struct device *device) {
    struct vm *vm = device->vm;

    for (size_t i = 0; i < device->n_mapped; i++)
        region_map_remove(&vm->map, &device->regions[i].range);
    if (device->account) {
        account_refund(device->account, CHARGE_DEVICE);
        vm->n_charged -= device->n_regions;
        registry_remove_device(device);
    }
}

/* Where there is no memory to remember whom to tell, the dispatcher is told still. */
static void device_undispatch(struct device *device) {
    struct dispatcher *dispatcher = device->vm->dispatcher;

    for (size_t i = 0; i < device->n_added && !device->vm->ending; i++)
        dispatcher->type->remove(dispatcher, device->regions[i].id, NULL, NULL);
}

void device_undo(struct device *device, enum ioregion_revoke_reason reason, broker_done_t done, void *userdata) {
    size_t n_added = device->vm->ending ? 0 : device->n_added;
    struct removal *removal = NULL;
    struct broker *broker = device->vm->broker;

    if (n_added > 0)
        removal = removal_new(device->vm, device->regions[0].id, n_added, done, userdata);
    for (size_t i = 0; removal && i < n_added; i++)
        removal->ranges[i] = device->regions[i].range;
    device_take_out(device);
    if (device->state != DEVICE_ATTACHING)
        device_save(device);
    device_drop_lease(device, reason);
    device_cut(device);
    if (removal)
        removal_start(removal);
    else
        device_undispatch(device);
    if (device->state != DEVICE_ATTACHING) {
        registry_count_device(device, -1);
        broker->watcher->device_removed(broker->watcher_userdata, device);
    }
    device_free(device);
    /* who waits is told when nothing is left of it */
    if (removal)
        removal_unref(removal);
    else if (done)
        done(userdata); /* the VM is gone, and so are the vCPUs; or there is no memory to wait with */
}

void device_end(struct device *device, enum ioregion_revoke_reason reason, const char *why, broker_done_t done,
                void *userdata) {
    if (device->attachment) {
        struct refusal refusal;
        bool attaching = device->state == DEVICE_ATTACHING;
        int r = device->vm->ending ? refuse(&refusal, REFUSAL_VM_GONE, "VM %s ended meanwhile", device->vm->name)
                                   : refuse(&refusal, REFUSAL_BUSY, "the device was ended meanwhile: %s", why);

        device->abort_attachment(device->attachment, r, &refusal);
        if (attaching) { /* that undid it */
            if (done)
                done(userdata);
            return;
        }
    }
    device_audit(device, AUDIT_DETACH, NULL, why);
    device_undo(device, reason, done, userdata);
}

int region_statistics(const struct region *region, dispatcher_done_t done, void *userdata) {
    struct dispatcher *dispatcher = region->device->vm->dispatcher;

    return dispatcher->type->stats(dispatcher, region->id, done, userdata);
}

struct ioregion_lease_region_add region_message(const struct region *region) {
    const struct device *device = region->device;

    return (struct ioregion_lease_region_add){
        .region = region->id,
        .base = region->range.base,
        .size = region->range.last - region->range.base + 1,
        .user_data = region->user_data,
        .timeout_usec = device->timeout_usec,
        .grace_usec = device->grace_usec,
        .features = device->features,
        .space = region->range.space,
        .flags = region->flags,
        .on_disconnect = device->on_disconnect,
        .channel = device->channels[region->channel].id,
    };
}
