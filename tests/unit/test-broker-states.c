/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Edge case 48: every cell of the state table in doc/architecture.md. */

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "broker-rig.h"
#include "daemon/vm.h"

#define GONE (-1) /* besides enum device_state */

enum happening {
    LEASE_HANGS_UP,
    CHANNEL_EOF,
    PROCESS_DIES, /* both of them, in the kernel's order; the VMM's news comes first */
    DEADLINE_MISSED,
    VIOLATION,
    UNIT_RESTARTS, /* while what it holds is in the unit's descriptor store */
    UNIT_ENDS,
    ATTACH_AGAIN,
    GRACE_OVER,
    DETACH,
    RELEASE,
    VM_ENDS,
};

struct scene {
    struct rig *rig;
    struct client vmm, device, again;
    int dispatcher_fd;
    uint64_t region;
    enum ioregion_on_disconnect on_disconnect;
};

static struct device *find(const struct scene *s) {
    struct vm *vm = broker_find_vm(s->rig->broker, "vm");

    return vm ? vm_find_device(vm, "d") : NULL;
}

static void start_attach(struct scene *s, struct client *client) {
    struct attach_request *request = attach_request_new("vm", "d", 0x2000, 16);

    request->on_disconnect = s->on_disconnect;
    client_attach(s->rig, client, request);
    client_prove(s->rig, client);
}

static void set_up(struct scene *s, enum ioregion_on_disconnect on_disconnect) {
    struct ioregion_lease_region_add add;
    struct ioregion_lease_grant grant;
    struct ioregion_lease_ack ack = {.header = {IOREGION_LEASE_ACK, sizeof(ack)}};

    *s = (struct scene){.rig = rig_new(NULL), .again = {.lease = -1}, .on_disconnect = on_disconnect};
    client_register(s->rig, &s->vmm, "vm");
    client_prove(s->rig, &s->vmm);
    assert_int_equal(client_receive(&s->vmm, &grant, sizeof(grant), NULL), IOREGION_LEASE_GRANT);
    start_attach(s, &s->device);
    assert_int_equal(client_receive(&s->vmm, &add, sizeof(add), &s->dispatcher_fd), IOREGION_LEASE_REGION_ADD);
    assert_int_equal(add.on_disconnect, on_disconnect);
    s->region = add.region;
    ack.serial = add.serial;
    client_send(&s->vmm, &ack);
    rig_pump(s->rig);
    assert_int_equal(client_receive(&s->device, &grant, sizeof(grant), s->device.channels), IOREGION_LEASE_GRANT);
    s->device.n_channels = 1;
    assert_int_equal(find(s)->state, DEVICE_ATTACHED);
}

static void tear_down(struct scene *s) {
    client_close(&s->device);
    client_close(&s->again);
    client_close(&s->vmm);
    fd_close(s->dispatcher_fd);
    rig_free(s->rig);
}

static bool grace_is_over(void *userdata) {
    const struct device *device = find(userdata);

    return !device || device->state != DEVICE_HELD;
}

static void tell(struct scene *s, enum ioregion_lease_event_what what) {
    const struct ioregion_lease_event event = {
        .header = {IOREGION_LEASE_EVENT, sizeof(event)}, .region = s->region, .what = what};

    client_send(&s->vmm, &event);
}

static void make_happen(struct scene *s, enum happening happening) {
    const struct ioregion_lease_release release = {{IOREGION_LEASE_RELEASE, sizeof(release)}};

    switch (happening) {
    case LEASE_HANGS_UP:
        s->device.lease = fd_close(s->device.lease);
        break;
    case PROCESS_DIES:
        tell(s, IOREGION_EVENT_EOF);
        client_close(&s->device);
        break;
    case CHANNEL_EOF:
        tell(s, IOREGION_EVENT_EOF);
        break;
    case DEADLINE_MISSED:
        tell(s, IOREGION_EVENT_DEADLINE);
        break;
    case VIOLATION:
        tell(s, IOREGION_EVENT_VIOLATION);
        break;
    case UNIT_RESTARTS:
        device_unit_restarts(find(s));
        break;
    case UNIT_ENDS:
        device_unit_ended(find(s));
        break;
    case ATTACH_AGAIN:
        start_attach(s, &s->again);
        vmm_answer(s->rig, &s->vmm, 0);
        assert_int_equal(s->again.outcome.error, 0);
        break;
    case GRACE_OVER:
        rig_wait(s->rig, grace_is_over, s);
        break;
    case DETACH:
        device_end(find(s), IOREGION_REVOKE_OPERATOR, "test", NULL, NULL);
        break;
    case RELEASE:
        client_send(&s->device, &release);
        break;
    case VM_ENDS:
        s->vmm.lease = fd_close(s->vmm.lease);
        break;
    }
    rig_pump(s->rig);
}

