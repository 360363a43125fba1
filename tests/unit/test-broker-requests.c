/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Requests of those who have proven themselves: what is refused, and that nothing stays of what failed. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "broker-rig.h"
#include "daemon/vm.h"

/* Attach to the VM "vm", its VMM answering; the client is left as it is. */
static void attach(struct rig *rig, struct client *vmm, struct client *device, struct attach_request *request) {
    client_attach(rig, device, request);
    client_prove(rig, device);
    if (vmm)
        vmm_answer(rig, vmm, 0);
}

static void attach_and_detach(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client vmm, device;
    struct ioregion_lease_release release = {{IOREGION_LEASE_RELEASE, sizeof(release)}};

    register_vm(rig, &vmm, "vm");
    attach(rig, &vmm, &device, attach_request_new("vm", "uart0", 0x1000, 16));
    take_grant(&device);
    assert_int_equal(device.outcome.error, 0);
    assert_int_equal(device.grant.regions, 1);
    assert_true(device.grant.timeout_usec > 0);
    assert_int_equal(rig->devices_added, 1);
    assert_non_null(vm_find_device(broker_find_vm(rig->broker, "vm"), "uart0"));
    assert_int_equal(rig->broker->n_regions, 1);

    client_send(&device, &release);
    rig_pump(rig);
    assert_int_equal(rig->devices_removed, 1);
    assert_int_equal(vmm_answer(rig, &vmm, 0), 1); /* REGION_REMOVE */
    assert_int_equal(rig->broker->n_regions, 0);
    client_close(&device);

    client_send(&vmm, &release);
    rig_pump(rig);
    assert_int_equal(rig->vms_removed, 1);
    assert_int_equal(rig->broker->n_vms, 0);
    client_close(&vmm);
    rig_free(rig);
}

static int remove_at_once(struct dispatcher *dispatcher, uint64_t region, dispatcher_done_t done, void *userdata) {
    if (done)
        done(userdata, 0, NULL);
    return 0;
}

/* What there was when the end of a device was told. */
struct told {
    const struct rig *rig;
    unsigned times, devices_removed, fds;
};

static void on_detached(void *userdata) {
    struct told *told = userdata;

    told->times++;
    told->devices_removed = told->rig->devices_removed;
    told->fds = count_fds();
}

/* A dispatcher may answer within the call: who asked for the end hears of it when nothing is left all the same. */
static void nothing_is_left_when_told(void **state) {
    struct rig *rig = rig_new(NULL);
    struct told told = {.rig = rig};
    struct dispatcher_type at_once;
    struct client vmm, device;
    struct vm *vm;
    unsigned fds;

    register_vm(rig, &vmm, "vm");
    vm = broker_find_vm(rig->broker, "vm");
    fds = count_fds();
    attach(rig, &vmm, &device, attach_request_new("vm", "uart0", 0x1000, 16));
    take_grant(&device);
    client_close(&device);
    at_once = *vm->dispatcher->type;
    at_once.remove = remove_at_once;
    vm->dispatcher->type = &at_once;
    device_end(vm_find_device(vm, "uart0"), IOREGION_REVOKE_OPERATOR, "enough", on_detached, &told);
    assert_int_equal(told.times, 1);
    assert_int_equal(told.devices_removed, 1);
    assert_int_equal(told.fds, fds);
    client_close(&vmm);
    rig_free(rig);
}

static bool has_replied(void *userdata) {
    return ((struct client *) userdata)->outcome.replied;
}

static void refusals_of_register(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client vmm, other;

    register_vm(rig, &vmm, "vm");
    client_register(rig, &other, "vm");
    client_prove(rig, &other);
    expect_refusal(&other, REFUSAL_VM_EXISTS, "vm");
    client_close(&vmm);
    rig_free(rig);

    rig = rig_new("{ \"version\": 1 }");
    client_register(rig, &other, "vm");
    client_prove(rig, &other);
    expect_refusal(&other, REFUSAL_POLICY_DENIED, "default");
    rig_free(rig);
}

/* Attach @request to a VM that has one device, "first", at 0x1000-0x100f: refused, and nothing has changed. */
static void expect_attach_refused(struct attach_request *request, enum refusal_kind kind, const char *text) {
    struct rig *rig = rig_new(NULL);
    struct client vmm, first, second;

    register_vm(rig, &vmm, "vm");
    attach(rig, &vmm, &first, attach_request_new("vm", "first", 0x1000, 16));
    take_grant(&first);
    attach(rig, NULL, &second, request);
    expect_refusal(&second, kind, text);
    assert_int_equal(vmm_answer(rig, &vmm, 0), 0); /* the VMM heard nothing of it */
    assert_int_equal(broker_find_vm(rig->broker, "vm")->n_charged, 1);
    client_close(&first);
    client_close(&vmm);
    rig_free(rig);
}

