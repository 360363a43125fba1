/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * 46, 59: VMMs, devices and an operator do whatever comes to their mind, in any order, and hang up in the midst of it;
 * now and then there is no memory. Whatever comes of it, nothing may be used after it is freed, leaked, or counted
 * wrongly. A seed as argument repeats a run.
 */

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "broker-rig.h"

#define N_VMS 2
#define N_DEVICES 6
#define STEPS 3000
#define RUNS 4

static unsigned seed = 1;

struct zoo {
    struct rig *rig;
    struct client vmms[N_VMS], devices[N_DEVICES];
    struct question {
        unsigned vmm;
        uint32_t type;
        uint64_t serial, region;
    } questions[64]; /* not answered yet */
    unsigned n_questions;
};

static unsigned pick(unsigned n) {
    return (unsigned) rand_r(&seed) / 7 % n;
}

static void name_of(char *ret_name, char kind, unsigned i) {
    snprintf(ret_name, 8, "%c%u", kind, i);
}

static void leave(struct client *client) {
    client_close(client);
    *client = (struct client){.lease = -1};
}

/* A client's memory may go only when nobody will reply to it. */
static void leave_early(struct client *client) {
    if (client->admission) {
        admission_cancel(client->admission);
        client->admission = NULL;
    }
    leave(client);
}

static void end_vmm(struct zoo *z, unsigned vmm) {
    unsigned n = 0;

    leave_early(&z->vmms[vmm]);
    for (unsigned i = 0; i < z->n_questions; i++)
        if (z->questions[i].vmm != vmm)
            z->questions[n++] = z->questions[i];
    z->n_questions = n;
}

static void start_vmm(struct zoo *z, unsigned vmm) {
    char name[8];

    end_vmm(z, vmm);
    name_of(name, 'v', vmm);
    client_register(z->rig, &z->vmms[vmm], name);
    client_prove(z->rig, &z->vmms[vmm]);
}

static void start_device(struct zoo *z, unsigned i) {
    unsigned which = pick(N_DEVICES); /* those of one name mostly ask for the same, and resume */
    struct attach_request *request;
    char vm[8], name[8];

    name_of(vm, 'v', pick(N_VMS));
    name_of(name, 'd', which);
    leave_early(&z->devices[i]);
    fail_pause(true);
    request = attach_request_new(vm, name, 0x1000 + 0x10 * (pick(8) ? which : pick(N_DEVICES)), 0x10);
    request->on_disconnect = (enum ioregion_on_disconnect)(which % 3);
    request->want = IOREGION_FEATURE_REPLAY;
    if (which % 2) {
        request->regions = reallocarray(request->regions, 2, sizeof(struct ioregion_region));
        request->regions[1] =
            (struct ioregion_region){.space = IOREGION_PIO, .base = 8 * which, .size = 8, .user_data = 1};
        request->n_regions = 2;
        request->regions[1].channel = which % 4 == 1;
        request->channels = request->regions[1].channel + 1;
    }
    fail_pause(false);
    client_attach(z->rig, &z->devices[i], request);
    if (pick(8))
        client_prove(z->rig, &z->devices[i]);
}

static void read_lease(struct client *client) {
    char message[128];
    int fds[64];

    for (unsigned i = 0; i < 4; i++)
        fds[i] = -1;
    while (client->lease >= 0 && client_receive(client, message, sizeof(message), fds) > 0)
        for (unsigned i = 0; i < 4; i++)
            fds[i] = fd_close(fds[i]);
}

/* Take what the broker asks, to be answered later, in any order or never. */
static void listen_to_broker(struct zoo *z, unsigned vmm) {
    struct {
        struct ioregion_lease_header header;
        uint64_t serial, region;
        char rest[128];
    } request;
    int fd = -1;

    while (z->n_questions < 64 && z->vmms[vmm].lease >= 0 &&
           client_receive(&z->vmms[vmm], &request, sizeof(request), &fd) > 0) {
        fd = fd_close(fd);
        if (request.header.type >= IOREGION_LEASE_REGION_ADD)
            z->questions[z->n_questions++] =
                (struct question){vmm, request.header.type, request.serial, request.region};
    }
}

