/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * 15, 58: memory and descriptors run out at every step of a life: register, attach, resume, detach, end. Each time the
 * request fails or succeeds as a whole, nothing leaks (ASan watches), and the broker goes on.
 */

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "broker-rig.h"
#include "daemon/vm.h"

static void take(struct client *client) {
    struct ioregion_lease_grant grant;

    if (client_receive(client, &grant, sizeof(grant), client->channels) == IOREGION_LEASE_GRANT)
        client->n_channels = grant.channels;
}

/* All that a broker does, with a fault somewhere; what the fault spares has to work. True if it came to the fault. */
static bool live(struct rig *rig, unsigned nth) {
    struct client vmm, device, again;
    struct attach_request *first = attach_request_new("vm", "d", 0x2000, 16);
    struct attach_request *second = attach_request_new("vm", "d", 0x2000, 16);

    first->on_disconnect = second->on_disconnect = IOREGION_ON_DISCONNECT_HOLD;
    fail_allocation(nth);
    client_register(rig, &vmm, "vm");
    client_prove(rig, &vmm);
    take(&vmm);
    client_attach(rig, &device, first);
    client_prove(rig, &device);
    vmm_answer(rig, &vmm, 0);
    take(&device);
    assert_true(device.outcome.replied);
    assert_true((device.outcome.error == 0) == (device.n_channels == 1));

    client_attach(rig, &again, second);
    client_prove(rig, &again);
    vmm_answer(rig, &vmm, 0);
    take(&again);
    assert_true(again.outcome.replied);
    assert_true((again.outcome.error == 0) == (again.n_channels == 1));
    client_close(&device);
    client_close(&again);
    rig_pump(rig);
    vmm_answer(rig, &vmm, 0);
    return end_fault(rig, &vmm);
}

static void memory_runs_out(void **state) {
    unsigned nth = 0, before;
    bool reached;

    do {
        struct rig *rig = rig_new(NULL);

        live(rig, 0); /* the event loop opens what it needs */
        before = count_fds();
        reached = live(rig, ++nth);
        assert_int_equal(count_fds(), before);
        rig->devices_added = 0;
        live(rig, 0); /* and it works again */
        assert_int_equal(rig->devices_added, 1);
        rig_free(rig);
    } while (reached);
    assert_true(nth > 20); /* there was something to fail */
}

/* No descriptor is left after the next @spare ones. */
static void descriptors_run_out(void **state) {
    struct rlimit limit, old;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (unsigned spare = 0; spare < 10; spare++) {
        struct rig *rig = rig_new(NULL);
        struct client vmm, device;
        unsigned before;

        live(rig, 0); /* the event loop opens what it needs */
        before = count_fds();
        client_register(rig, &vmm, "vm");
        client_prove(rig, &vmm);
        take(&vmm);
        client_attach(rig, &device, attach_request_new("vm", "d", 0x2000, 16));

        limit = old;
        limit.rlim_cur = count_fds() - 1 + spare; /* one is the directory that counted */
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        client_prove(rig, &device);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        vmm_answer(rig, &vmm, 0);
        assert_true(device.outcome.replied);
        if (spare > 8)
            assert_int_equal(device.outcome.error, 0);
        take(&device);
        client_close(&device);
        rig_pump(rig);
        vmm_answer(rig, &vmm, 0);
        client_close(&vmm);
        rig_pump(rig);
        assert_int_equal(count_fds(), before);
        rig_free(rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(descriptors_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
