/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The strict system call filter.
 *
 * A device that runs has all the descriptors it will ever need, so the filter takes away every way to get another
 * one (that is why recvmsg, which can take descriptors in, is missing), to run another program or thread, to reach
 * another process, and to map memory that can be executed. A call that is not listed ends the process with SIGSYS;
 * a few that the C library makes on its own account are refused, and it does without.
 */

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ioregion/ioregionfd.h>
#include "device-internal.h"
#include "error.h"

static void seccomp_releasep(scmp_filter_ctx *filter) {
    if (*filter)
        seccomp_release(*filter);
}

static const int allowed[] = {
    /* the channel, the lease, and the loop that waits for them */
    SCMP_SYS(recvfrom),
    SCMP_SYS(preadv2),
    SCMP_SYS(shutdown),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(timerfd_settime),
    /* the device's own open files: a disk image, a log, an eventfd, stdio */
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(lseek),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(fstat),
    SCMP_SYS(close),
    /* malloc; mmap, mprotect and mremap have rules of their own or can't add rights */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    /* threads that are there already, though perhaps not on their feet yet, and time */
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    /* signals that others send us */
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    /* the end */
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

static const int refused[] = {
    /* stdio looks at its streams */
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    /* malloc in a thread reads files about CPUs and overcommitted memory */
    SCMP_SYS(openat),
};

static int add_lists(scmp_filter_ctx filter) {
    int r = 0;

    for (size_t i = 0; r >= 0 && i < sizeof(allowed) / sizeof(*allowed); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; r >= 0 && i < sizeof(refused) / sizeof(*refused); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
    return r;
}

static int add_rules_by_argument(scmp_filter_ctx filter) {
    const struct scmp_arg_cmp no_exec = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    const struct scmp_arg_cmp no_address = SCMP_A4(SCMP_CMP_EQ, 0);
    const struct scmp_arg_cmp end_of_channel = SCMP_A1(SCMP_CMP_EQ, IOREGIONFD_SHUTDOWN);
    const struct scmp_arg_cmp other_ioctl = SCMP_A1(SCMP_CMP_NE, IOREGIONFD_SHUTDOWN);
    const struct scmp_arg_cmp ourselves = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t) getpid());
    int r;

    if ((r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, no_exec)) < 0 ||
        (r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, no_exec)) < 0 ||
        (r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, end_of_channel)) < 0 ||
        (r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1, other_ioctl)) < 0 ||
        /* send() to the peer that a socket has, to no other */
        (r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1, no_address)) < 0)
        return r;
    /* abort() and raise() */
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, ourselves);
}

int ioregion_device_lockdown(struct ioregion_device *device) {
    _cleanup_(seccomp_releasep) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int r;

    if (!filter)
        return last_error_step(-ENOMEM, "lockdown");
    /* The filter's own prctl(PR_SET_NO_NEW_PRIVS) is part of loading it. */
    if ((r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1)) < 0 || (r = add_lists(filter)) < 0 ||
        (r = add_rules_by_argument(filter)) < 0 || (r = seccomp_load(filter)) < 0)
        return last_error_step(r == -EINVAL || r == -ECANCELED ? -ENOSYS : r, "lockdown");
    device->locked_down = true;
    return 0;
}
