/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "allowed.h"
#include "attach.h"
#include "audit.h"
#include "device-new.h"
#include "device.h"
#include "vm.h"

/*
 * A fresh attach makes the device first, invisible, and asks the dispatcher for its regions; a resume leaves the device
 * as it is and asks for new channels. Both then wait for the dispatcher's answers and end in attachment_commit() or
 * attachment_fail().
 */
struct attachment {
    struct broker *broker;
    struct device *device;
    bool resume;
    enum device_state state;       /* what the device has once it is granted, and here until then */
    uint32_t kept;                 /* likewise: the keeper's id for what it holds */
    struct channel_ends *channels; /* likewise: the dispatcher's ends */
    struct identity *identity;     /* likewise, where it resumes; else the device has it earlier */
    struct lease *lease;           /* likewise */
    char *rule;                    /* likewise */
    size_t n_channels;
    uint64_t policy_generation; /* of the policy that was asked */
    size_t pending;             /* answers that the dispatcher owes us, and one while we are asking */
    int error;                  /* its first bad one */
    attachment_done_t done;
    void *userdata;
};

static void attachment_free(struct attachment *a) {
    for (size_t i = 0; i < a->n_channels; i++)
        channel_ends_close(&a->channels[i]);
    free(a->channels);
    keeper_release(&a->broker->keeper, KEEPER_DEVICE, a->kept);
    free(a->rule);
    lease_free(a->lease);
    identity_free(a->identity);
    free(a);
}

static int make_channels(struct attachment *a, size_t n_channels) {
    struct dispatcher *dispatcher = a->device->vm->dispatcher;
    int r;

    a->channels = calloc(n_channels, sizeof(*a->channels));
    if (!a->channels)
        return -ENOMEM;
    for (; a->n_channels < n_channels; a->n_channels++) {
        r = dispatcher->type->make_channel(dispatcher, &a->channels[a->n_channels]);
        if (r < 0)
            return r;
    }
    return 0;
}

static void attachment_finish(struct attachment *a, int error, const struct refusal *refusal, struct device *device) {
    attachment_done_t done = a->done;
    void *userdata = a->userdata;

    attachment_free(a);
    done(userdata, error, refusal, device);
}

void attachment_fail(struct attachment *a, int error, const struct refusal *refusal) {
    struct device *device = a->device;

    if (device) {
        device->attachment = NULL;
        device->vm->dispatcher->type->forget(device->vm->dispatcher, a);
        if (!a->resume)
            device_undo(device, 0, NULL, NULL);
    }
    attachment_finish(a, error, refusal, NULL);
}

/* After the swaps: unless the dispatcher refused one, the device was there for a moment. */
static void resume_fail(struct attachment *a, int error, const struct refusal *refusal) {
    struct device *device = a->error == 0 ? a->device : NULL;

    attachment_fail(a, error, refusal);
    if (device)
        device_lost_again(device);
}

static int send_grant(struct attachment *a, const struct device *device, struct lease *lease) {
    const struct ioregion_lease_grant grant = {
        .header = {.type = IOREGION_LEASE_GRANT, .size = sizeof(grant)},
        .features = device->features,
        .timeout_usec = device->timeout_usec,
        .channels = (uint32_t) device->n_channels,
        .regions = (uint32_t) device->n_regions,
    };
    int fds[IOREGION_LEASE_FDS_MAX];

    for (size_t i = 0; i < a->n_channels; i++)
        fds[i] = a->channels[i].device;
    return lease_send(lease, &grant.header, fds, a->n_channels);
}

static uint64_t cookie_of(int fd) {
    uint64_t cookie;

    return fd >= 0 && socket_cookie(fd, &cookie) >= 0 ? cookie : 0;
}

#define EXCHANGE(x, y)                                                                                                 \
    do {                                                                                                               \
        __typeof__(x) exchange_x = x;                                                                                  \
        x = y;                                                                                                         \
        y = exchange_x;                                                                                                \
    } while (0)

/* Make the device what it is once it is granted. Another time, and it is what it was. */
static void exchange(struct attachment *a) {
    struct device *device = a->device;

    device_touch(device);
    EXCHANGE(device->state, a->state);
    EXCHANGE(device->kept, a->kept);
    for (size_t i = 0; i < a->n_channels; i++) {
        struct channel *channel = &device->channels[i];

        EXCHANGE(channel->fd, a->channels[i].dispatcher);
        channel->cookie = cookie_of(channel->fd);
        channel->open = !channel->open; /* what is attached anew was cut, or never open */
    }
    if (!a->resume)
        return;
    EXCHANGE(device->lease, a->lease);
    EXCHANGE(device->owner, a->identity);
    EXCHANGE(device->rule, a->rule);
    device->lease_cookie = device->lease ? lease_cookie(device->lease) : 0;
}

