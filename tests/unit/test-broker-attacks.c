/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What clients can do on purpose: each of these cost the broker something once, or got somebody more than is theirs. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "broker-rig.h"

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

/* 22: who passed the lease can have the kernel hand the broker a descriptor with each message. None may stay. */
static void no_pidfd_stays(void **state) {
    struct rig *rig = rig_new(NULL);
    int pair[2], shared, on = 1;
    struct client client;
    unsigned before;

    before = count_fds();
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        shared = dup(pair[1]);
        client = (struct client){.lease = pair[0]};
        client_register_on(rig, &client, "vm", pair[1]);
        if (setsockopt(shared, SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on)) < 0) {
            close(shared);
            client_close(&client);
            rig_free(rig);
            skip(); /* a kernel before 6.5 */
        }
        client_prove(rig, &client);
        assert_true(client.outcome.replied);
        client_close(&client);
        close(shared);
        rig_pump(rig);
    }
    assert_true(count_fds() <= before + 1); /* the event loop's timer */
    rig_free(rig);
}

/* 50, 58: the VMM is silent, the device attaches and hangs up, for ever: what waits for the VMM is bounded. */
static void a_silent_vmm_costs_little(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client vmm, device;
    unsigned before;

    register_vm(rig, &vmm, "vm");
    client_attach(rig, &device, attach_request_new("vm", "d", 0x1000, 16));
    client_prove(rig, &device);
    vmm_answer(rig, &vmm, 0);
    take_grant(&device);
    before = count_fds();
    for (unsigned i = 0; i < 1500; i++) {
        client_close(&device);
        rig_pump(rig);
        client_attach(rig, &device, attach_request_new("vm", "d", 0x1000, 16));
        client_prove(rig, &device);
    }
    assert_int_equal(device.outcome.kind, REFUSAL_BUSY);
    assert_in_range(count_fds(), 0, before + 1024);
    client_close(&device);

    for (unsigned i = 0; i < 100; i++) { /* the backlog is full, and does not grow by what is refused */
        client_attach(rig, &device, attach_request_new("vm", "e", 0x2000, 16));
        client_prove(rig, &device);
        assert_int_equal(device.outcome.kind, REFUSAL_BUSY);
        client_close(&device);
    }
    assert_in_range(vmm_answer(rig, &vmm, 0), 1000, 1024);
    client_close(&vmm);
    rig_free(rig);
}

static void reload(struct rig *rig, const char *text, bool revoke, size_t *ret_revoked) {
    struct policy *policy;
    char *error = NULL;
    size_t kept;

    assert_int_equal(policy_load_text("new", text, strlen(text), NULL, &policy, &error), 0);
    assert_int_equal(broker_set_policy(rig->broker, policy, revoke, &kept, ret_revoked), 0);
}

/* 56: what was allowed a moment ago, and is not granted yet, does not slip through a reload */
static void no_attach_outruns_a_reload(void **state) {
    static const char vmms_only[] =
        "{ \"version\": 1, \"vmms\": [ { \"name\": \"vmms\", \"match\": { \"user\": \"root\" },"
        "  \"vms\": [ \"*\" ], \"features\": [ \"posted-writes\", \"replay\" ] } ] }";

    for (int revoke = 0; revoke < 2; revoke++) {
        struct rig *rig = rig_new(NULL);
        struct client vmm, device;
        size_t revoked;

        register_vm(rig, &vmm, "vm");
        client_attach(rig, &device, attach_request_new("vm", "d", 0x1000, 16));
        client_prove(rig, &device);
        reload(rig, vmms_only, revoke, &revoked);
        vmm_answer(rig, &vmm, 0);
        assert_true(device.outcome.replied);
        assert_int_equal(device.outcome.kind, REFUSAL_POLICY_DENIED);
        assert_int_equal(rig->broker->n_devices, 0);
        assert_int_equal(revoked, 0);
        client_close(&device);
        client_close(&vmm);
        rig_free(rig);
    }
}

/* A device gets no feature that the VMM's rule does not let its VMs have, whatever the device's own rule says. */
static void a_vmms_rule_bounds_features(void **state) {
    static const char posted_only[] =
        "{ \"version\": 1, \"vmms\": [ { \"name\": \"vmms\", \"match\": { \"user\": \"root\" }, \"vms\": [ \"*\" ],"
        "                                 \"features\": [ \"posted-writes\" ] } ],"
        "  \"devices\": [ { \"name\": \"devices\", \"match\": { \"user\": \"root\" }, \"vms\": [ \"*\" ],"
        "                  \"regions\": [ { \"space\": \"mmio\", \"within\": [ \"0x1000\", \"0xffff\" ] } ],"
        "                  \"features\": [ \"posted-writes\", \"replay\" ] } ] }";
    static const char none[] = "{ \"version\": 1, \"vmms\": [ { \"name\": \"vmms\", \"match\": { \"user\": \"root\" }, "
                               "\"vms\": [ \"*\" ] } ] }";
    struct attach_request *request = attach_request_new("vm", "d", 0x1000, 16);
    struct rig *rig = rig_new(posted_only);
    struct client vmm, device;
    size_t revoked;

    register_vm(rig, &vmm, "vm");
    assert_int_equal(vmm.grant.features, IOREGION_FEATURE_POSTED_WRITES);
    request->require = IOREGION_FEATURE_REPLAY;
    client_attach(rig, &device, request);
    client_prove(rig, &device);
    vmm_answer(rig, &vmm, 0);
    assert_int_equal(device.outcome.kind, REFUSAL_FEATURE_UNAVAILABLE);
    client_close(&device);

    request = attach_request_new("vm", "d", 0x1000, 16);
    request->want = IOREGION_FEATURE_REPLAY | IOREGION_FEATURE_POSTED_WRITES;
    client_attach(rig, &device, request);
    client_prove(rig, &device);
    vmm_answer(rig, &vmm, 0);
    take_grant(&device);
    assert_int_equal(device.grant.features, IOREGION_FEATURE_POSTED_WRITES);
    client_close(&device);

    reload(rig, none, true, &revoked); /* and that can be withdrawn, too */
    assert_int_equal(revoked, 1);
    assert_int_equal(rig->broker->n_vms, 0);
    client_close(&vmm);
    rig_free(rig);
}

