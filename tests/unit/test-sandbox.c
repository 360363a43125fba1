/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/sandbox-calls.h"
#include "daemon/sandbox.h"

/* Raw system calls from a child, so that nothing of the C library stands between; an instrumented build may do more. */

static int in_sandbox(enum sandbox_filter filter, long (*action)(void)) {
    int status;
    pid_t pid = fork();

    assert_return_code(pid, 0);
    if (pid == 0) {
        signal(SIGSYS, SIG_DFL); /* cmocka catches it */
        if (sandbox_become(NULL) < 0 || sandbox_drop_capabilities() < 0 || sandbox_filter_calls(filter) < 0)
            syscall(SYS_exit_group, 99);
        action();
        syscall(SYS_exit_group, 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static long do_nothing(void) {
    return 0;
}

static long connect_to_the_world(void) {
    return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}

static long map_code(void) {
    return syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static long make_code(void) {
    return syscall(SYS_mprotect, 0x1000, 4096, PROT_READ | PROT_EXEC);
}

/* What glibc and its account services may try: the answer is no, and the daemon goes on. */
static long try_what_libraries_try(void) {
    if (map_code() != -1 || errno != EACCES || connect_to_the_world() != -1 || errno != EAFNOSUPPORT)
        syscall(SYS_exit_group, 1);
    return 0;
}

static long run_program(void) {
    return syscall(SYS_execve, "/bin/true", NULL, NULL);
}

static long become_root(void) {
    return syscall(SYS_setresuid, 0, 0, 0);
}

static long talk_to_kvm(void) {
    return syscall(SYS_ioctl, 0, 0xae00, 0);
}

static long put_on_a_flag(void) {
    return syscall(SYS_fcntl, 0, F_SETOWN, 1);
}

static void test_forbidden_calls_kill(void **state) {
    long (*const actions[])(void) = {make_code, run_program, become_root, put_on_a_flag,
#if !defined(SANITIZED)
                                     talk_to_kvm,
#endif
    };

    for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
        int status = in_sandbox(SANDBOX_KILL, actions[i]);

        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("action %zu: status 0x%x", i, status);
    }
    (void) talk_to_kvm;
}

static void test_what_libraries_try_is_refused(void **state) {
    assert_int_equal(in_sandbox(SANDBOX_KILL, try_what_libraries_try), 0);
}

static void test_log_and_off_do_not_kill(void **state) {
    assert_int_equal(in_sandbox(SANDBOX_LOG, connect_to_the_world), 0);
    assert_int_equal(in_sandbox(SANDBOX_OFF, connect_to_the_world), 0);
    assert_int_equal(in_sandbox(SANDBOX_KILL, do_nothing), 0);
}

static void test_unknown_user(void **state) {
    assert_true(sandbox_become("no-such-user-here") < 0);
}

static void test_filter_names(void **state) {
    assert_int_equal(sandbox_filter_from_name("kill"), SANDBOX_KILL);
    assert_int_equal(sandbox_filter_from_name("log"), SANDBOX_LOG);
    assert_int_equal(sandbox_filter_from_name("off"), SANDBOX_OFF);
    assert_true(sandbox_filter_from_name("none") < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forbidden_calls_kill),
        cmocka_unit_test(test_what_libraries_try_is_refused),
        cmocka_unit_test(test_log_and_off_do_not_kill),
        cmocka_unit_test(test_filter_names),
        cmocka_unit_test(test_unknown_user), /* drops the bounding set: last */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