static void refusals_of_attach(void **state) {
    struct attach_request *request;

    expect_attach_refused(attach_request_new("other", "d", 0x2000, 16), REFUSAL_NO_SUCH_VM, "other");
    expect_attach_refused(attach_request_new("vm", "d", 0x100f, 1), REFUSAL_REGION_OVERLAP, "first");
    expect_attach_refused(attach_request_new("vm", "d", 0x0, 1), REFUSAL_POLICY_DENIED, "devices");
    expect_attach_refused(attach_request_new("vm", "d", 0x2000, 0), REFUSAL_INVALID_REGION, "region 0");
    expect_attach_refused(attach_request_new("vm", "d", UINT64_MAX, 2), REFUSAL_INVALID_REGION, "region 0");
    expect_attach_refused(attach_request_new("vm", "first", 0x2000, 16), REFUSAL_DEVICE_EXISTS, "detach");

    request = attach_request_new("vm", "d", 0x2000, 16);
    request->regions[0].channel = 1;
    expect_attach_refused(request, REFUSAL_INVALID_REGION, "channel 1");
    request = attach_request_new("vm", "d", 0x2000, 16);
    request->channels = 2;
    expect_attach_refused(request, REFUSAL_INVALID_REGION, "no region");
    request = attach_request_new("vm", "d", 0x2000, 16);
    request->channels = 65;
    expect_attach_refused(request, REFUSAL_INVALID_REGION, "64");
    request = attach_request_new("vm", "d", 0x2000, 16);
    request->n_regions = 0;
    expect_attach_refused(request, REFUSAL_INVALID_REGION, "at least one");
    request = attach_request_new("vm", "d", 0x2000, 16);
    request->regions[0].flags = IOREGION_REGION_POSTED;
    expect_attach_refused(request, REFUSAL_INVALID_REGION, "posted");
    request = attach_request_new("vm", "d", 0x2000, 16);
    request->regions = reallocarray(request->regions, 2, sizeof(struct ioregion_region));
    request->regions[1] = (struct ioregion_region){.space = IOREGION_PIO, .base = 0x10, .size = 1};
    request->n_regions = 2;
    expect_attach_refused(request, REFUSAL_INVALID_REGION, "user_data");
    request = attach_request_new("vm", "d", 0x2000, 16);
    request->require = IOREGION_FEATURE_OUT_OF_ORDER; /* 62: never a downgrade */
    expect_attach_refused(request, REFUSAL_FEATURE_UNAVAILABLE, "out-of-order");
    request = attach_request_new("vm", "d", 0x2000, 16);
    request->timeout_usec = UINT64_MAX;
    expect_attach_refused(request, REFUSAL_POLICY_DENIED, "timeout");
}

/* All or nothing: the second of two regions overlaps, and the first one is free again. */
static void a_half_attach_is_undone(void **state) {
    struct attach_request *request = attach_request_new("vm", "d", 0x2000, 16);
    struct rig *rig = rig_new(NULL);
    struct client vmm, first, second;

    register_vm(rig, &vmm, "vm");
    attach(rig, &vmm, &first, attach_request_new("vm", "first", 0x1000, 16));
    request->regions = reallocarray(request->regions, 2, sizeof(struct ioregion_region));
    request->regions[1] = (struct ioregion_region){.base = 0x1000, .size = 1, .user_data = 1};
    request->n_regions = 2;
    attach(rig, NULL, &second, request);
    expect_refusal(&second, REFUSAL_REGION_OVERLAP, "region 1");
    attach(rig, &vmm, &second, attach_request_new("vm", "d", 0x2000, 16));
    assert_int_equal(second.outcome.error, 0);
    client_close(&second);
    client_close(&first);
    client_close(&vmm);
    rig_free(rig);
}

/* 55: the device hung up before its GRANT; everything is undone, the VMM is told to forget the region */
static void an_undeliverable_grant_undoes_all(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client vmm, device;

    register_vm(rig, &vmm, "vm");
    attach(rig, NULL, &device, attach_request_new("vm", "d", 0x2000, 16));
    assert_false(device.outcome.replied);
    shutdown(device.lease, SHUT_RDWR);
    assert_int_equal(vmm_answer(rig, &vmm, 0), 2); /* REGION_ADD, REGION_REMOVE */
    assert_true(device.outcome.replied);
    assert_true(device.outcome.error < 0);
    assert_int_equal(rig->devices_added, 0);
    assert_int_equal(broker_find_vm(rig->broker, "vm")->n_charged, 0);
    client_close(&device);
    client_close(&vmm);
    rig_free(rig);
}

