/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * An allocation of an ioctl fails, one after the other (15): ENOMEM, and all is as before. Takes a kernel with
 * FAULT_INJECTION and FAILSLAB.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "module.h"
#include "tap.h"
#include "vm.h"

static int fail_nth = -1;

static void write_to(const char *path, const char *value) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    REQUIRE(fd >= 0);
    REQUIRE(write(fd, value, 1) == 1);
    close(fd);
}

/* Let it fail without a word, also where a caller could wait for memory. */
static void prepare(void) {
    fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
    if (fail_nth < 0)
        tap_skip();
    write_to("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
    write_to("/sys/kernel/debug/failslab/verbose", "0");
}

/* This task's @nth allocation from now on; 0: none. */
static void fail(unsigned nth) {
    char text[16];
    int n = snprintf(text, sizeof(text), "%u", nth);

    REQUIRE(pwrite(fail_nth, text, (size_t) n, 0) == n);
}

static bool has_failed(void) {
    char text[16] = "";

    REQUIRE(pread(fail_nth, text, sizeof(text) - 1, 0) > 0);
    return atoi(text) == 0;
}

struct ioctl_call {
    const char *name;
    int (*call)(struct vm *vm);
    void (*undo)(struct vm *vm, int result);
};

/* One call with this allocation failing: did it come to that? EBUSY, EAGAIN: the VM has not settled since the last. */
static bool call_failing(const struct ioctl_call *c, struct vm *vm, unsigned nth, unsigned *failures) {
    bool failed;
    int r;

    do {
        fail(nth);
        r = c->call(vm);
        failed = has_failed();
        fail(0);
    } while (r == -EBUSY || r == -EAGAIN);
    if (r >= 0)
        c->undo(vm, r);
    else
        CHECK_EQ(r, -ENOMEM);
    CHECK(failed || r >= 0);
    *failures += r == -ENOMEM;
    return failed;
}

/*
 * One allocation after the other, one a call. The kernel's own checkers allocate as well, can do without, and do not at
 * every call: hence several times.
 */
static void fail_each(const struct ioctl_call *c, struct vm *vm) {
    unsigned failures = 0;

    for (unsigned pass = 0; pass < 5; pass++)
        for (unsigned nth = 1; call_failing(c, vm, nth, &failures); nth++)
            ;
    printf("# %s failed %u times\n", c->name, failures);
    CHECK(failures > 5);
}

static int call_create(struct vm *vm) {
    int fd = ioctl(ioregionfd_node, KVM_CREATE_IOREGIONFD, 0);

    return fd < 0 ? -errno : fd;
}

static void undo_by_close(struct vm *vm, int fd) {
    CHECK_EQ(close(fd), 0);
}

static int call_bind(struct vm *vm) {
    return vm_bind(vm->fd, getpid());
}

static int call_set(struct vm *vm) {
    return region_set(vm->handle, region_at(VM_MMIO, 16, 1, vm->userdata, 0));
}

/* A channel that has lost its last region is of no more use. */
static void undo_set(struct vm *vm, int result) {
    CHECK_EQ(vm_read(vm, READ8, 0x10), VMM_ANSWER);
    CHECK_EQ(region_del(vm->handle, region_at(VM_MMIO, 16, 1, -1, 0)), 0);
    close(vm->userdata);
    vm->userdata = channel_new(0);
}

static void memory_runs_out(void) {
    const struct ioctl_call create = {"create", call_create, undo_by_close}, bind = {"bind", call_bind, undo_by_close},
                            set = {"set", call_set, undo_set};
    struct vm vm;
    int ours;

    prepare();
    ours = references_fall_to("ioregionfd", 1);
    vm_new(&vm);
    fail_each(&create, &vm);
    close(vm.handle);
    fail_each(&bind, &vm);
    vm.handle = vm_bind(vm.fd, getpid());
    REQUIRE(vm.handle >= 0);
    vm.userdata = channel_new(0);
    fail_each(&set, &vm);
    CHECK_EQ(vm_read(&vm, READ8, 0), VMM_ANSWER);
    vm_free(&vm);
    close(vm.userdata);
    CHECK_EQ(references_fall_to("ioregionfd", ours), ours);
}

const struct test tests_memory[] = {TEST(memory_runs_out, 60), {0}};
