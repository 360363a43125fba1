/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The kernel dispatcher: whose VM, what a VMM may say, adding and removing regions. */

#include "dispatch-kernel-rig.h"

static void test_16_binding(void **state) {
    struct rig rig;
    pid_t child;

    start_unbound(&rig);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    assert_int_equal(bind_vm(&rig, sd_event_get_fd(rig.event), getpid(), true), -EINVAL);
    assert_int_equal(bind_vm(&rig, 9999, getpid(), true), -EBADF);
    assert_int_equal(bind_vm(&rig, rig.vm, child, true), -EPERM); /* 53: another process's VM */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(bind_vm(&rig, rig.vm, child, true), -ESRCH);
    fail_ioctl(IOREGIONFD_BIND_VM, 1, ENOMEM);
    assert_int_equal(bind_vm(&rig, rig.vm, getpid(), true), -ENOMEM);
    fail_ioctl(IOREGIONFD_GET_INFO, 1, ENOTTY);
    assert_int_equal(bind_vm(&rig, rig.vm, getpid(), true), -EPROTONOSUPPORT);
    assert_null(rig.leases.root); /* each time the lease was taken */
    assert_return_code(bind_vm(&rig, rig.vm, getpid(), true), 0);
    end(&rig);
}

static void test_bound_once(void **state) {
    struct dispatcher *second = NULL;
    struct rig rig;

    start(&rig);
    assert_int_equal(
        dispatch_kernel_new(&second, rig.event, rig.vm, getpid(), make_lease(&rig), true, on_event, on_gone, NULL),
        -EBUSY);
    assert_null(second);
    end(&rig);
}

static void test_57_the_vm_ends(void **state) {
    struct rig rig;

    start(&rig);
    pump(&rig);
    assert_int_equal(rig.gone, 0);
    close(rig.vm); /* the last descriptor: the handle is none */
    pump(&rig);
    assert_int_equal(rig.gone, 1);
    rig.vm = -1;
    end(&rig);
}

static void test_the_lease_ends(void **state) {
    struct rig rig;

    start(&rig);
    close(rig.client);
    rig.client = -1;
    pump(&rig);
    assert_int_equal(rig.gone, 1);
    end(&rig);
}

static void test_the_vmm_says_too_much(void **state) {
    const struct ioregion_lease_ack ack = {.header = {IOREGION_LEASE_ACK, sizeof(ack)}, .serial = 1};
    struct rig rig;

    start(&rig);
    assert_int_equal(send(rig.client, &ack, sizeof(ack), 0), sizeof(ack));
    pump(&rig);
    assert_int_equal(rig.gone, 1);
    end(&rig);
}

/* An adopted VM's lease is there for the GRANT alone. */
static void test_grant_and_no_lease(void **state) {
    struct ioregion_lease_grant grant;
    struct rig rig;

    start_unbound(&rig);
    assert_return_code(bind_vm(&rig, rig.vm, getpid(), false), 0);
    assert_return_code(rig.dispatcher->type->grant(rig.dispatcher, IOREGION_FEATURE_REPLAY), 0);
    assert_int_equal(recv(rig.client, &grant, sizeof(grant), MSG_DONTWAIT), sizeof(grant));
    assert_int_equal(grant.header.type, IOREGION_LEASE_GRANT);
    assert_int_equal(grant.features, IOREGION_FEATURE_REPLAY);
    assert_int_equal(recv(rig.client, &grant, sizeof(grant), MSG_DONTWAIT), 0);
    pump(&rig);
    assert_int_equal(rig.gone, 0);
    rig.dispatcher->type->revoke(rig.dispatcher, IOREGION_REVOKE_OPERATOR); /* there is nobody to tell */
    end(&rig);
}

static void test_revoke_is_told(void **state) {
    struct ioregion_lease_revoke revoke;
    struct rig rig;

    start(&rig);
    rig.dispatcher->type->revoke(rig.dispatcher, IOREGION_REVOKE_OPERATOR);
    assert_int_equal(recv(rig.client, &revoke, sizeof(revoke), MSG_DONTWAIT), sizeof(revoke));
    assert_int_equal(revoke.reason, IOREGION_REVOKE_OPERATOR);
    end(&rig);
}

static void test_add_remove(void **state) {
    struct ioregion_lease_region_add other = plain;
    struct answer answer = {0};
    struct channel_ends ends;
    struct rig rig;

    start(&rig);
    ends = make_channel(&rig);
    assert_int_equal(add(&rig, plain, &ends), 0);
    other.region = 8;
    other.user_data++;
    assert_int_equal(add(&rig, other, &ends), -EEXIST);
    other.base += other.size;
    assert_int_equal(add(&rig, other, &ends), 0);
    assert_return_code(rig.dispatcher->type->stats(rig.dispatcher, 8, on_done, &answer), 0);
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.stats.region, 8);
    assert_int_equal(remove_region(&rig, 7), 0);
    assert_int_equal(remove_region(&rig, 7), -ENOENT);
    assert_false(has_ended(ends.device));
    assert_int_equal(remove_region(&rig, 8), 0);
    assert_true(has_ended(ends.device));
    /* as the lease has it: all zero for a region that is not there */
    assert_return_code(rig.dispatcher->type->stats(rig.dispatcher, 8, on_done, &answer), 0);
    assert_int_equal(answer.count, 2);
    assert_return_code(rig.dispatcher->type->remove(rig.dispatcher, 8, NULL, NULL), 0);
    channel_ends_close(&ends);
    end(&rig);
}

static void test_ioctls_that_fail(void **state) {
    struct channel_ends ends, none = CHANNEL_ENDS_INIT;
    struct answer answer = {0};
    struct rig rig;

    start(&rig);
    fail_ioctl(KVM_CREATE_IOREGIONFD, 1, EMFILE);
    assert_int_equal(rig.dispatcher->type->make_channel(rig.dispatcher, &none), -EMFILE);
    assert_int_equal(none.device, -1);
    ends = make_channel(&rig);
    fail_ioctl(KVM_SET_IOREGION, 1, ENOMEM);
    assert_int_equal(add(&rig, plain, &ends), -ENOMEM);
    assert_int_equal(remove_region(&rig, plain.region), -ENOENT);
    assert_int_equal(add(&rig, plain, &ends), 0);
    fail_ioctl(IOREGIONFD_GET_STATS, 1, ENOENT);
    assert_int_equal(rig.dispatcher->type->stats(rig.dispatcher, plain.region, on_done, &answer), -ENOENT);
    assert_int_equal(answer.count, 0);
    channel_ends_close(&ends);
    end(&rig);
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_16_binding),
        cmocka_unit_test(test_bound_once),
        cmocka_unit_test(test_57_the_vm_ends),
        cmocka_unit_test(test_the_lease_ends),
        cmocka_unit_test(test_the_vmm_says_too_much),
        cmocka_unit_test(test_grant_and_no_lease),
        cmocka_unit_test(test_revoke_is_told),
        cmocka_unit_test(test_add_remove),
        cmocka_unit_test(test_ioctls_that_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return run_where_the_module_is(run);
}