/* The next process needs the lease, to go on, and the dispatcher's ends, to cut the channels by. */
static int hold_descriptors(struct attachment *a, struct refusal *ret_refusal) {
    const struct device *device = a->device;
    int fds[1 + IOREGION_LEASE_FDS_MAX], r;
    size_t n = 0;

    fds[n++] = lease_fd(a->resume ? a->lease : device->lease);
    for (size_t i = 0; i < a->n_channels; i++)
        if (a->channels[i].dispatcher >= 0)
            fds[n++] = a->channels[i].dispatcher;
    r = keeper_hold(&a->broker->keeper, KEEPER_DEVICE, fds, n, &a->kept);
    if (r == -EDQUOT)
        return refuse(ret_refusal, REFUSAL_QUOTA_EXCEEDED, "the service manager has no room for %zu more descriptors",
                      n);
    return r;
}

/* Written down before it is sent: whoever was told holds it, whatever becomes of this process. */
static int write_and_grant(struct attachment *a, struct refusal *ret_refusal) {
    struct device *device = a->device;
    int r;

    exchange(a);
    r = vm_save(device->vm, ret_refusal);
    if (r >= 0)
        r = send_grant(a, device, device->lease);
    if (r >= 0)
        return 0;
    exchange(a);
    vm_save(device->vm, NULL); /* if not, the next process takes it for granted, and sees the client hang up */
    return r;
}

static void attachment_commit(struct attachment *a) {
    struct broker *broker = a->broker;
    struct device *device = a->device;
    struct refusal refusal = {0};
    bool resume = a->resume;
    int r;

    r = hold_descriptors(a, &refusal);
    if (r >= 0)
        r = write_and_grant(a, &refusal);
    if (r < 0)
        return resume ? resume_fail(a, r, &refusal) : attachment_fail(a, r, &refusal);

    if (resume)
        a->lease = lease_revoke(a->lease, IOREGION_REVOKE_RESUMED); /* what the old process held is taken away */
    else
        registry_count_device(device, 1);
    device->attachment = NULL;
    device_set_lease(device, device->lease);
    device_set_attached(device);
    device_audit(device, resume ? AUDIT_RESUME : AUDIT_ATTACH, device->rule, NULL);
    attachment_finish(a, 0, NULL, device);
    if (resume)
        broker->watcher->device_changed(broker->watcher_userdata, device);
    else
        broker->watcher->device_added(broker->watcher_userdata, device);
}

/* What is under way while a policy is loaded is no grant yet, and is judged by the new one. */
static int check_new_policy(const struct attachment *a, struct refusal *ret_refusal) {
    struct policy_verdict verdict;
    int r;

    if (a->policy_generation == a->broker->policy_generation)
        return 0;
    *ret_refusal = (struct refusal){0};
    r = device_is_allowed(a->device, a->broker->policy, &verdict);
    if (r != 0)
        return r < 0 ? r : 0;
    return refuse(ret_refusal, REFUSAL_POLICY_DENIED, "rule %s: %s", verdict.rule, verdict.reason);
}

static void attachment_conclude(struct attachment *a) {
    const char *vm = a->device->vm->name;
    struct refusal refusal;
    int r = a->error;

    if (r == 0) {
        r = check_new_policy(a, &refusal);
        if (r < 0)
            return a->resume ? resume_fail(a, r, &refusal) : attachment_fail(a, r, &refusal);
        return attachment_commit(a);
    }
    switch (r) {
    case -ETIMEDOUT:
    case -EBUSY:
        r = refuse(&refusal, REFUSAL_BUSY, "the VMM of %s does not answer the broker: try again", vm);
        break;
    case -ECONNRESET:
    case -ESRCH:
        r = refuse(&refusal, REFUSAL_VM_GONE, "VM %s ended meanwhile", vm);
        break;
    case -EADDRINUSE:
        r = refuse(&refusal, REFUSAL_REGION_OVERLAP,
                   "a region lies in guest memory of VM %s: no access would ever reach the device", vm);
        break;
    case -EEXIST:
        r = refuse(&refusal, REFUSAL_REGION_OVERLAP,
                   "a region overlaps what VM %s has there already: guest memory, or a device of its own", vm);
        break;
    default:
        r = refuse(&refusal, REFUSAL_NO_DISPATCHER, "the %s dispatcher of %s can't add the region: %s",
                   a->device->vm->dispatcher->type->name, vm, strerror(-r));
    }
    attachment_fail(a, r, &refusal);
}

