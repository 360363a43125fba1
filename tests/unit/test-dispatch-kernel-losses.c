/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The kernel dispatcher: devices that are cut off, lost and replaced, and a broker that takes over from another. */

#include "dispatch-kernel-rig.h"

/* Both regions of a channel lose their device, and get it back. */
static void cut_and_swap(enum ioregion_on_disconnect on_disconnect) {
    struct ioregion_lease_region_add first = plain, second = plain;
    struct channel_ends ends, next;
    struct rig rig;

    start(&rig);
    ends = make_channel(&rig);
    first.on_disconnect = second.on_disconnect = on_disconnect;
    first.grace_usec = second.grace_usec = 1000000;
    second.region = 8;
    second.space = IOREGION_PIO;
    second.base = 0x300;
    second.user_data = 2;
    assert_int_equal(add(&rig, first, &ends), 0);
    assert_int_equal(add(&rig, second, &ends), 0);
    rig.dispatcher->type->cut(rig.dispatcher, 99, -1);
    assert_false(has_ended(ends.device));
    rig.dispatcher->type->cut(rig.dispatcher, plain.channel, -1);
    assert_true(has_ended(ends.device));
    next = make_channel(&rig);
    assert_int_equal(swap(&rig, plain.channel, &next), 0);
    pump(&rig);
    assert_int_equal(rig.events, 0); /* the loss is no news any more */
    channel_ends_close(&ends);
    channel_ends_close(&next);
    pump(&rig);
    assert_int_equal(rig.events, 1); /* for both */
    assert_int_equal(rig.region, first.region);
    assert_int_equal(rig.what, IOREGION_EVENT_EOF);
    end(&rig);
}

static void test_cut_and_swap(void **state) {
    cut_and_swap(IOREGION_ON_DISCONNECT_ONES);
    cut_and_swap(IOREGION_ON_DISCONNECT_HOLD);
    cut_and_swap(IOREGION_ON_DISCONNECT_REMOVE);
}

static void test_swap_half_way(void **state) {
    struct ioregion_lease_region_add second = plain;
    struct channel_ends ends, next;
    struct rig rig;

    start(&rig);
    ends = make_channel(&rig);
    next = make_channel(&rig);
    second.region = 8;
    second.base += second.size;
    second.user_data++;
    assert_int_equal(add(&rig, plain, &ends), 0);
    assert_int_equal(add(&rig, second, &ends), 0);
    fail_ioctl(KVM_SET_IOREGION, 2, ENOMEM);
    assert_int_equal(swap(&rig, plain.channel, &next), -ENOMEM);
    assert_int_equal(swap(&rig, plain.channel, &next), 0); /* tried again */
    assert_true(has_ended(ends.device));
    assert_false(has_ended(next.device));
    channel_ends_close(&ends);
    channel_ends_close(&next);
    end(&rig);
}

static void test_events(void **state) {
    uint8_t nonsense[32] = {0};
    struct channel_ends ends;
    struct rig rig;

    start(&rig);
    ends = make_channel(&rig);
    assert_int_equal(add(&rig, plain, &ends), 0);
    assert_int_equal(write(ends.device, nonsense, sizeof(nonsense)), -1);
    assert_int_equal(errno, EPROTO);
    pump(&rig);
    assert_int_equal(rig.events, 1);
    assert_int_equal(rig.region, plain.region);
    assert_int_equal(rig.what, IOREGION_EVENT_VIOLATION);
    channel_ends_close(&ends);
    pump(&rig);
    assert_int_equal(rig.events, 1); /* once a loss */
    end(&rig);
}