/* 58: no unit for want of descriptors is not the same as no unit: an identity that can't be read proves nothing. */
static void an_unreadable_unit_proves_nothing(void **state) {
    struct rig *rig = rig_new(NULL);
    struct rlimit limit, old;
    struct client vmm;
    int lowest;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    client_register(rig, &vmm, "vm");
    limit = old;
    lowest = fcntl(vmm.lease, F_DUPFD_CLOEXEC, 0); /* which is free */
    close(lowest);
    limit.rlim_cur = (rlim_t) lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    client_prove(rig, &vmm);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(vmm.outcome.replied);
    assert_int_equal(vmm.outcome.error, -EMFILE);
    client_close(&vmm);
    rig_free(rig);
}

static bool has_replied(void *userdata) {
    return ((struct client *) userdata)->outcome.replied;
}

/* The caller proved itself and the bus does not say who called: that is what it is told. */
static void a_silent_bus_is_named(void **state) {
    struct ioregion_lease_challenge challenge;
    struct ioregion_lease_proof proof = {{IOREGION_LEASE_PROOF, sizeof(proof)}, IOREGION_LEASE_VERSION};
    struct rig *rig = rig_new(NULL);
    struct client client;

    client_register(rig, &client, "vm");
    assert_int_equal(client_receive(&client, &challenge, sizeof(challenge), NULL), IOREGION_LEASE_CHALLENGE);
    memcpy(proof.nonce, challenge.nonce, sizeof(proof.nonce));
    client_send(&client, &proof);
    rig_wait(rig, has_replied, &client);
    assert_int_equal(client.outcome.kind, REFUSAL_IDENTITY_UNPROVEN);
    assert_non_null(strstr(client.outcome.text, "the bus did not"));
    client_close(&client);
    rig_free(rig);
}

static void on_counts(void *userdata, int error, const struct ioregion_lease_stats_reply *stats) {
}

/* 50: whoever may look can ask for statistics without end; those who want to attach find room all the same */
static void curiosity_does_not_crowd_out(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client vmm, first, second;
    struct device *device;
    unsigned n = 0, before;

    register_vm(rig, &vmm, "vm");
    client_attach(rig, &first, attach_request_new("vm", "d", 0x1000, 16));
    client_prove(rig, &first);
    vmm_answer(rig, &vmm, 0);
    device = first.outcome.object;
    before = count_fds();
    while (region_statistics(&device->regions[0], on_counts, NULL) >= 0)
        assert_in_range(++n, 1, 1023);
    assert_int_equal(count_fds(), before); /* what is refused closes nothing of anybody's */
    client_attach(rig, &second, attach_request_new("vm", "e", 0x2000, 16));
    client_prove(rig, &second);
    assert_false(second.outcome.replied);
    client_close(&first);
    client_close(&second);
    client_close(&vmm);
    rig_free(rig);
}

/* Ids of channels are not used twice, nor do they start anew: a stranger's device would get this one's commands. */
static void channel_ids_run_out(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client vmm, device;

    register_vm(rig, &vmm, "vm");
    broker_find_vm(rig->broker, "vm")->next_channel = UINT32_MAX - 1;
    client_attach(rig, &device, attach_request_new("vm", "d", 0x1000, 16));
    client_prove(rig, &device);
    vmm_answer(rig, &vmm, 0);
    assert_int_equal(device.outcome.error, 0);
    client_close(&device);
    client_attach(rig, &device, attach_request_new("vm", "e", 0x2000, 16));
    client_prove(rig, &device);
    vmm_answer(rig, &vmm, 0);
    assert_int_equal(device.outcome.kind, REFUSAL_QUOTA_EXCEEDED);
    client_close(&device);
    client_close(&vmm);
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_pidfd_stays),
        cmocka_unit_test(a_silent_vmm_costs_little),
        cmocka_unit_test(no_attach_outruns_a_reload),
        cmocka_unit_test(a_vmms_rule_bounds_features),
        cmocka_unit_test(an_unreadable_unit_proves_nothing),
        cmocka_unit_test(a_silent_bus_is_named),
        cmocka_unit_test(curiosity_does_not_crowd_out),
        cmocka_unit_test(channel_ids_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