static int state_of(const struct scene *s) {
    const struct device *device = find(s);

    return device ? (int) device->state : GONE;
}

/* Has the channel been cut: does the dispatcher's end read end of file? */
static bool is_cut(const struct scene *s) {
    struct pollfd p = {.fd = s->dispatcher_fd};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

#define ONES IOREGION_ON_DISCONNECT_ONES
#define HOLD IOREGION_ON_DISCONNECT_HOLD
#define REMOVE IOREGION_ON_DISCONNECT_REMOVE
#define NOTHING (-1)

static const struct cell {
    enum ioregion_on_disconnect on_disconnect;
    int before; /* what happened to the attached device first, or NOTHING */
    enum happening then;
    int expected;
} table[] = {
    /* attached */
    {ONES, NOTHING, LEASE_HANGS_UP, DEVICE_FAILED},
    {HOLD, NOTHING, LEASE_HANGS_UP, DEVICE_HELD},
    {REMOVE, NOTHING, LEASE_HANGS_UP, GONE},
    {ONES, NOTHING, CHANNEL_EOF, DEVICE_FAILED},
    {HOLD, NOTHING, CHANNEL_EOF, DEVICE_HELD},
    {REMOVE, NOTHING, CHANNEL_EOF, GONE},
    {ONES, NOTHING, PROCESS_DIES, DEVICE_FAILED},
    {HOLD, NOTHING, PROCESS_DIES, DEVICE_HELD},
    {REMOVE, NOTHING, PROCESS_DIES, GONE},
    {ONES, NOTHING, DEADLINE_MISSED, DEVICE_FAILED},
    {HOLD, NOTHING, DEADLINE_MISSED, DEVICE_HELD},
    {REMOVE, NOTHING, DEADLINE_MISSED, DEVICE_FAILED},
    {ONES, NOTHING, VIOLATION, DEVICE_FAILED},
    {HOLD, NOTHING, VIOLATION, DEVICE_FAILED},
    {REMOVE, NOTHING, VIOLATION, DEVICE_FAILED},
    {ONES, NOTHING, UNIT_RESTARTS, DEVICE_FAILED},
    {HOLD, NOTHING, UNIT_RESTARTS, DEVICE_HELD},
    {REMOVE, NOTHING, UNIT_RESTARTS, GONE},
    {ONES, NOTHING, UNIT_ENDS, GONE},
    {HOLD, NOTHING, UNIT_ENDS, GONE},
    {ONES, NOTHING, ATTACH_AGAIN, DEVICE_ATTACHED},
    {HOLD, NOTHING, ATTACH_AGAIN, DEVICE_ATTACHED},
    {REMOVE, NOTHING, ATTACH_AGAIN, DEVICE_ATTACHED},
    {HOLD, NOTHING, DETACH, GONE},
    {HOLD, NOTHING, RELEASE, GONE},
    {HOLD, NOTHING, VM_ENDS, GONE},
    /* held */
    {HOLD, CHANNEL_EOF, LEASE_HANGS_UP, DEVICE_HELD},
    {HOLD, CHANNEL_EOF, DEADLINE_MISSED, DEVICE_HELD},
    {HOLD, CHANNEL_EOF, VIOLATION, DEVICE_HELD},
    {HOLD, CHANNEL_EOF, UNIT_RESTARTS, DEVICE_HELD},
    {HOLD, CHANNEL_EOF, UNIT_ENDS, GONE},
    {HOLD, UNIT_RESTARTS, ATTACH_AGAIN, DEVICE_ATTACHED},
    {HOLD, UNIT_RESTARTS, GRACE_OVER, DEVICE_FAILED},
    {HOLD, CHANNEL_EOF, ATTACH_AGAIN, DEVICE_ATTACHED},
    {HOLD, CHANNEL_EOF, GRACE_OVER, DEVICE_FAILED},
    {HOLD, CHANNEL_EOF, DETACH, GONE},
    {HOLD, CHANNEL_EOF, RELEASE, GONE},
    {HOLD, CHANNEL_EOF, VM_ENDS, GONE},
    {HOLD, LEASE_HANGS_UP, ATTACH_AGAIN, DEVICE_ATTACHED},
    {HOLD, LEASE_HANGS_UP, GRACE_OVER, DEVICE_FAILED},
    {HOLD, LEASE_HANGS_UP, DETACH, GONE},
    {HOLD, LEASE_HANGS_UP, CHANNEL_EOF, DEVICE_HELD}, /* the VMM sees the cut */
    /* failed */
    {ONES, DEADLINE_MISSED, LEASE_HANGS_UP, GONE},
    {ONES, DEADLINE_MISSED, CHANNEL_EOF, DEVICE_FAILED},
    {ONES, DEADLINE_MISSED, UNIT_RESTARTS, DEVICE_FAILED},
    {ONES, DEADLINE_MISSED, UNIT_ENDS, GONE},
    {ONES, LEASE_HANGS_UP, UNIT_ENDS, GONE},
    {ONES, UNIT_RESTARTS, ATTACH_AGAIN, DEVICE_ATTACHED},
    {ONES, DEADLINE_MISSED, ATTACH_AGAIN, DEVICE_ATTACHED},
    {ONES, DEADLINE_MISSED, DETACH, GONE},
    {ONES, DEADLINE_MISSED, RELEASE, GONE},
    {ONES, DEADLINE_MISSED, VM_ENDS, GONE},
    {HOLD, VIOLATION, LEASE_HANGS_UP, GONE},
    {HOLD, VIOLATION, ATTACH_AGAIN, DEVICE_ATTACHED},
    {ONES, CHANNEL_EOF, LEASE_HANGS_UP, DEVICE_FAILED}, /* the same disconnect, told twice */
    {ONES, LEASE_HANGS_UP, ATTACH_AGAIN, DEVICE_ATTACHED},
    {ONES, LEASE_HANGS_UP, CHANNEL_EOF, DEVICE_FAILED},
    {ONES, LEASE_HANGS_UP, DETACH, GONE},
    {ONES, LEASE_HANGS_UP, VM_ENDS, GONE},
    {ONES, PROCESS_DIES, ATTACH_AGAIN, DEVICE_ATTACHED},
};

static void every_cell(void **state) {
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct cell *cell = &table[i];
        struct scene s;

        set_up(&s, cell->on_disconnect);
        if (cell->before != NOTHING)
            make_happen(&s, (enum happening) cell->before);
        make_happen(&s, cell->then);
        if (state_of(&s) != cell->expected)
            fail_msg("row %zu: state %d, not %d", i, state_of(&s), cell->expected);
        assert_true(is_cut(&s)); /* whatever happened, the first channel does not serve any more */
        tear_down(&s);
    }
}

