/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/process.h"

/* Who a process is, by its folder in /proc; and what is no such folder. */

enum { USER = 4711, GROUP = 4712 };
static const gid_t groups[] = {4713, 4714, 65536};

static int folder_of(pid_t pid) {
    char path[32];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d", (int) pid);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_return_code(fd, errno);
    return fd;
}

/* Somebody else, with a name that looks like a line of its own, until he is killed. */
static pid_t start_other(void) {
    int ready[2];
    pid_t pid;
    char byte;

    assert_return_code(pipe2(ready, O_CLOEXEC), errno);
    pid = fork();
    assert_return_code(pid, errno);
    if (pid == 0) {
        FILE *comm = fopen("/proc/self/comm", "w");

        if (!comm || fputs("\nUid: 0 0 0 0", comm) < 0 || fclose(comm) != 0 ||
            setgroups(sizeof(groups) / sizeof(*groups), groups) < 0 || setresgid(0, GROUP, 0) < 0 ||
            setresuid(0, USER, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void end_other(pid_t pid) {
    assert_return_code(kill(pid, SIGKILL), errno);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void need_root(void) {
    if (geteuid() != 0) {
        print_message("only root can be others\n");
        skip();
    }
}

static bool is_other(const struct identity *identity, pid_t pid) {
    return identity->pid == pid && identity->uid == USER && identity->n_gids == 4 &&
           memcmp(identity->gids, groups, sizeof(groups)) == 0 && identity->gids[3] == GROUP && !identity->unit &&
           identity->pidfd >= 0;
}

static void test_user_and_groups(void **state) {
    _cleanup_(identity_freep) struct identity *identity = NULL;
    struct refusal refusal;
    int folder;
    pid_t pid;

    need_root();
    pid = start_other();
    folder = folder_of(pid);
    assert_return_code(process_identify(folder, &identity, &refusal), 0);
    assert_true(is_other(identity, pid));
    assert_false(identity_exited(identity));
    end_other(pid);
    assert_true(identity_exited(identity));
    close(folder);
}

static void expect_refusal(int folder, const char *text) {
    struct identity *identity = NULL;
    struct refusal refusal = {0};

    assert_return_code(folder, errno);
    assert_int_equal(process_identify(folder, &identity, &refusal), refusal_errno(REFUSAL_NOT_A_VM));
    assert_null(identity);
    assert_int_equal(refusal.kind, REFUSAL_NOT_A_VM);
    if (!strstr(refusal.text, text))
        fail_msg("'%s' is not in '%s'", text, refusal.text);
    close(folder);
}

static void test_what_is_no_folder_of_a_process(void **state) {
    expect_refusal(open("/proc", O_RDONLY | O_DIRECTORY), "not the folder");
    expect_refusal(open("/proc/self", O_PATH | O_DIRECTORY), "not the folder");
    expect_refusal(open("/proc/self/task", O_RDONLY | O_DIRECTORY), "not the folder");
    expect_refusal(open("/proc/thread-self", O_RDONLY | O_DIRECTORY), "not the folder");
    expect_refusal(open("/proc/self/status", O_RDONLY), "not the folder");
    expect_refusal(open("/", O_RDONLY | O_DIRECTORY), "not the folder");
    expect_refusal(open("/dev/null", O_RDWR), "not the folder");
    expect_refusal((int) syscall(SYS_pidfd_open, getpid(), 0), "not the folder"); /* would do for a signal */
}

static void test_a_process_that_has_exited(void **state) {
    int folder;
    pid_t pid;

    need_root();
    pid = start_other();
    folder = folder_of(pid);
    end_other(pid);
    expect_refusal(folder, "has exited");
}

/* 58: with none to spare, one, and so on */
static void test_58_descriptors_run_out(void **state) {
    _cleanup_(identity_freep) struct identity *identity = NULL;
    struct rlimit old, limit;
    struct refusal refusal = {0};
    int folder = folder_of(getpid()), next, r = -EMFILE;

    next = fcntl(folder, F_DUPFD_CLOEXEC, 0); /* there are none below */
    close(next);
    assert_return_code(getrlimit(RLIMIT_NOFILE, &old), errno);
    limit = old;
    for (limit.rlim_cur = (rlim_t) next; r < 0; limit.rlim_cur++) {
        assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
        r = process_identify(folder, &identity, &refusal);
        assert_true(r == 0 || r == -EMFILE);
        assert_true(limit.rlim_cur < (rlim_t) next + 3);
    }
    assert_return_code(setrlimit(RLIMIT_NOFILE, &old), errno);
    assert_true(limit.rlim_cur > (rlim_t) next + 1); /* there was something to fail */
    assert_int_equal(identity->pid, getpid());
    assert_int_equal(fcntl(folder, F_DUPFD_CLOEXEC, 0), next + 1); /* the pidfd, and nothing else is open */
    close(next + 1);
    close(folder);
}

/* In a child with mounts of its own, where it has to return 0; SKIPPED where nobody may mount anything. */
enum { SKIPPED = 77 };
static void with_own_mounts(int (*function)(const void *argument), const void *argument) {
    int status;
    pid_t pid;

    need_root();
    pid = fork();
    assert_return_code(pid, errno);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(SKIPPED);
        _exit(function(argument));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED) {
        print_message("nobody may mount anything here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

struct named {
    pid_t pid;
    int folder;
};

/* As where ProtectProc=invisible is: the process is not to be seen, but by the folder that somebody else opened. */
static int identify_hidden(const void *argument) {
    const struct named *named = argument;
    struct identity *identity;
    struct refusal refusal;
    char path[32];

    snprintf(path, sizeof(path), "/proc/%d", (int) named->pid);
    if (mount("proc", "/proc", "proc", 0, "hidepid=invisible") < 0)
        return SKIPPED;
    if (setgroups(0, NULL) < 0 || setresgid(1, 1, 1) < 0 || setresuid(1, 1, 1) < 0)
        return 1;
    if (access(path, F_OK) == 0)
        return 2;
    if (process_identify(named->folder, &identity, &refusal) < 0)
        return 3;
    return is_other(identity, named->pid) && !identity_exited(identity) ? 0 : 4;
}

static void test_where_proc_shows_nobody(void **state) {
    struct named named;

    need_root();
    named.pid = start_other();
    named.folder = folder_of(named.pid);
    with_own_mounts(identify_hidden, &named);
    end_other(named.pid);
    close(named.folder);
}

static bool is_refused(int folder) {
    struct identity *identity;
    struct refusal refusal = {0};

    return folder >= 0 && process_identify(folder, &identity, &refusal) < 0 && refusal.kind == REFUSAL_NOT_A_VM;
}

/* In a namespace of its own; a folder of its own is bound below a "self" that the test makes. */
static void live_elsewhere(int ready) {
    if (mkdir("/mnt/proc", 0755) == 0 && mkdir("/mnt/1", 0755) == 0 &&
        mount("proc", "/mnt/proc", "proc", 0, NULL) == 0 && mount("/mnt/proc/1", "/mnt/1", NULL, MS_BIND, NULL) == 0 &&
        write(ready, "x", 1) == 1)
        pause();
    _exit(0);
}

/* Pid 1 of another namespace is not ours; not even below a "self" that names us. */
static int identify_foreign(const void *argument) {
    char self[16], byte;
    bool refused;
    int ready[2];
    pid_t pid;

    if (unshare(CLONE_NEWPID) < 0 || mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0 || pipe2(ready, O_CLOEXEC) < 0)
        return SKIPPED;
    pid = fork();
    if (pid == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
        live_elsewhere(ready[1]);
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        return SKIPPED;
    snprintf(self, sizeof(self), "%d", (int) getpid());
    refused = symlink(self, "/mnt/self") == 0 && is_refused(open("/mnt/proc/1", O_RDONLY | O_DIRECTORY)) &&
              is_refused(open("/mnt/1", O_RDONLY | O_DIRECTORY));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return refused ? 0 : 1;
}

static void test_where_pids_are_others(void **state) {
    with_own_mounts(identify_foreign, NULL);
}

/* Whoever opens a folder may have mounted something over what is in it: what lies, or what nobody ever opens. */
static int identify_mounted_over(const void *argument) {
    int folder;

    if (mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0 || mkfifo("/mnt/fifo", 0644) < 0 ||
        mknod("/mnt/file", 0644, 0) < 0)
        return SKIPPED;
    folder = open("/proc/self", O_RDONLY | O_DIRECTORY);
    for (const char *const *over = (const char *const[]){"/mnt/fifo", "/mnt/file", "/proc/1/status", NULL}; *over;
         over++) {
        if (mount(*over, "/proc/self/status", NULL, MS_BIND, NULL) < 0)
            return SKIPPED;
        if (!is_refused(folder))
            return 1;
        umount("/proc/self/status");
    }
    return is_refused(folder) ? 2 : 0;
}

static void test_mounted_over(void **state) {
    with_own_mounts(identify_mounted_over, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user_and_groups),
        cmocka_unit_test(test_what_is_no_folder_of_a_process),
        cmocka_unit_test(test_a_process_that_has_exited),
        cmocka_unit_test(test_where_proc_shows_nobody),
        cmocka_unit_test(test_where_pids_are_others),
        cmocka_unit_test(test_58_descriptors_run_out),
        cmocka_unit_test(test_mounted_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
