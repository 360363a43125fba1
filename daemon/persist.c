/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "dispatch-kernel.h"
#include "folder.h"
#include "journal.h"
#include "persist.h"
#include "policy/json-scan.h"
#include "restore.h"
#include "state.h"
#include "store.h"

#define GENERATION "policy-generation"
#define SUFFIX ".json"

struct persist {
    struct store *store;
    int folder, vms; /* the runtime folder, and the one below it that has the VMs */
    struct broker *broker;
};

struct persist *persist_free(struct persist *persist) {
    if (!persist)
        return NULL;
    store_free(persist->store);
    fd_close(persist->folder);
    fd_close(persist->vms);
    free(persist);
    return NULL;
}

int persist_new(struct persist **ret_persist) {
    const char *directory = getenv("RUNTIME_DIRECTORY");
    _cleanup_(persist_freep) struct persist *persist = NULL;
    char path[4096];
    int r;

    *ret_persist = NULL;
    if (!directory || !getenv("NOTIFY_SOCKET"))
        return 0;
    persist = calloc(1, sizeof(*persist));
    if (!persist)
        return -ENOMEM;
    persist->vms = -1;
    persist->folder = folder_open(directory);
    if (persist->folder < 0)
        return persist->folder;
    if (snprintf(path, sizeof(path), "%s/vm", directory) >= (int) sizeof(path))
        return -ENAMETOOLONG;
    persist->vms = folder_open(path);
    if (persist->vms < 0)
        return persist->vms;
    r = store_new(&persist->store);
    if (r < 0)
        return r;
    *ret_persist = STEAL(persist);
    return 0;
}

/* The keeper */

static int hold(void *userdata, enum keeper_kind kind, const int *fds, size_t n_fds, uint32_t *ret_id) {
    return store_put(((struct persist *) userdata)->store, (char) kind, fds, n_fds, ret_id);
}

static void release(void *userdata, enum keeper_kind kind, uint32_t id) {
    store_drop(((struct persist *) userdata)->store, (char) kind, id);
}

static void file_name(const char *vm, char *ret_name, size_t size) {
    snprintf(ret_name, size, "%s" SUFFIX, vm);
}

static int save(void *userdata, const struct vm *vm) {
    const struct persist *persist = userdata;
    _cleanup_(freep) char *text = NULL;
    char name[NAME_LENGTH_MAX + sizeof(SUFFIX)];
    size_t size;
    int r;

    r = state_write(vm, &text, &size);
    if (r < 0)
        return r;
    file_name(vm->name, name, sizeof(name));
    return folder_write(persist->vms, name, text, size);
}

static void forget(void *userdata, const struct vm *vm) {
    const struct persist *persist = userdata;
    char name[NAME_LENGTH_MAX + sizeof(SUFFIX)];

    file_name(vm->name, name, sizeof(name));
    folder_remove(persist->vms, name);
}

static int save_generation(void *userdata, uint64_t generation) {
    const struct persist *persist = userdata;
    char text[32];
    int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", generation);

    return folder_write(persist->folder, GENERATION, text, (size_t) n);
}

static const struct keeper_type keeper = {hold, release, save, forget, save_generation};

/* And back */

static int note(const char *name, void *userdata) {
    *(bool *) userdata = true;
    return 0;
}

bool persist_has_state(const struct persist *persist) {
    bool found = false;

    return persist && (folder_each(persist->vms, note, &found) < 0 || found); /* who can't look gives nothing up */
}

/* Out of what came back under a name, the one socket that has this cookie. */
static int pick(int *fds, size_t n_fds, uint64_t wanted) {
    uint64_t cookie;

    for (size_t i = 0; i < n_fds && wanted != 0; i++)
        if (fds[i] >= 0 && socket_cookie(fds[i], &cookie) >= 0 && cookie == wanted)
            return STEAL_FD(fds[i]);
    return -1;
}

static int pick_handle(int *fds, size_t n_fds) {
    char path[64], target[64];
    ssize_t n;

    for (size_t i = 0; i < n_fds; i++) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[i]);
        n = fds[i] < 0 ? -1 : readlink(path, target, sizeof(target) - 1);
        if (n > 0 && strncmp(target, DISPATCH_KERNEL_HANDLE, (size_t) n) == 0 &&
            (size_t) n == strlen(DISPATCH_KERNEL_HANDLE))
            return STEAL_FD(fds[i]);
    }
    return -1;
}

static int give_descriptors(struct device *device, void *userdata) {
    struct persist *persist = userdata;
    size_t n_fds;
    int *fds, fd, r = 0;

    if (store_find(persist->store, KEEPER_DEVICE, device->kept, &fds, &n_fds) < 0) {
        device->kept = 0;
        return 0;
    }
    fd = pick(fds, n_fds, device->lease_cookie);
    if (fd >= 0)
        r = device_restore_lease(device, fd);
    for (size_t i = 0; i < device->n_channels; i++)
        device->channels[i].fd = pick(fds, n_fds, device->channels[i].cookie);
    store_use(persist->store, KEEPER_DEVICE, device->kept);
    return r;
}