static void answer_one(struct zoo *z) {
    struct question q;
    unsigned i;

    if (z->n_questions == 0)
        return;
    i = pick(z->n_questions);
    q = z->questions[i];
    z->questions[i] = z->questions[--z->n_questions];
    if (q.type == IOREGION_LEASE_STATS) {
        const struct ioregion_lease_stats_reply reply = {
            .header = {IOREGION_LEASE_STATS_REPLY, sizeof(reply)}, .serial = q.serial, .region = q.region};

        client_send(&z->vmms[q.vmm], &reply);
    } else {
        const struct ioregion_lease_ack ack = {
            .header = {IOREGION_LEASE_ACK, sizeof(ack)}, .serial = q.serial, .error = pick(6) ? 0 : 5};

        client_send(&z->vmms[q.vmm], &ack);
    }
}

static struct device *any_device(const struct zoo *z) {
    char name[8];
    struct vm *vm;

    name_of(name, 'v', pick(N_VMS));
    vm = broker_find_vm(z->rig->broker, name);
    name_of(name, 'd', pick(N_DEVICES));
    return vm ? vm_find_any_device(vm, name) : NULL;
}

static void on_done(void *userdata) {
    ++*(unsigned *) userdata;
}

static void on_counts(void *userdata, int error, const struct ioregion_lease_stats_reply *stats) {
    ++*(unsigned *) userdata;
}

static unsigned done, expected;

static void operate(struct zoo *z) {
    static const char some[] =
        "{ \"version\": 1, \"vmms\": [ { \"name\": \"v\", \"match\": { \"user\": \"root\" }, \"vms\": [ \"%s\" ],"
        "                               \"features\": [ \"replay\", \"posted-writes\" ] } ],"
        "  \"devices\": [ { \"name\": \"d\", \"match\": { \"user\": \"root\" }, \"vms\": [ \"*\" ],"
        "                   \"regions\": [ { \"space\": \"mmio\", \"within\": [ \"0x1000\", \"0x1fff\" ] },"
        "                                  { \"space\": \"pio\", \"within\": [ \"0x0\", \"0x1f\" ] } ],"
        "                   \"limits\": { \"regions\": 2, \"channels\": 2 }, \"grace\": \"1ms\","
        "                   \"features\": [ \"replay\" ], \"on-disconnect\": [ \"hold\", \"ones\" ] } ],"
        "  \"limits\": { \"devices-per-unit\": 3, \"regions-per-vm\": 4, \"attach-rate\": \"100000/s\","
        "                \"register-rate\": \"100000/s\" } }";
    struct device *device = any_device(z);
    size_t kept, revoked;
    struct policy *policy;
    char text[1024], *error = NULL;

    switch (pick(4)) {
    case 0:
        if (device)
            device_end(device, IOREGION_REVOKE_OPERATOR, "monkey", on_done, &done);
        expected += device != NULL;
        break;
    case 1:
        if (device && region_statistics(&device->regions[0], on_counts, &done) >= 0)
            expected++;
        break;
    case 2:
        if (pick(4))
            break;
        snprintf(text, sizeof(text), some, pick(4) ? "*" : "v0"); /* and v1 has to go */
        fail_pause(true);
        assert_int_equal(policy_load_text("m", text, strlen(text), NULL, &policy, &error), 0);
        fail_pause(false);
        broker_set_policy(z->rig->broker, policy, pick(2), &kept, &revoked);
        break;
    case 3:
        if (device && !pick(40))
            vm_end(device->vm, IOREGION_REVOKE_OPERATOR);
        break;
    }
}