/* 54: the caller, and the VM, end while the dispatcher is asked */
static void ends_in_mid_transaction(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client vmm, device;

    register_vm(rig, &vmm, "vm");
    attach(rig, NULL, &device, attach_request_new("vm", "d", 0x2000, 16));
    client_close(&device);
    rig_pump(rig);
    assert_true(device.outcome.replied);
    assert_int_equal(vmm_answer(rig, &vmm, 0), 2);

    attach(rig, NULL, &device, attach_request_new("vm", "d", 0x2000, 16));
    client_close(&vmm);
    rig_pump(rig);
    expect_refusal(&device, REFUSAL_VM_GONE, "vm");
    assert_int_equal(rig->broker->n_vms, 0);

    register_vm(rig, &vmm, "vm");
    attach(rig, NULL, &device, attach_request_new("vm", "d", 0x2000, 16));
    admission_cancel(device.admission);
    assert_int_equal(vmm_answer(rig, &vmm, 0), 2);
    assert_false(device.outcome.replied);
    client_close(&device);
    attach(rig, NULL, &device, attach_request_new("vm", "d", 0x2000, 16));
    rig_free(rig); /* the broker goes down */
    expect_refusal(&device, REFUSAL_BUSY, "going down");
    client_close(&vmm);
}

/* A VMM that says no, and one that says nothing for two seconds. */
static void a_vmm_refuses_or_is_silent(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client vmm, device;

    register_vm(rig, &vmm, "vm");
    attach(rig, NULL, &device, attach_request_new("vm", "d", 0x2000, 16));
    assert_int_equal(vmm_answer(rig, &vmm, ENOSPC), 2);
    expect_refusal(&device, REFUSAL_NO_DISPATCHER, strerror(ENOSPC));

    attach(rig, NULL, &device, attach_request_new("vm", "d", 0x2000, 16));
    rig_wait(rig, has_replied, &device);
    expect_refusal(&device, REFUSAL_BUSY, "vm");
    assert_int_equal(vmm_answer(rig, &vmm, 0), 2); /* late, but in order */
    attach(rig, &vmm, &device, attach_request_new("vm", "d", 0x2000, 16));
    assert_int_equal(device.outcome.error, 0);
    client_close(&device);
    client_close(&vmm);
    rig_free(rig);
}

/* What a VMM may not say ends its VM. */
static void a_vmm_breaks_the_protocol(void **state) {
    const struct ioregion_lease_ack surplus = {.header = {IOREGION_LEASE_ACK, sizeof(surplus)}, .serial = 77};
    const struct ioregion_lease_event unknown = {
        .header = {IOREGION_LEASE_EVENT, sizeof(unknown)}, .region = 77, .what = IOREGION_EVENT_EOF};
    const struct ioregion_lease_event nonsense = {.header = {IOREGION_LEASE_EVENT, sizeof(nonsense)}, .what = 9};
    const struct ioregion_lease_stats_reply stats = {.header = {IOREGION_LEASE_STATS_REPLY, sizeof(stats)}};
    const struct ioregion_lease_grant grant = {.header = {IOREGION_LEASE_GRANT, sizeof(grant)}};
    const void *const messages[] = {&surplus, &unknown, &nonsense, &stats, &grant};

    for (unsigned i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        struct rig *rig = rig_new(NULL);
        struct client vmm;

        register_vm(rig, &vmm, "vm");
        client_send(&vmm, messages[i]);
        rig_pump(rig);
        assert_int_equal(rig->vms_removed, 1);
        client_close(&vmm);
        rig_free(rig);
    }
}

static void quotas_hold(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client vmm, devices[8], surplus;
    char name[16];

    register_vm(rig, &vmm, "vm");
    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        attach(rig, NULL, &devices[i], attach_request_new("vm", name, 0x1000 + 16 * i, 16));
    }
    attach(rig, NULL, &surplus, attach_request_new("vm", "d8", 0x9000, 16)); /* none is granted yet, all are charged */
    expect_refusal(&surplus, REFUSAL_QUOTA_EXCEEDED, "devices-per-unit");
    vmm_answer(rig, &vmm, 0);
    client_close(&devices[0]);
    vmm_answer(rig, &vmm, 0);
    for (unsigned i = 1; i < 8; i++)
        client_close(&devices[i]);
    client_close(&vmm);
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attach_and_detach),         cmocka_unit_test(nothing_is_left_when_told),
        cmocka_unit_test(refusals_of_register),      cmocka_unit_test(refusals_of_attach),
        cmocka_unit_test(a_half_attach_is_undone),   cmocka_unit_test(an_undeliverable_grant_undoes_all),
        cmocka_unit_test(ends_in_mid_transaction),   cmocka_unit_test(a_vmm_refuses_or_is_silent),
        cmocka_unit_test(a_vmm_breaks_the_protocol), cmocka_unit_test(quotas_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