/* 49: what a device gets that was resumed elsewhere: REVOKE, the end of its lease, the end of its channel. */
static void the_old_process_is_told(void **state) {
    struct ioregion_lease_revoke revoke;
    struct scene s;

    set_up(&s, HOLD);
    make_happen(&s, ATTACH_AGAIN);
    assert_int_equal(client_receive(&s.device, &revoke, sizeof(revoke), NULL), IOREGION_LEASE_REVOKE);
    assert_int_equal(revoke.reason, IOREGION_REVOKE_RESUMED);
    assert_int_equal(client_receive(&s.device, &revoke, sizeof(revoke), NULL), -1);
    assert_int_equal(recv(s.device.channels[0], &revoke, sizeof(revoke), MSG_DONTWAIT), 0);
    assert_int_equal(s.rig->devices_added, 1);
    assert_int_equal(s.rig->devices_removed, 0);
    tear_down(&s);
}

/* A resume that the VMM refuses leaves the device as it was, and the next one may try. */
static void a_failed_resume_leaves_the_device(void **state) {
    struct scene s;

    set_up(&s, HOLD);
    make_happen(&s, LEASE_HANGS_UP);
    start_attach(&s, &s.again);
    vmm_answer(s.rig, &s.vmm, 5);
    assert_int_equal(s.again.outcome.kind, REFUSAL_NO_DISPATCHER);
    assert_int_equal(state_of(&s), DEVICE_HELD);
    client_close(&s.again);

    start_attach(&s, &s.again); /* hangs up before the VMM answers */
    client_close(&s.again);
    rig_pump(s.rig);
    assert_true(s.again.outcome.error < 0);
    assert_int_equal(state_of(&s), DEVICE_HELD);
    vmm_answer(s.rig, &s.vmm, 0);

    start_attach(&s, &s.again); /* the VM ends before the VMM answers */
    make_happen(&s, VM_ENDS);
    assert_int_equal(s.again.outcome.kind, REFUSAL_VM_GONE);
    tear_down(&s);
}