/* Of a region that is there or was: any other ends the VM. */
static void tell_loss(struct zoo *z, unsigned vmm) {
    struct ioregion_lease_event event = {.header = {IOREGION_LEASE_EVENT, sizeof(event)}, .what = 1 + pick(3)};
    struct vm *vm;
    char name[8];

    name_of(name, 'v', vmm);
    vm = broker_find_vm(z->rig->broker, name);
    if (!vm || z->vmms[vmm].lease < 0)
        return;
    event.region = vm->next_region - 1 - pick(vm->next_region < 16 ? (unsigned) vm->next_region : 16);
    client_send(&z->vmms[vmm], &event);
}

static void step(struct zoo *z) {
    const struct ioregion_lease_release release = {{IOREGION_LEASE_RELEASE, sizeof(release)}};
    unsigned vmm = pick(N_VMS), device = pick(N_DEVICES);

    switch (pick(16)) {
    case 0:
        if (z->vmms[vmm].lease < 0 || !pick(20))
            start_vmm(z, vmm);
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        start_device(z, device);
        break;
    case 5:
        if (!pick(20))
            end_vmm(z, vmm);
        break;
    case 6:
        leave_early(&z->devices[device]);
        break;
    case 7:
        if (z->devices[device].lease >= 0)
            shutdown(z->devices[device].lease, SHUT_RDWR);
        break;
    case 8:
        if (z->devices[device].lease >= 0)
            client_send(&z->devices[device], &release);
        break;
    case 9:
        tell_loss(z, vmm);
        break;
    case 10:
        operate(z);
        break;
    case 11:
        read_lease(&z->devices[device]);
        break;
    default:
        listen_to_broker(z, pick(N_VMS));
        for (unsigned n = pick(8); n > 0; n--)
            answer_one(z);
    }
    if (pick(3))
        rig_pump(z->rig);
}

/* What the counters say must be what is there. */
struct census {
    size_t vms, devices, regions;
};

static int count_device(struct device *device, void *userdata) {
    struct census *c = userdata;

    c->devices++;
    c->regions += device->n_regions;
    return 0;
}

static int count_vm(struct vm *vm, void *userdata) {
    struct census *c = userdata;

    c->vms++;
    assert_true(vm->n_charged >= vm->n_regions);
    return vm_each_device(vm, count_device, c);
}

static void check(const struct broker *broker) {
    struct census c = {0};

    assert_int_equal(broker_each_vm(broker, count_vm, &c), 0);
    assert_int_equal(c.vms, broker->n_vms);
    assert_int_equal(c.devices, broker->n_devices);
    assert_int_equal(c.regions, broker->n_regions);
}

static void anything_goes(void **state) {
    for (unsigned run = 0; run < RUNS; run++) {
        struct zoo z = {.rig = rig_new(NULL)};
        unsigned first = seed;

        for (unsigned i = 0; i < N_VMS; i++)
            z.vmms[i].lease = -1;
        for (unsigned i = 0; i < N_DEVICES; i++)
            z.devices[i].lease = -1;
        for (unsigned i = 0; i < STEPS; i++) {
            if (pick(100) == 0)
                fail_allocation(1 + pick(40));
            step(&z);
            check(z.rig->broker);
        }
        fail_allocation(0);
        for (unsigned i = 0; i < N_DEVICES; i++)
            leave_early(&z.devices[i]);
        for (unsigned i = 0; i < N_VMS; i++)
            end_vmm(&z, i);
        rig_pump(z.rig);
        assert_int_equal(z.rig->broker->n_vms + z.rig->broker->n_devices + z.rig->broker->n_regions, 0);
        assert_null(z.rig->broker->proofs.leases.root);
        assert_null(z.rig->broker->proofs.pending);
        assert_int_equal(z.rig->vms_added, z.rig->vms_removed);
        assert_int_equal(z.rig->devices_added, z.rig->devices_removed);
        print_message("seed %u: %u VMs, %u devices, %u changes\n", first, z.rig->vms_added, z.rig->devices_added,
                      z.rig->devices_changed);
        assert_true(z.rig->devices_added > 5);
        rig_free(z.rig);
        assert_int_equal(done, expected); /* everyone who asked was answered, once */
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(anything_goes)};

    if (argc > 1)
        seed = (unsigned) strtoul(argv[1], NULL, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