/* @vm is taken. What runs out ends it all; what is wrong otherwise is one VM's own. */
static int restore_vm(struct persist *persist, struct vm *vm) {
    uint32_t kept = vm->kept;
    size_t n_fds = 0;
    int *fds = NULL, lease, handle = -1, r;

    store_find(persist->store, KEEPER_VM, kept, &fds, &n_fds);
    lease = pick(fds, n_fds, vm->lease_cookie);
    if (vm->dispatch == POLICY_DISPATCH_KERNEL)
        handle = pick_handle(fds, n_fds);
    if ((lease < 0 && (vm->lease_cookie || handle < 0)) || (vm->dispatch == POLICY_DISPATCH_KERNEL && handle < 0)) {
        journal_log(LOG_ERR, "VM %s ends: what it lives by did not come back", vm->name);
        vm_audit_loss(vm);
        fd_close(lease);
        fd_close(handle);
        vm_free(vm);
        return -ESTALE;
    }
    r = vm_restore(persist->broker, vm, lease, handle);
    if (r < 0)
        return r;
    store_use(persist->store, KEEPER_VM, kept);
    r = vm_each_device(vm, give_descriptors, persist);
    return r < 0 ? r : vm_restored(vm);
}

static bool is_file_of(const char *name, const char *vm) {
    size_t length = strlen(vm);

    return strncmp(name, vm, length) == 0 && strcmp(name + length, SUFFIX) == 0;
}

/* What is refused does not say whose it was, or says what is not so: it was that of whom the file is named after. */
static void audit_refusal(const char *file) {
    char vm[NAME_MAX + 1], *suffix;
    const struct audit_record record = {.vm = vm, .uid = (uid_t) -1, .reason = "its state was refused"};

    snprintf(vm, sizeof(vm), "%s", file);
    suffix = strrchr(vm, '.');
    if (!suffix || strcmp(suffix, SUFFIX) != 0)
        return;
    *suffix = '\0';
    if (name_is_valid(vm))
        audit(AUDIT_UNREGISTER, &record);
}

static int read_file(struct persist *persist, const char *name, struct vm **ret_vm) {
    _cleanup_(freep) char *text = NULL, *error = NULL;
    struct vm *vm;
    size_t size;
    int r;

    r = folder_read(persist->vms, name, JSON_SIZE_MAX, &text, &size);
    if (r >= 0)
        r = state_read(name, text, size, &vm, &error);
    if (ran_out(r))
        return r;
    if (r < 0) {
        journal_log(LOG_ERR, "the state of a VM is refused, and its descriptors are closed: %s",
                    error ?: strerrordesc_np(-r));
        audit_refusal(name);
        return r;
    }
    if (!is_file_of(name, vm->name)) {
        journal_log(LOG_ERR, "the state of a VM is refused, and its descriptors are closed: %s is of VM %s", name,
                    vm->name);
        audit_refusal(name);
        vm_free(vm);
        return -EBADMSG;
    }
    *ret_vm = vm;
    return 0;
}

static int restore_file(const char *name, void *userdata) {
    struct persist *persist = userdata;
    struct vm *vm = NULL;
    int r;

    r = read_file(persist, name, &vm);
    if (r >= 0)
        r = restore_vm(persist, vm);
    if (r < 0 && !ran_out(r))
        folder_remove(persist->vms, name);
    return ran_out(r) ? r : 0;
}

static int restore_generation(struct persist *persist) {
    struct broker *broker = persist->broker;
    _cleanup_(freep) char *text = NULL;
    uint64_t generation;
    size_t size;

    if (folder_read(persist->folder, GENERATION, 32, &text, &size) >= 0 && sscanf(text, "%" SCNu64, &generation) == 1 &&
        generation > 0 && generation < UINT64_MAX)
        broker->policy_generation = generation;
    return save_generation(persist, broker->policy_generation);
}

int persist_restore(struct persist *persist, struct broker *broker) {
    size_t n;
    int r;

    persist->broker = broker;
    broker_set_keeper(broker, &keeper, persist);
    r = folder_each(persist->vms, restore_file, persist);
    if (r >= 0)
        r = restore_generation(persist);
    if (r < 0)
        return r;
    n = store_drop_unused(persist->store, KEEPER_DEVICE); /* devices first, as when a VM ends */
    n += store_drop_unused(persist->store, 0);
    if (broker->n_vms > 0 || n > 0)
        journal_log(LOG_INFO, "went on with %zu VMs, %zu devices, %zu regions; hung up on %zu others", broker->n_vms,
                    broker->n_devices, broker->n_regions, n);
    return broker_restored(broker);
}
