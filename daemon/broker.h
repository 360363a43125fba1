/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BROKER_H
#define DAEMON_BROKER_H

/*
 * The broker owns VMs, devices and regions. Nothing here knows of D-Bus, of ioctls or of JSON.
 *
 * Reading: the structs below are open to those above, to be read only. Changing: by the functions below. All of it
 * belongs to the event loop's thread. admission.c has the life of a
 * request, attach.c the transaction, device.c the state table.
 */

#include <stdbool.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "dispatcher.h"
#include "identity.h"
#include "ledger.h"
#include "names.h"
#include "policy/policy.h"
#include "region-map.h"

enum device_state {
    DEVICE_ATTACHING, /* not granted yet: invisible */
    DEVICE_ATTACHED,
    DEVICE_HELD,   /* the device is away, vCPUs wait for it */
    DEVICE_FAILED, /* the device is away, or broke the protocol: reads are all ones */
};

struct region {
    struct range range; /* owner is the region itself */
    struct device *device;
    uint64_t id; /* to the dispatcher; never used twice in a VM's life */
    uint64_t user_data;
    uint32_t index, flags, channel;
};

struct channel {
    uint32_t id;     /* to the dispatcher; never used twice in a VM's life */
    int fd;          /* a duplicate of the dispatcher's end, to cut the channel by; -1 once it was cut */
    unsigned events; /* losses that the dispatcher told us of since the last swap */
};

struct device {
    struct vm *vm;
    char *name;
    struct identity *owner;
    struct lease *lease; /* NULL once it hung up */
    char *rule;          /* of the policy: the one that granted it */
    struct account *account;
    enum device_state state;
    enum ioregion_on_disconnect on_disconnect;
    uint64_t features, timeout_usec, grace_usec;
    const char *last_error; /* a constant text, "" for none */
    struct region *regions;
    size_t n_regions;
    struct channel *channels;
    size_t n_channels;
    size_t n_mapped;               /* regions that are in the VM's map */
    size_t n_added;                /* regions that the dispatcher was told of */
    struct attachment *attachment; /* the request under way: attach or resume */
    sd_event_source *grace;
};

struct vm {
    struct broker *broker;
    char *name;
    struct identity *owner;
    char *rule; /* of the policy: the one that granted it */
    struct account *account;
    struct dispatcher *dispatcher;
    uint64_t ceiling; /* UINT64_MAX for none */
    uint64_t next_region;
    uint32_t next_channel;
    bool ending;
    size_t n_devices; /* granted ones */
    size_t n_regions; /* granted ones */
    size_t n_charged; /* regions, also those not granted yet */
    void *devices;    /* tsearch(3) by name */
    struct region_map map;
    struct range *reserved;
    size_t n_reserved;
};

/* What those above want to hear; each is called after the fact, the removals just before the object is freed. */
struct broker_watcher {
    void (*vm_added)(void *userdata, struct vm *vm);
    void (*vm_removed)(void *userdata, struct vm *vm);
    void (*device_added)(void *userdata, struct device *device);
    void (*device_removed)(void *userdata, struct device *device);
    void (*device_changed)(void *userdata, struct device *device); /* state, lease, last_error; of its regions, too */
    void (*policy_changed)(void *userdata);
};

struct broker {
    sd_event *event;
    struct policy *policy;
    uint64_t policy_generation, policy_loaded_usec; /* CLOCK_REALTIME */
    struct ledger ledger;
    struct proof_set proofs;
    void *vms;                          /* tsearch(3) by name */
    size_t n_vms, n_devices, n_regions; /* granted ones */
    TAILQ_HEAD(, admission) admissions;
    const struct broker_watcher *watcher;
    void *watcher_userdata;
};

/* @policy is taken. @watcher must outlive the broker. */
int broker_new(struct broker **ret_broker, sd_event *event, struct policy *policy, const struct broker_watcher *watcher,
               void *userdata);
/* Ends everything, as if each VM had ended; requests under way are refused with Busy. */
struct broker *broker_free(struct broker *broker);
DEFINE_CLEANUP(broker_free, struct broker *);

/*
 * Take a new policy (taken). What is granted stays granted, unless @revoke. Grants that the new policy would not
 * give are counted into *ret_kept or *ret_revoked, and logged one by one.
 */
int broker_set_policy(struct broker *broker, struct policy *policy, bool revoke, size_t *ret_kept, size_t *ret_revoked);

/* Look-up by name; NULL for none. Devices that are not granted yet are not found. */
struct vm *broker_find_vm(const struct broker *broker, const char *name);
struct device *vm_find_device(const struct vm *vm, const char *name);

/* In name order, granted ones only; a negative result of the function ends the walk and is returned. */
int broker_each_vm(const struct broker *broker, int (*function)(struct vm *vm, void *userdata), void *userdata);
int vm_each_device(const struct vm *vm, int (*function)(struct device *device, void *userdata), void *userdata);

const char *device_state_name(enum device_state state);

/*
 * Requests that need a proven identity. @lease and the request's memory are taken, on failure too; reply() is called
 * exactly once, perhaps from within, and not after admission_cancel(). On success the error is 0 and *object the new
 * VM or device; a refusal's text may be empty for a plain errno.
 */
struct admission;

typedef void (*admission_reply_t)(void *userdata, int error, const struct refusal *refusal, void *object);

struct register_request {
    char *name;
    unsigned dispatch;               /* POLICY_DISPATCH_* that would do */
    int vm_fd;                       /* -1 for none */
    uint64_t ceiling;                /* UINT64_MAX for none */
    struct ioregion_region *reserve; /* space, base and size count */
    size_t n_reserve;
};

struct attach_request {
    char *vm, *device;
    struct ioregion_region *regions;
    size_t n_regions;
    uint64_t require, want;
    uint32_t channels;     /* at least 1 */
    uint64_t timeout_usec; /* 0: the rule's */
    enum ioregion_on_disconnect on_disconnect;
    uint32_t *interrupts;
    size_t n_interrupts;
};

struct register_request *register_request_free(struct register_request *request);
DEFINE_CLEANUP(register_request_free, struct register_request *);
struct attach_request *attach_request_free(struct attach_request *request);
DEFINE_CLEANUP(attach_request_free, struct attach_request *);

/* *ret_admission is NULL where reply() was called already. */
void broker_register(struct broker *broker, struct register_request *request, int lease, admission_reply_t reply,
                     void *userdata, struct admission **ret_admission);
void broker_attach(struct broker *broker, struct attach_request *request, int lease, admission_reply_t reply,
                   void *userdata, struct admission **ret_admission);

/* What the bus says of the caller: as soon as it is known. May call reply(). */
void admission_sender(struct admission *admission, pid_t pid, uid_t uid);
/* The caller is not interested any more: everything is undone. */
void admission_cancel(struct admission *admission);

/*
 * End a VM or a device: the client is told why, everything is undone, the object is freed before this returns. done()
 * (NULL: not wanted) is called, perhaps from within, when no vCPU is inside the device's regions any more.
 */
typedef void (*broker_done_t)(void *userdata);
void vm_end(struct vm *vm, enum ioregion_revoke_reason reason);
void device_end(struct device *device, enum ioregion_revoke_reason reason, const char *why, broker_done_t done,
                void *userdata);

/* Ask the dispatcher; done() as in dispatcher.h. */
int region_statistics(const struct region *region, dispatcher_done_t done, void *userdata);

#endif
