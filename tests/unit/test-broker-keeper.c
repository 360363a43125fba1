/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A keeper that fails at every one of its calls, through a life: register, attach, resume, detach. Each time the
 * request is refused as a whole or goes through; the keeper has what there is and no more; and what clients are told is
 * written down before.
 */

#include <errno.h>
#include <string.h>

#include "broker-rig.h"
#include "daemon/vm.h"

#define HELD_MAX 64

struct shelf {
    unsigned fail_at, calls; /* 0: never */
    int error;
    bool failed;
    struct {
        bool used;
        enum keeper_kind kind;
    } held[HELD_MAX]; /* by id - 1 */
    unsigned n_held, n_files, saves;
};

static bool fails(struct shelf *shelf) {
    if (++shelf->calls != shelf->fail_at)
        return false;
    shelf->failed = true;
    return true;
}

static int hold(void *userdata, enum keeper_kind kind, const int *fds, size_t n_fds, uint32_t *ret_id) {
    struct shelf *shelf = userdata;

    assert_true(n_fds > 0);
    if (fails(shelf))
        return shelf->error;
    for (uint32_t i = 0; i < HELD_MAX; i++)
        if (!shelf->held[i].used) {
            shelf->held[i].used = true;
            shelf->held[i].kind = kind;
            shelf->n_held++;
            *ret_id = i + 1;
            return 0;
        }
    fail_msg("it releases nothing");
    return -EDQUOT;
}

static void release(void *userdata, enum keeper_kind kind, uint32_t id) {
    struct shelf *shelf = userdata;

    assert_true(shelf->held[id - 1].used);
    assert_int_equal(shelf->held[id - 1].kind, kind);
    shelf->held[id - 1].used = false;
    shelf->n_held--;
}

static int save(void *userdata, const struct vm *vm) {
    struct shelf *shelf = userdata;

    if (fails(shelf))
        return shelf->error;
    shelf->n_files = 1; /* there is one VM */
    shelf->saves++;
    return 0;
}

static void forget(void *userdata, const struct vm *vm) {
    ((struct shelf *) userdata)->n_files = 0;
}

static int save_generation(void *userdata, uint64_t generation) {
    return 0;
}

static const struct keeper_type type = {hold, release, save, forget, save_generation};

static void take(struct client *client) {
    struct ioregion_lease_grant grant;

    if (client_receive(client, &grant, sizeof(grant), client->channels) == IOREGION_LEASE_GRANT)
        client->n_channels = grant.channels;
}

static struct attach_request *request(void) {
    struct attach_request *r = attach_request_new("vm", "d", 0x2000, 16);

    r->on_disconnect = IOREGION_ON_DISCONNECT_HOLD;
    return r;
}

static void attach(struct rig *rig, struct client *vmm, struct client *device) {
    client_attach(rig, device, request());
    client_prove(rig, device);
    vmm_answer(rig, vmm, 0);
    take(device);
    assert_true(device->outcome.replied);
    assert_int_equal(device->outcome.error == 0, device->n_channels == 1);
}

static void live(struct rig *rig, struct shelf *shelf) {
    struct client vmm, device, again;
    struct device *found;
    struct vm *vm;

    client_register(rig, &vmm, "vm");
    client_prove(rig, &vmm);
    take(&vmm);
    attach(rig, &vmm, &device);
    client_close(&device);
    rig_pump(rig); /* held */
    attach(rig, &vmm, &again);
    vm = broker_find_vm(rig->broker, "vm");
    found = vm ? vm_find_device(vm, "d") : NULL;
    assert_int_equal(shelf->n_held, (vm ? 1 : 0) + (found ? 1 : 0));
    if (again.n_channels > 0)
        assert_int_equal(found->state, DEVICE_ATTACHED);
    if (found)
        device_end(found, IOREGION_REVOKE_OPERATOR, "test", NULL, NULL);
    vmm_answer(rig, &vmm, 0);
    assert_int_equal(shelf->n_held, vm ? 1 : 0);
    client_close(&again);
    client_close(&vmm);
    rig_pump(rig);
    assert_int_equal(rig->broker->n_vms, 0);
    assert_int_equal(shelf->n_held, 0);
    assert_int_equal(shelf->n_files, 0);
}

static void failures(int error) {
    struct shelf shelf;
    unsigned nth = 0;

    do {
        struct rig *rig = rig_new(NULL);

        shelf = (struct shelf){.fail_at = ++nth, .error = error};
        broker_set_keeper(rig->broker, &type, &shelf);
        live(rig, &shelf);
        rig_free(rig);
    } while (shelf.failed);
    assert_true(nth > 8);
}

static void no_room(void **state) {
    failures(-EDQUOT);
}

static void too_much(void **state) {
    failures(-EFBIG);
}

static void no_space(void **state) {
    failures(-ENOSPC);
}

static void quota_is_the_answer(void **state) {
    struct rig *rig = rig_new(NULL);
    struct shelf shelf = {.fail_at = 1, .error = -EDQUOT};
    struct client client;

    broker_set_keeper(rig->broker, &type, &shelf);
    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    expect_refusal(&client, REFUSAL_QUOTA_EXCEEDED, "no room for more descriptors");
    shelf = (struct shelf){.fail_at = 2, .error = -EFBIG};
    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    expect_refusal(&client, REFUSAL_QUOTA_EXCEEDED, "more than can be written down");
    rig_free(rig);
}

/* Whoever lets go tells nobody: what it holds is the next process's. */
static void leaving(void **state) {
    struct rig *rig = rig_new(NULL);
    struct shelf shelf = {0};
    struct client vmm, device;
    char message[256];

    broker_set_keeper(rig->broker, &type, &shelf);
    register_vm(rig, &vmm, "vm");
    attach(rig, &vmm, &device);
    rig->broker = broker_leave(rig->broker);
    assert_int_equal(shelf.n_held, 2);
    assert_int_equal(shelf.n_files, 1);
    assert_int_equal(client_receive(&device, message, sizeof(message), NULL), -1); /* here nobody else has its end */
    assert_int_equal(client_receive(&vmm, message, sizeof(message), NULL), -1);
    client_close(&device);
    client_close(&vmm);
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_room),  cmocka_unit_test(too_much),
        cmocka_unit_test(no_space), cmocka_unit_test(quota_is_the_answer),
        cmocka_unit_test(leaving),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