/* A process that is coming back is younger than the news that its unit ended. */
static void old_news_do_not_end_a_resume(void **state) {
    struct scene s;

    set_up(&s, HOLD);
    make_happen(&s, LEASE_HANGS_UP);
    start_attach(&s, &s.again);
    make_happen(&s, UNIT_ENDS);
    assert_int_equal(state_of(&s), DEVICE_HELD);
    vmm_answer(s.rig, &s.vmm, 0);
    assert_int_equal(s.again.outcome.error, 0);
    assert_int_equal(state_of(&s), DEVICE_ATTACHED);
    tear_down(&s);
}

/* The old process of a failed device dies while the new one is being resumed: that is no reason to turn that away. */
static void a_resume_outlives_the_old_lease(void **state) {
    struct scene s;

    for (int error = 0; error < 2; error++) {
        set_up(&s, ONES);
        make_happen(&s, DEADLINE_MISSED);
        start_attach(&s, &s.again);
        make_happen(&s, LEASE_HANGS_UP);
        assert_false(s.again.outcome.replied);
        vmm_answer(s.rig, &s.vmm, error);
        assert_int_equal(s.again.outcome.kind, error ? REFUSAL_NO_DISPATCHER : REFUSAL_NONE);
        assert_int_equal(state_of(&s), error ? DEVICE_FAILED : DEVICE_ATTACHED);
        tear_down(&s);
    }
}

/* A second attach while the first is under way, by the same owner. */
static void one_attach_at_a_time(void **state) {
    struct client second;
    struct scene s;

    set_up(&s, HOLD);
    start_attach(&s, &s.again);
    start_attach(&s, &second);
    assert_int_equal(second.outcome.kind, REFUSAL_BUSY);
    client_close(&second);
    tear_down(&s);
}

/* 50: a VMM that announces one loss after the other is not listened to for ever */
static void a_flood_of_events_ends_the_vm(void **state) {
    struct scene s;

    set_up(&s, HOLD);
    for (unsigned i = 0; i < 100; i++)
        tell(&s, IOREGION_EVENT_EOF);
    rig_pump(s.rig);
    assert_int_equal(s.rig->vms_removed, 1);
    tear_down(&s);
}

/* 50: a device that comes back and goes at once, again and again, is no flood of the VMM's, who tells of each loss. */
static void losses_of_resumes_are_no_flood(void **state) {
    struct scene s;

    set_up(&s, HOLD);
    make_happen(&s, LEASE_HANGS_UP);
    for (unsigned i = 0; i < 20; i++) {
        start_attach(&s, &s.again);
        client_close(&s.again);
        rig_pump(s.rig);
        assert_int_equal(s.again.outcome.error, -ECONNRESET);
        vmm_answer(s.rig, &s.vmm, 0);
        make_happen(&s, CHANNEL_EOF);
        assert_int_equal(s.rig->vms_removed, 0);
    }
    assert_int_equal(state_of(&s), DEVICE_HELD);
    tear_down(&s);
}

