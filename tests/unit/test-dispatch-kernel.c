/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The broker's end of the kernel dispatcher, with the module itself: where there is no /dev/ioregionfd, nothing is
 * tested. The module's rig runs this. What never fails by itself is made to, through the linker (--wrap=ioctl).
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <ioregion/ioregionfd.h>
#include <ioregion/wire.h>
#include "daemon/dispatch-kernel.h"

#define BASE UINT64_C(0xd0000000)

/* One VM without a vCPU, and what its dispatcher told. */
struct rig {
    sd_event *event;
    struct lease_set leases;
    int vm, client; /* the VMM's ends: of KVM, of the lease */
    struct dispatcher *dispatcher;
    uint64_t region; /* of the last event */
    enum ioregion_lease_event_what what;
    unsigned events, gone;
};

int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument);

static unsigned long failing; /* this request, when it comes for the last of so many times */
static unsigned countdown;
static int failure;

int __wrap_ioctl(int fd, unsigned long request, void *argument) {
    if (request == failing && countdown > 0 && --countdown == 0) {
        errno = failure;
        return -1;
    }
    return __real_ioctl(fd, request, argument);
}

static void fail_ioctl(unsigned long request, unsigned nth, int error) {
    failing = request;
    countdown = nth;
    failure = error;
}

static void on_event(void *userdata, uint64_t region, enum ioregion_lease_event_what what) {
    struct rig *rig = userdata;

    rig->region = region;
    rig->what = what;
    rig->events++;
}

static void on_gone(void *userdata) {
    struct rig *rig = userdata;

    rig->gone++;
    rig->dispatcher = dispatcher_free(rig->dispatcher);
}

static struct lease *make_lease(struct rig *rig) {
    struct refusal refusal;
    struct lease *lease;
    int pair[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), errno);
    assert_return_code(lease_new(&lease, &rig->leases, rig->event, pair[1], &refusal), 0);
    close(rig->client);
    rig->client = pair[0];
    return lease;
}

static int bind_vm(struct rig *rig, int vm, pid_t pid, bool keep_lease) {
    return dispatch_kernel_new(&rig->dispatcher, rig->event, vm, pid, make_lease(rig), keep_lease, on_event, on_gone,
                               rig);
}

/* Without a dispatcher yet. */
static void start_unbound(struct rig *rig) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    assert_return_code(kvm, errno);
    *rig = (struct rig){.client = -1};
    rig->vm = ioctl(kvm, KVM_CREATE_VM, NULL);
    assert_return_code(rig->vm, errno);
    close(kvm);
    assert_return_code(sd_event_new(&rig->event), 0);
}

static void start(struct rig *rig) {
    start_unbound(rig);
    assert_return_code(bind_vm(rig, rig->vm, getpid(), true), 0);
}

static void pump(struct rig *rig) {
    while (sd_event_run(rig->event, 0) > 0)
        ;
}

static void end(struct rig *rig) {
    pump(rig);
    dispatcher_free(rig->dispatcher);
    assert_null(rig->leases.root);
    close(rig->client);
    close(rig->vm);
    sd_event_unref(rig->event);
}

/* What a request was answered with; within the call, always. */
struct answer {
    unsigned count;
    int error;
    struct ioregion_lease_stats_reply stats;
};

static void on_done(void *userdata, int error, const struct ioregion_lease_stats_reply *stats) {
    struct answer *answer = userdata;

    answer->count++;
    answer->error = error;
    if (stats)
        answer->stats = *stats;
}

static const struct ioregion_lease_region_add plain = {
    .region = 7, .base = BASE, .size = 16, .user_data = 1, .timeout_usec = 1000000, .channel = 3};

static struct channel_ends make_channel(struct rig *rig) {
    struct channel_ends ends = CHANNEL_ENDS_INIT;

    assert_return_code(rig->dispatcher->type->make_channel(rig->dispatcher, &ends), 0);
    assert_int_equal(ends.dispatcher, -1);
    assert_true(ends.device >= 0);
    return ends;
}

static int add(struct rig *rig, struct ioregion_lease_region_add region, const struct channel_ends *ends) {
    struct answer answer = {0};

    assert_return_code(rig->dispatcher->type->add(rig->dispatcher, &region, ends, true, on_done, &answer), 0);
    assert_int_equal(answer.count, 1);
    return answer.error;
}

static int swap(struct rig *rig, uint32_t channel, const struct channel_ends *ends) {
    struct answer answer = {0};

    assert_return_code(rig->dispatcher->type->swap(rig->dispatcher, channel, ends, on_done, &answer), 0);
    assert_int_equal(answer.count, 1);
    return answer.error;
}

static int remove_region(struct rig *rig, uint64_t id) {
    struct answer answer = {0};

    assert_return_code(rig->dispatcher->type->remove(rig->dispatcher, id, on_done, &answer), 0);
    assert_int_equal(answer.count, 1);
    return answer.error;
}

static bool has_ended(int device) {
    struct ioregionfd_cmd command;
    int flags = fcntl(device, F_GETFL);

    fcntl(device, F_SETFL, flags | O_NONBLOCK);
    return read(device, &command, sizeof(command)) == 0;
}

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

int main(void) {
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
        cmocka_unit_test(test_cut_and_swap),
        cmocka_unit_test(test_swap_half_way),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_taken_over),
        cmocka_unit_test(test_52_a_loss_that_was_read),
    };

    if (!dispatch_kernel_available() || access("/dev/kvm", R_OK | W_OK) < 0) {
        puts("there is no /dev/ioregionfd here, or no /dev/kvm: the module's rig has both");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
