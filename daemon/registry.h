/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_REGISTRY_H
#define DAEMON_REGISTRY_H

/*
 * What the broker holds: VMs, their devices, the devices' regions. The structs are open to those above, to be read
 * only; they change by the functions of vm.h, device.h and admission.h. All of it belongs to the event loop's thread.
 */

#include <stdbool.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "dispatcher.h"
#include "identity.h"
#include "keeper.h"
#include "internal/names.h"
#include "ledger.h"
#include "policy/policy.h"
#include "proof.h"
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
    bool open;       /* granted, and not cut */
    int fd;          /* of the dispatcher's end, to cut the channel by; -1 where that is no descriptor */
    uint64_t cookie; /* SO_COOKIE of fd: how it is found again; 0 for none */
    unsigned events; /* losses that the dispatcher told us of since the last swap */
};

struct device {
    struct vm *vm;
    char *name;
    struct identity *owner;
    struct lease *lease;   /* NULL once it hung up */
    uint64_t lease_cookie; /* how it is found again; 0 for none */
    uint32_t kept;         /* the keeper's id for its descriptors; 0 for none */
    bool disconnected;     /* it went away by itself: lease and channel end both, one after the other */
    char *rule;            /* of the policy: the one that granted it */
    struct account *account;
    enum device_state state;
    enum ioregion_on_disconnect on_disconnect;
    uint64_t features, timeout_usec, grace_usec;
    const char *last_error; /* a constant text, "" for none; or the next, where it was restored */
    char *restored_error;
    char *state_text; /* of state-write.c; NULL once there is another state to write */
    struct region *regions;
    size_t n_regions;
    struct channel *channels;
    size_t n_channels;
    size_t n_mapped;               /* regions that are in the VM's map */
    size_t n_added;                /* regions that the dispatcher was told of */
    struct attachment *attachment; /* the request under way: attach or resume */
    void (*abort_attachment)(struct attachment *attachment, int error, const struct refusal *refusal);
    sd_event_source *grace;
    uint64_t grace_ends_usec; /* CLOCK_MONOTONIC, while it is held */
};

struct vm {
    struct broker *broker;
    char *name;
    struct identity *owner;
    char *rule; /* of the policy: the one that granted it */
    struct account *account;
    struct dispatcher *dispatcher;
    unsigned dispatch;     /* which, as a POLICY_DISPATCH_* bit */
    uint64_t lease_cookie; /* of the dispatcher's lease: how it is found again; 0 for none */
    uint32_t kept;         /* the keeper's id for the dispatcher's descriptors; 0 for none */
    uint64_t ceiling;      /* UINT64_MAX for none */
    uint64_t features;     /* that its rule lets devices have */
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
    TAILQ_HEAD(, removal) removals; /* regions of devices that are gone, and may still be dispatched */
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
    struct keeper keeper;
    struct policy *policy;
    uint64_t policy_generation, policy_loaded_usec; /* CLOCK_REALTIME */
    struct ledger ledger;
    sd_event_source *settle; /* looks, once, at what was lost before this process began */
    struct proof_set proofs;
    void *vms;                          /* tsearch(3) by name */
    size_t n_vms, n_devices, n_regions; /* granted ones */
    TAILQ_HEAD(, admission) admissions;
    const struct broker_watcher *watcher;
    void *watcher_userdata;
};

/* Look-up by name; NULL for none. Devices that are not granted yet are not found. */
struct vm *broker_find_vm(const struct broker *broker, const char *name);
struct device *vm_find_device(const struct vm *vm, const char *name);

/* In name order; of devices the granted ones only; a negative result of the function ends the walk and is returned. */
int broker_each_vm(const struct broker *broker, int (*function)(struct vm *vm, void *userdata), void *userdata);
int vm_each_device(const struct vm *vm, int (*function)(struct device *device, void *userdata), void *userdata);

const char *device_state_name(enum device_state state);

/* Inside the broker: enter, by a name that is not taken (-ENOMEM), and leave. */
int registry_add_vm(struct vm *vm);
void registry_remove_vm(struct vm *vm);
int registry_add_device(struct device *device);
void registry_remove_device(struct device *device);

/* Inside the broker: the account of a unit, or of the user where @unit is NULL; and the time, which rates go by. */
int registry_account(struct broker *broker, const char *unit, uid_t uid, struct account **ret_account,
                     uint64_t *ret_now_usec);

/* Inside the broker: a registration or attach more of this owner. QuotaExceeded, and until when, if there were many. */
int registry_spend(struct broker *broker, const struct identity *owner, enum spending what,
                   struct account **ret_account, struct refusal *ret_refusal);

/* Inside the broker: also a device that is not granted yet. */
struct device *vm_find_any_device(const struct vm *vm, const char *name);
int vm_each_any_device(const struct vm *vm, int (*function)(struct device *device, void *userdata), void *userdata);

/* Count a device that was granted, with its regions, in (1) or out (-1). */
void registry_count_device(struct device *device, int sign);

#endif