/* What a device is that was lost for good, and whose next process hangs up before it is granted anything. */
static void lost_again(enum ioregion_on_disconnect on_disconnect, enum happening loss, bool granting, int expected) {
    struct scene s;

    set_up(&s, on_disconnect);
    make_happen(&s, loss);
    assert_int_equal(state_of(&s), DEVICE_FAILED);
    start_attach(&s, &s.again);
    if (granting) { /* the lease takes no GRANT, which shows when that is sent */
        shutdown(s.again.lease, SHUT_RD);
        vmm_answer(s.rig, &s.vmm, 0);
    } else {
        client_close(&s.again);
        rig_pump(s.rig);
    }
    assert_true(s.again.outcome.error < 0);
    assert_int_equal(state_of(&s), expected);
    tear_down(&s);
}

static void a_resume_that_hangs_up_is_a_loss(void **state) {
    for (int granting = 0; granting < 2; granting++) {
        lost_again(ONES, DEADLINE_MISSED, granting, DEVICE_FAILED);
        lost_again(HOLD, VIOLATION, granting, DEVICE_HELD);
        lost_again(REMOVE, DEADLINE_MISSED, granting, GONE);
    }
}

static void on_statistics(void *userdata, int error, const struct ioregion_lease_stats_reply *stats) {
    *(int64_t *) userdata = error < 0 ? error : (int64_t) stats->reads;
}

/* Statistics come from the dispatcher; a VM that ends while it is asked says so. */
static void statistics_are_asked_for(void **state) {
    struct ioregion_lease_stats_reply reply = {{IOREGION_LEASE_STATS_REPLY, sizeof(reply)}};
    struct ioregion_lease_stats question;
    int64_t result = 0;
    struct scene s;

    set_up(&s, HOLD);
    assert_int_equal(region_statistics(&find(&s)->regions[0], on_statistics, &result), 0);
    assert_int_equal(client_receive(&s.vmm, &question, sizeof(question), NULL), IOREGION_LEASE_STATS);
    reply.serial = question.serial;
    reply.region = question.region;
    reply.reads = 42;
    client_send(&s.vmm, &reply);
    rig_pump(s.rig);
    assert_int_equal(result, 42);

    assert_int_equal(region_statistics(&find(&s)->regions[0], on_statistics, &result), 0);
    make_happen(&s, VM_ENDS);
    assert_true(result < 0);
    tear_down(&s);
}

/* 56: a reload keeps grants that it would not give, or revokes them */
static void a_reload_keeps_or_revokes(void **state) {
    static const char nothing[] = "{ \"version\": 1 }";
    struct ioregion_lease_revoke revoke;
    size_t kept, revoked;
    struct policy *policy;
    char *error = NULL;
    struct scene s;

    set_up(&s, HOLD);
    assert_int_equal(policy_load_text("n", nothing, sizeof(nothing) - 1, NULL, &policy, &error), 0);
    assert_int_equal(broker_set_policy(s.rig->broker, policy, false, &kept, &revoked), 0);
    assert_int_equal(kept, 1); /* the VM, and with it its devices */
    assert_int_equal(revoked, 0);
    assert_int_equal(state_of(&s), DEVICE_ATTACHED);
    assert_int_equal(s.rig->broker->policy_generation, 2);

    assert_int_equal(policy_load_text("n", nothing, sizeof(nothing) - 1, NULL, &policy, &error), 0);
    assert_int_equal(broker_set_policy(s.rig->broker, policy, true, &kept, &revoked), 0);
    assert_int_equal(revoked, 1);
    assert_int_equal(state_of(&s), GONE);
    assert_int_equal(client_receive(&s.vmm, &revoke, sizeof(revoke), NULL), IOREGION_LEASE_REVOKE);
    assert_int_equal(revoke.reason, IOREGION_REVOKE_POLICY);
    tear_down(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(the_old_process_is_told),
        cmocka_unit_test(a_failed_resume_leaves_the_device),
        cmocka_unit_test(old_news_do_not_end_a_resume),
        cmocka_unit_test(a_resume_outlives_the_old_lease),
        cmocka_unit_test(one_attach_at_a_time),
        cmocka_unit_test(a_flood_of_events_ends_the_vm),
        cmocka_unit_test(losses_of_resumes_are_no_flood),
        cmocka_unit_test(a_resume_that_hangs_up_is_a_loss),
        cmocka_unit_test(statistics_are_asked_for),
        cmocka_unit_test(a_reload_keeps_or_revokes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
