/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TESTS_DISPATCH_KERNEL_RIG_H
#define TESTS_DISPATCH_KERNEL_RIG_H

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

static inline void fail_ioctl(unsigned long request, unsigned nth, int error) {
    failing = request;
    countdown = nth;
    failure = error;
}

static inline void on_event(void *userdata, uint64_t region, enum ioregion_lease_event_what what) {
    struct rig *rig = userdata;

    rig->region = region;
    rig->what = what;
    rig->events++;
}

static inline void on_gone(void *userdata) {
    struct rig *rig = userdata;

    rig->gone++;
    rig->dispatcher = dispatcher_free(rig->dispatcher);
}

static inline struct lease *make_lease(struct rig *rig) {
    struct refusal refusal;
    struct lease *lease;
    int pair[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), errno);
    assert_return_code(lease_new(&lease, &rig->leases, rig->event, pair[1], &refusal), 0);
    close(rig->client);
    rig->client = pair[0];
    return lease;
}

static inline int bind_vm(struct rig *rig, int vm, pid_t pid, bool keep_lease) {
    return dispatch_kernel_new(&rig->dispatcher, rig->event, vm, pid, make_lease(rig), keep_lease, on_event, on_gone,
                               rig);
}

/* Without a dispatcher yet. */
static inline void start_unbound(struct rig *rig) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    assert_return_code(kvm, errno);
    *rig = (struct rig){.client = -1};
    rig->vm = ioctl(kvm, KVM_CREATE_VM, NULL);
    assert_return_code(rig->vm, errno);
    close(kvm);
    assert_return_code(sd_event_new(&rig->event), 0);
}

static inline void start(struct rig *rig) {
    start_unbound(rig);
    assert_return_code(bind_vm(rig, rig->vm, getpid(), true), 0);
}

static inline void pump(struct rig *rig) {
    while (sd_event_run(rig->event, 0) > 0)
        ;
}

static inline void end(struct rig *rig) {
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

static inline void on_done(void *userdata, int error, const struct ioregion_lease_stats_reply *stats) {
    struct answer *answer = userdata;

    answer->count++;
    answer->error = error;
    if (stats)
        answer->stats = *stats;
}

static const struct ioregion_lease_region_add plain = {
    .region = 7, .base = BASE, .size = 16, .user_data = 1, .timeout_usec = 1000000, .channel = 3};

static inline struct channel_ends make_channel(struct rig *rig) {
    struct channel_ends ends = CHANNEL_ENDS_INIT;

    assert_return_code(rig->dispatcher->type->make_channel(rig->dispatcher, &ends), 0);
    assert_int_equal(ends.dispatcher, -1);
    assert_true(ends.device >= 0);
    return ends;
}

static inline int add(struct rig *rig, struct ioregion_lease_region_add region, const struct channel_ends *ends) {
    struct answer answer = {0};

    assert_return_code(rig->dispatcher->type->add(rig->dispatcher, &region, ends, true, on_done, &answer), 0);
    assert_int_equal(answer.count, 1);
    return answer.error;
}

static inline int swap(struct rig *rig, uint32_t channel, const struct channel_ends *ends) {
    struct answer answer = {0};

    assert_return_code(rig->dispatcher->type->swap(rig->dispatcher, channel, ends, on_done, &answer), 0);
    assert_int_equal(answer.count, 1);
    return answer.error;
}

static inline int remove_region(struct rig *rig, uint64_t id) {
    struct answer answer = {0};

    assert_return_code(rig->dispatcher->type->remove(rig->dispatcher, id, on_done, &answer), 0);
    assert_int_equal(answer.count, 1);
    return answer.error;
}

static inline bool has_ended(int device) {
    struct ioregionfd_cmd command;
    int flags = fcntl(device, F_GETFL);

    fcntl(device, F_SETFL, flags | O_NONBLOCK);
    return read(device, &command, sizeof(command)) == 0;
}

/* These tests; or why there are none. */
static inline int run_where_the_module_is(int (*run)(void)) {
    if (dispatch_kernel_available() && access("/dev/kvm", R_OK | W_OK) == 0)
        return run();
    puts("there is no /dev/ioregionfd here, or no /dev/kvm: the module's rig has both");
    return 77;
}

#endif