static void on_answer(void *userdata, int error, const struct ioregion_lease_stats_reply *stats) {
    struct attachment *a = userdata;

    if (error < 0 && a->error == 0)
        a->error = error;
    if (--a->pending == 0)
        attachment_conclude(a);
}

/* Count a request that was made of the dispatcher, or its failure. */
static void asked(struct attachment *a, int r) {
    if (r < 0)
        on_answer(a, r, NULL);
}

static void ask_for_regions(struct attachment *a) {
    const struct device *device = a->device;
    struct dispatcher *dispatcher = device->vm->dispatcher;
    bool added[IOREGION_LEASE_FDS_MAX] = {false};
    int r;

    a->pending = 1;
    for (size_t i = 0; i < device->n_regions && a->error == 0; i++) {
        const struct region *region = &device->regions[i];
        const struct ioregion_lease_region_add add = region_message(region);

        a->pending++;
        r = dispatcher->type->add(dispatcher, &add, &a->channels[region->channel], !added[region->channel], on_answer,
                                  a);
        if (r >= 0)
            a->device->n_added++;
        asked(a, r);
        added[region->channel] = true;
    }
    on_answer(a, 0, NULL);
}

static void ask_for_swaps(struct attachment *a) {
    const struct device *device = a->device;
    struct dispatcher *dispatcher = device->vm->dispatcher;

    a->pending = 1;
    for (size_t i = 0; i < device->n_channels && a->error == 0; i++) {
        device->channels[i].events = 0; /* the new channel may be lost, too, whatever becomes of the resume */
        a->pending++;
        asked(a, dispatcher->type->swap(dispatcher, device->channels[i].id, &a->channels[i], on_answer, a));
    }
    on_answer(a, 0, NULL);
}

/* While a resume waits, its own lease is all that can go wrong on the client's side. */
static void on_resume_lease_ended(struct lease *lease, void *userdata) {
    resume_fail(userdata, -ECONNRESET, NULL);
}

static int resume_begin(struct attachment *a, struct device *device, const struct attach_terms *terms) {
    int r;

    a->resume = true;
    a->device = device;
    a->rule = strdup(terms->rule);
    if (!a->rule)
        return -ENOMEM;
    r = make_channels(a, device->n_channels);
    if (r < 0)
        return r;
    device->attachment = a;
    device->abort_attachment = attachment_fail;
    lease_set_handlers(a->lease, NULL, on_resume_lease_ended, a);
    return 0;
}

static int fresh_begin(struct attachment *a, const struct attach_request *request, const struct attach_terms *terms,
                       struct refusal *ret_refusal) {
    int r;

    r = device_new(&a->device, request, terms, STEAL(a->identity), ret_refusal);
    if (r < 0)
        return r;
    a->device->attachment = a;
    a->device->abort_attachment = attachment_fail;
    r = make_channels(a, a->device->n_channels);
    if (r < 0)
        return r;
    device_set_lease(a->device, STEAL(a->lease));
    return vm_save(a->device->vm, ret_refusal); /* the dispatcher is told of regions that the next process knows of */
}

static int attachment_begin(struct attachment *a, const struct attach_request *request, struct refusal *ret_refusal) {
    struct attach_terms terms;
    struct device *device;
    int r;

    r = attach_check(a->broker, request, a->identity, &terms, ret_refusal);
    if (r < 0)
        return r;
    device = terms.resume;
    if (device && device->state == DEVICE_ATTACHED) {
        /* its old process is replaced: what becomes of the device is what its end would have made of it */
        device_drop_lease(device, IOREGION_REVOKE_RESUMED);
        device_lease_lost(device);
        device = vm_find_device(terms.vm, request->device);
    }
    if (!device)
        return fresh_begin(a, request, &terms, ret_refusal);
    return resume_begin(a, device, &terms);
}

void attachment_new(struct broker *broker, const struct attach_request *request, struct identity *identity,
                    struct lease *lease, attachment_done_t done, void *userdata, struct attachment **ret_attachment) {
    struct attachment *a = calloc(1, sizeof(*a));
    struct refusal refusal = {0};
    int r;

    *ret_attachment = NULL;
    if (!a) {
        identity_free(identity);
        lease_free(lease);
        return done(userdata, -ENOMEM, NULL, NULL);
    }
    *a = (struct attachment){.broker = broker,
                             .state = DEVICE_ATTACHED,
                             .identity = identity,
                             .lease = lease,
                             .policy_generation = broker->policy_generation,
                             .done = done,
                             .userdata = userdata};
    r = attachment_begin(a, request, &refusal);
    if (r < 0)
        return attachment_fail(a, r, &refusal);
    *ret_attachment = a; /* before an answer that comes from within makes an end of it */
    if (a->resume)
        ask_for_swaps(a);
    else
        ask_for_regions(a);
}
