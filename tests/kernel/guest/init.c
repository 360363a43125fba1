/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Process 1 of the test guest: load the modules, run the tests, reboot (which ends QEMU).
 *
 * The tests are those that are linked in, or a program, "userland", of the machine that runs the guest. They print TAP
 * on the console. The kernel's own messages stay off it; the last test reads them all.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "module.h"
#include "tap.h"
#include "userland.h"
#include "vm.h"

static const struct test *const themes[] = {
    tests_errors,   tests_ranges,      tests_wire,  tests_deadline, tests_disconnect, tests_swap,
    tests_shutdown, tests_concurrency, tests_vcpus, tests_kill,     tests_hostile,    tests_fuzz,
    tests_observe,  tests_linger,      tests_stuck, tests_memory,   tests_lifetime,   NULL,
};
static const struct test *const measurements[] = {benches, NULL};

static int failures;

void tap_fail(const char *file, int line, const char *format, ...) {
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    printf("# %s:%d: %s\n", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line, text);
    fflush(stdout);
    __atomic_fetch_add(&failures, 1, __ATOMIC_SEQ_CST);
}

_Noreturn void tap_end(void) {
    fflush(stdout);
    _exit(failures ? 1 : 0);
}

#define SKIPPED 77

_Noreturn void tap_skip(void) {
    _exit(SKIPPED);
}

/* Its exit status, or negative. */
static int run_test(const struct test *test) {
    pid_t child;
    int status;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        setpgid(0, 0);
        ioregionfd_node = open("/dev/ioregionfd", O_RDWR | O_CLOEXEC);
        alarm(test->seconds ? test->seconds : 30);
        test->run();
        tap_end();
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    kill(-child, SIGKILL); /* what it left behind is process 1's now; wait for all that it held to be closed */
    if (WIFSIGNALED(status))
        printf("# ended by signal %d\n", WTERMSIG(status));
    while (waitpid(-1, NULL, 0) > 0)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void report(const struct test *test) {
    static unsigned number;
    uint64_t start = now_msec();
    int status = run_test(test);

    printf("%sok %u - %s (%llu ms)%s\n", status == 0 || status == SKIPPED ? "" : "not ", ++number, test->name,
           (unsigned long long) (now_msec() - start), status == SKIPPED ? " # SKIP not on this kernel" : "");
}

/* Where there is lockdep, it has not switched itself off, before we came perhaps. */
static void check_lockdep(void) {
    FILE *file = fopen("/proc/lockdep_stats", "re");
    char line[256];
    int works = 1;

    while (file && fgets(line, sizeof(line), file))
        sscanf(line, " debug_locks: %d", &works);
    CHECK_EQ(works, 1);
    if (file)
        fclose(file);
}

static void ask_kmemleak(const char *what) {
    FILE *file = fopen(KMEMLEAK, "we");

    if (file) {
        fputs(what, file);
        fclose(file);
    }
}

/* Where there is kmemleak, it finds no memory that nobody points to. What is younger than 5 s does not count. */
static void check_leaks(void) {
    char text[1024] = "";
    FILE *file;

    if (access(KMEMLEAK, F_OK) < 0)
        return;
    sleep(6);
    ask_kmemleak("scan");
    ask_kmemleak("scan"); /* what looked like a leak while it changed does so no more */
    file = fopen(KMEMLEAK, "re");
    REQUIRE(file);
    if (fread(text, 1, sizeof(text) - 1, file) > 0)
        tap_fail(__FILE__, __LINE__, "kmemleak: %.900s", text);
    printf("# kmemleak has looked\n");
    fclose(file);
}

/* Nothing in the kernel log may tell of a fault. */
static void check_log(void) {
    static const char *const signs[] = {"BUG:", "WARNING:", "Oops", "INFO: task", "general protection", "stall",
                                        "refcount_t", "Call Trace"};
    static char log[1 << 20];
    int size = klogctl(3, log, sizeof(log) - 1);

    REQUIRE(size > 0);
    log[size] = 0;
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        char *at = strstr(log, signs[i]);

        if (at)
            tap_fail(__FILE__, __LINE__, "kernel log: %.400s", at);
    }
    check_lockdep();
    check_leaks();
}

/* All tests of these themes, or those whose name contains @only. */
static void run_all(const struct test *const *list, const char *only) {
    const struct test log_test = {"kernel_log_is_clean", check_log, 100};
    unsigned count = 1;

    for (const struct test *const *theme = list; *theme; theme++)
        for (const struct test *test = *theme; test->run; test++)
            count += !only || strstr(test->name, only);
    printf("1..%u\n", count);
    for (const struct test *const *theme = list; *theme; theme++)
        for (const struct test *test = *theme; test->run; test++)
            if (!only || strstr(test->name, only))
                report(test);
    report(&log_test);
}

static void load_modules(void) {
    FILE *order = fopen("/modules/order", "re");
    char name[64];

    while (order && fscanf(order, "%63s", name) == 1) {
        int r = module_load(name);

        if (r < 0)
            printf("Bail out! module %s: %s\n", name, strerror(-r));
    }
    if (order)
        fclose(order);
}

static void set_up(void) {
    mkdir("/host", 0755);
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
    ask_kmemleak("scan=off"); /* but for the end */
    ask_kmemleak("clear");
    klogctl(5, NULL, 0); /* what came before is no concern of ours */
    load_modules();
}

/* Orphans are process 1's as well. */
static void run_userland(const char *program) {
    pid_t child = fork(), ended;

    if (child == 0)
        userland_run(program);
    do
        ended = waitpid(-1, NULL, 0);
    while (ended > 0 && ended != child);
}

int main(void) {
    const char *userland = getenv("userland");
    int kvm;

    if (getpid() != 1)
        return 0; /* what a test has become by exec */
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("\n");
    set_up();
    /* One VM stays, so that the CPUs' virtualization is not switched off and on between tests. */
    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0 || ioctl(kvm, KVM_CREATE_VM, 0) < 0)
        printf("Bail out! no VM: %s\n", strerror(errno));
    else if (userland)
        run_userland(userland);
    else
        run_all(getenv("bench") ? measurements : themes, getenv("only"));
    fflush(stdout);
    sync();
    reboot(RB_AUTOBOOT);
    return 1;
}
