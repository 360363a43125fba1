/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The strict system call filter: a device under it goes on serving, and all else ends it. Each case is a process. */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "played-broker.h"
#include <ioregion/device.h>

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    return 0x42;
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
    void *memory = malloc(1 << 20);

    fprintf(stdout, "write of %u at %u\n", (unsigned) value, (unsigned) offset);
    fflush(stdout);
    memset(memory, 1, 1 << 20);
    free(memory);
}

static const struct ioregion_device_ops ops = {sizeof(ops), on_read, on_write, NULL, NULL};
static const struct ioregion_region region = {.size = 16, .user_data = 5};

static struct ioregion_device *locked_device(int *ret_channel, int *ret_lease) {
    struct ioregion_device *device;
    int channel[2], lease[2];

    played_pair(channel);
    played_pair(lease);
    assert_int_equal(ioregion_device_from_fds(&device, channel + 1, 1, lease[1], 0, &region, 1, &ops, NULL), 0);
    *ret_channel = channel[0];
    *ret_lease = lease[0];
    return device;
}

/* What a device does all day, to the end. The other ends are in this process as well, prepared beforehand. */
static void good_life(void) {
    struct ioregion_lease_revoke revoked = {{IOREGION_LEASE_REVOKE, sizeof(revoked)}, IOREGION_REVOKE_VM_GONE, 0, 0};
    struct ioregion_command commands[] = {{.info = 0x40, .user_data = 5},
                                          {.info = 0x41, .user_data = 5, .offset = 1, .data = 2}};
    struct ioregion_response response;
    int channel, lease, null = open("/dev/null", O_WRONLY);
    struct ioregion_device *device = locked_device(&channel, &lease);

    freopen("/dev/null", "w", stdout);
    if (ioregion_device_lockdown(device) < 0)
        _exit(2);
    for (int i = 0; i < 2; i++)
        send(channel, commands + i, sizeof(*commands), 0);
    if (ioregion_device_process(device) != 0)
        _exit(3);
    for (int i = 0; i < 2; i++)
        if (recv(channel, &response, sizeof(response), 0) != sizeof(response))
            _exit(4);
    if (write(null, "x", 1) != 1 || ioregion_device_resume(device) != -EPERM)
        _exit(5);
    send(channel, commands, sizeof(*commands), 0);
    send(lease, &revoked, sizeof(revoked), 0);
    shutdown(channel, SHUT_WR);
    if (ioregion_device_run(device) != 0)
        _exit(6);
    ioregion_device_stop(device);
    ioregion_device_free(device);
    _exit(0);
}

static void try_socket(void) {
    socket(AF_UNIX, SOCK_STREAM, 0);
}

/* Refused, not death: malloc tries it. */
static void refused_open(void) {
    _exit(open("/etc/passwd", O_RDONLY) == -1 && errno == EPERM ? 0 : 3);
}

static void try_openat2(void) {
    static const struct open_how {
        uint64_t flags, mode, resolve;
    } how;

    syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof(how));
}

static void try_execve(void) {
    char *arguments[] = {"true", NULL};

    execv("/bin/true", arguments);
}

static void try_fork(void) {
    if (fork() == 0)
        _exit(0);
}

static void *nothing(void *argument) {
    return NULL;
}

static void try_thread(void) {
    pthread_t thread;

    pthread_create(&thread, NULL, nothing, NULL);
}

static void try_ptrace(void) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void try_kill(void) {
    kill(getppid(), 0);
}

static void try_tgkill(void) {
    syscall(SYS_tgkill, 1, 1, 0);
}

static void try_recvmsg(void) {
    recvmsg(0, &(struct msghdr){.msg_iov = NULL}, MSG_DONTWAIT);
}

static void try_sendto(void) {
    sendto(1, "x", 1, 0, (const struct sockaddr *) "\1\0", 2);
}

static void try_code(void) {
    mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void try_mprotect(void) {
    static _Alignas(4096) char page[4096];

    mprotect(page, sizeof(page), PROT_READ | PROT_EXEC);
}

static void try_dup(void) {
    dup(0);
}

static void try_eventfd(void) {
    eventfd(0, 0);
}

static pthread_barrier_t locked_down;

static void *allocate(void *argument) {
    pthread_barrier_wait(&locked_down);
    for (size_t size = 1; size < (16 << 20); size *= 4)
        free(memset(malloc(size), 1, size));
    return NULL;
}

/* Threads that were started before go on to live, allocate for the first time and end. */
static void many_threads(void) {
    struct ioregion_device *device;
    pthread_t threads[32];
    int channel, lease;

    pthread_barrier_init(&locked_down, NULL, 33);
    for (int i = 0; i < 32; i++)
        pthread_create(threads + i, NULL, allocate, NULL);
    device = locked_device(&channel, &lease);
    if (ioregion_device_lockdown(device) < 0)
        _exit(2);
    pthread_barrier_wait(&locked_down);
    for (int i = 0; i < 32; i++)
        pthread_join(threads[i], NULL);
    _exit(0);
}

static int child(void (*act)(void), bool locked) {
    pid_t pid = fork();
    int status, channel, lease;

    if (pid == 0) {
        alarm(20);
        if (locked && ioregion_device_lockdown(locked_device(&channel, &lease)) < 0)
            _exit(2);
        act();
        _exit(7);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_good_life(void **state) {
    int status = child(good_life, false);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_refused(void **state) {
    assert_int_equal(child(refused_open, true), 0);
}

static void test_threads(void **state) {
    assert_int_equal(child(many_threads, false), 0);
}

static void test_killed(void **state) {
    static const struct {
        const char *name;
        void (*act)(void);
    } cases[] = {
        {"socket", try_socket},   {"openat2", try_openat2}, {"execve", try_execve}, {"fork", try_fork},
        {"thread", try_thread},   {"ptrace", try_ptrace},   {"kill", try_kill},     {"tgkill", try_tgkill},
        {"recvmsg", try_recvmsg}, {"sendto", try_sendto},   {"code", try_code},     {"mprotect", try_mprotect},
        {"dup", try_dup},         {"eventfd", try_eventfd},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int status = child(cases[i].act, true);

        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("%s: status 0x%x", cases[i].name, (unsigned) status);
    }
}

/* abort() still says SIGABRT. */
static void test_abort(void **state) {
    int status = child(abort, true);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_life), cmocka_unit_test(test_threads), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_killed), cmocka_unit_test(test_abort)};

    prctl(PR_SET_DUMPABLE, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