/* Another process goes on with the handle, and with what it was told that the module has. */
static void test_taken_over(void **state) {
    struct ioregion_lease_region_add half = {.region = 8, .base = BASE + 16, .size = 16}; /* nobody's: where it is */
    struct ioregion_lease_region_add other = plain;
    struct channel_ends ends, fresh;
    int kept[DISPATCHER_FDS_MAX], handle;
    struct rig rig;

    start(&rig);
    ends = make_channel(&rig);
    assert_int_equal(add(&rig, plain, &ends), 0);
    other.region = half.region;
    other.base = half.base;
    other.user_data++;
    assert_int_equal(add(&rig, other, &ends), 0);
    assert_int_equal(rig.dispatcher->type->descriptors(rig.dispatcher, kept), 2);
    handle = fcntl(kept[0], F_DUPFD_CLOEXEC, 3);
    rig.dispatcher = dispatcher_free(rig.dispatcher);
    assert_false(has_ended(ends.device));

    assert_return_code(dispatch_kernel_resume(&rig.dispatcher, rig.event, handle, NULL, on_event, on_gone, &rig), 0);
    assert_int_equal(rig.dispatcher->type->descriptors(rig.dispatcher, kept), 1);
    assert_int_equal(remove_region(&rig, 7), -ENOENT); /* it was not told yet */
    assert_return_code(rig.dispatcher->type->restore(rig.dispatcher, &plain), 0);
    assert_return_code(rig.dispatcher->type->restore(rig.dispatcher, &half), 0);
    assert_int_equal(remove_region(&rig, 8), 0);
    fresh = make_channel(&rig);
    assert_int_equal(swap(&rig, plain.channel, &fresh), 0);
    assert_true(has_ended(ends.device));
    rig.dispatcher->type->cut(rig.dispatcher, plain.channel, -1);
    assert_true(has_ended(fresh.device));
    assert_int_equal(remove_region(&rig, 7), 0);
    channel_ends_close(&ends);
    channel_ends_close(&fresh);
    end(&rig);
}

/* A process reads of a loss, and dies of something else before it wrote that down. */
static void test_52_a_loss_that_was_read(void **state) {
    struct ioregion_lease_region_add other = plain, nowhere = {.region = 9, .base = BASE + 64, .size = 4, .channel = 9};
    struct channel_ends good, bad;
    uint8_t nonsense[32] = {0};
    int kept[DISPATCHER_FDS_MAX], handle;
    struct ioregionfd_event event;
    struct rig rig;

    start(&rig);
    good = make_channel(&rig);
    bad = make_channel(&rig);
    assert_int_equal(add(&rig, plain, &good), 0);
    other.region++;
    other.channel++;
    other.base += 16;
    assert_int_equal(add(&rig, other, &bad), 0);
    assert_int_equal(write(bad.device, nonsense, sizeof(nonsense)), -1);
    rig.dispatcher->type->descriptors(rig.dispatcher, kept);
    handle = fcntl(kept[0], F_DUPFD_CLOEXEC, 3);
    assert_int_equal(read(handle, &event, sizeof(event)), sizeof(event));
    rig.dispatcher = dispatcher_free(rig.dispatcher);

    assert_return_code(dispatch_kernel_resume(&rig.dispatcher, rig.event, handle, NULL, on_event, on_gone, &rig), 0);
    assert_return_code(rig.dispatcher->type->restore(rig.dispatcher, &plain), 0);
    assert_return_code(rig.dispatcher->type->restore(rig.dispatcher, &other), 0);
    assert_return_code(rig.dispatcher->type->restore(rig.dispatcher, &nowhere), 0);
    pump(&rig);
    assert_int_equal(rig.events, 0);
    assert_int_equal(rig.dispatcher->type->lost(rig.dispatcher, plain.channel, -1), 0);
    assert_int_equal(rig.dispatcher->type->lost(rig.dispatcher, other.channel, -1), IOREGION_EVENT_VIOLATION);
    assert_int_equal(rig.dispatcher->type->lost(rig.dispatcher, nowhere.channel, -1), IOREGION_EVENT_EOF);
    channel_ends_close(&good);
    channel_ends_close(&bad);
    end(&rig);
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_and_swap),
        cmocka_unit_test(test_swap_half_way),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_taken_over),
        cmocka_unit_test(test_52_a_loss_that_was_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return run_where_the_module_is(run);
}
