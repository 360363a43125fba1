/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which unit a client runs in, said by a service manager that the test plays: late, never, wrong, or not there. */

#include <string.h>

#include "played-manager.h"

/* Questions can't be taken back, so those who prove nothing cause none. */
static void it_is_asked_about_who_is_proven(void **state) {
    struct rig *rig = rig_with_manager();
    struct client client;

    client_register(rig, &client, "vm");
    assert_null(manager.question);
    client_prove(rig, &client);
    assert_int_equal(manager.question->pid, getpid());
    assert_false(client.outcome.replied);
    tell(0, "vm.service");
    assert_int_equal(client.outcome.error, 0);
    assert_int_equal(manager.asked, 1);
    client_close(&client);
    rig_end(rig);
}

/* Another unit, and none, which is not what the cgroup says but what the manager does. */
static void its_word_counts(void **state) {
    struct rig *rig = rig_with_manager();
    struct client client;

    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    tell(0, "other.service");
    expect_refusal(&client, REFUSAL_POLICY_DENIED, "other.service");
    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    tell(0, NULL);
    expect_refusal(&client, REFUSAL_POLICY_DENIED, "");
    rig_end(rig);
}

static void what_it_does_not_say_is_not_none(void **state) {
    struct rig *rig = rig_with_manager();
    struct client client;

    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    tell(-EIO, "too tired");
    expect_refusal(&client, REFUSAL_BUSY, "too tired");
    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    tell(-EIO, NULL);
    expect_refusal(&client, REFUSAL_BUSY, "does not say");

    manager.refuses = -ENOTCONN;
    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    assert_true(client.outcome.replied);
    assert_int_equal(client.outcome.error, -ENOTCONN);
    client_close(&client);
    rig_end(rig);
}

static void it_never_answers(void **state) {
    struct rig *rig = rig_with_manager();
    struct client client;

    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    rig_wait(rig, has_replied, &client);
    expect_refusal(&client, REFUSAL_BUSY, "no answer within 1 s");
    rig_end(rig);
}

/* Told so, or known before: then the cgroup counts, as it does where there is no manager at all. */
static void it_is_not_there(void **state) {
    struct rig *rig = rig_with_manager(), *without = rig_new(by_unit);
    struct client client, other;

    for (unsigned i = 0; i < 2; i++) {
        manager.refuses = i ? -ENXIO : 0;
        client_register(rig, &client, "vm");
        client_prove(rig, &client);
        if (!i)
            tell(-ENXIO, NULL);
        client_register(without, &other, "vm");
        client_prove(without, &other);
        expect_refusal(&client, REFUSAL_POLICY_DENIED, "");
        assert_string_equal(client.outcome.text, other.outcome.text);
        client_close(&other);
    }
    rig_free(without);
    rig_end(rig);
}

/* 54: nobody waits for the answer any more; but until it is there, that is one of the few proofs of the user */
static void the_client_leaves(void **state) {
    struct rig *rig = rig_with_manager();
    struct client client;
    unsigned before;

    client_register(rig, &client, "vm"); /* the event loop opens what it needs */
    client_prove(rig, &client);
    admission_cancel(client.admission);
    client_close(&client);
    before = count_fds();

    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    client_close(&client);
    rig_pump(rig);
    assert_false(client.outcome.replied);
    assert_non_null(rig->broker->proofs.pending);
    tell(0, "vm.service");
    assert_null(rig->broker->proofs.pending);
    expect_refusal(&client, REFUSAL_IDENTITY_UNPROVEN, "lease ended");
    assert_int_equal(count_fds(), before);

    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    admission_cancel(client.admission);
    assert_null(manager.question);
    client_close(&client);
    assert_int_equal(count_fds(), before);

    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    rig_free(rig); /* the broker ends first */
    assert_null(manager.question);
    expect_refusal(&client, REFUSAL_BUSY, "going down");
}

/* 15: at every step. True if it came to the fault. */
static bool run_out(struct rig *rig, unsigned nth) {
    struct client client;

    fail_allocation(nth);
    client_register(rig, &client, "vm");
    client_prove(rig, &client);
    if (manager.question)
        tell(0, "vm.service");
    assert_true(client.outcome.replied);
    assert_null(manager.question);
    return end_fault(rig, &client);
}

static void memory_runs_out(void **state) {
    unsigned nth = 0, before;
    bool reached;

    do {
        struct rig *rig = rig_with_manager();

        run_out(rig, 0); /* the event loop opens what it needs */
        before = count_fds();
        reached = run_out(rig, ++nth);
        assert_int_equal(count_fds(), before);
        rig_end(rig);
    } while (reached);
    assert_true(nth > 10); /* there was something to fail */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_asked_about_who_is_proven),
        cmocka_unit_test(its_word_counts),
        cmocka_unit_test(what_it_does_not_say_is_not_none),
        cmocka_unit_test(it_never_answers),
        cmocka_unit_test(it_is_not_there),
        cmocka_unit_test(the_client_leaves),
        cmocka_unit_test(memory_runs_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
