/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ioregion/vmm.h>
#include "bench-broker.h"
#include "clients/libioregion/lease-client.h"

static char directory[] = "/tmp/ioregion-bench-XXXXXX";
static char address[128];
static pid_t bus_daemon, broker;

static const char bus_config[] =
    "<busconfig><type>system</type><listen>%s</listen><auth>EXTERNAL</auth>"
    "<policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_type=\"method_call\"/>"
    "<allow send_type=\"signal\"/><allow send_requested_reply=\"true\" send_type=\"method_return\"/>"
    "<allow send_requested_reply=\"true\" send_type=\"error\"/><allow receive_type=\"method_call\"/>"
    "<allow receive_type=\"method_return\"/><allow receive_type=\"error\"/><allow receive_type=\"signal\"/></policy>"
    "</busconfig>";

static const char policy[] =
    "{ \"version\": 1,"
    "  \"vmms\": [ { \"name\": \"all\", \"match\": { \"user\": \"%s\" }, \"vms\": [ \"*\" ],"
    "               \"dispatch\": [ \"vmm\" ] } ],"
    "  \"devices\": [ { \"name\": \"all\", \"match\": { \"user\": \"%s\" }, \"vms\": [ \"*\" ],"
    "                  \"regions\": [ { \"space\": \"mmio\", \"within\": [ \"0x0\", \"0xffffffff\" ] } ],"
    "                  \"limits\": { \"regions\": 64, \"channels\": 1 } } ],"
    "  \"limits\": { \"vms\": 100000, \"vms-per-user\": 100000, \"regions-per-vm\": 100000,"
    "                \"devices-per-unit\": 100000, \"attach-rate\": \"1000000/s\","
    "                \"register-rate\": \"1000000/s\" } }";

void bench_fail(const char *what, int error) {
    fprintf(stderr, "bench: %s: %s\n", what, strerror(error < 0 ? -error : error));
    bench_stop();
    exit(1);
}

uint64_t bench_now(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

static void write_file(const char *name, const char *text) {
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    file = fopen(path, "we");
    if (!file || fputs(text, file) < 0 || fclose(file) < 0)
        bench_fail(path, errno);
}

/* A child that does not outlive us, and that a pipe tells us of: it is written to, or closed, when the child is ready.
 */
static pid_t spawn(const char *const *arguments, int ready) {
    int log = open("/dev/null", O_WRONLY | O_CLOEXEC);
    pid_t parent = getpid(), child = fork();

    if (child != 0) {
        close(log);
        return child;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    if (ready >= 0)
        dup2(ready, STDOUT_FILENO);
    dup2(log, STDERR_FILENO); /* every attach makes a line */
    setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
    execvp(arguments[0], (char *const *) arguments);
    _exit(127);
}

static void start_bus(void) {
    char text[sizeof(bus_config) + sizeof(address)], config[128], byte;
    const char *const arguments[] = {"dbus-daemon", "--nofork", "--nopidfile", "--print-address", config, NULL};
    int ready[2];

    if (!mkdtemp(directory))
        bench_fail("mkdtemp", errno);
    snprintf(address, sizeof(address), "unix:path=%s/bus", directory);
    snprintf(text, sizeof(text), bus_config, address);
    write_file("bus.conf", text);
    snprintf(config, sizeof(config), "--config-file=%s/bus.conf", directory);
    if (pipe2(ready, O_CLOEXEC) < 0)
        bench_fail("pipe", errno);
    bus_daemon = spawn(arguments, ready[1]);
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        bench_fail("dbus-daemon does not start", EIO);
    close(ready[0]);
    setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
}

sd_bus *bench_bus(void) {
    sd_bus *bus;
    int r = sd_bus_open_system(&bus);

    if (r < 0)
        bench_fail("bus", r);
    return bus;
}

static void await_name(const char *name) {
    sd_bus *bus = bench_bus();
    struct timespec tick = {.tv_nsec = 1000000};
    int owned = 0;

    for (unsigned i = 0; i < 10000 && !owned; i++) {
        sd_bus_message *reply = NULL;

        sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner",
                           NULL, &reply, "s", name);
        sd_bus_message_read(reply, "b", &owned);
        sd_bus_message_unref(reply);
        if (!owned)
            nanosleep(&tick, NULL);
    }
    sd_bus_flush_close_unref(bus);
    if (!owned)
        bench_fail(name, ETIMEDOUT);
}

void bench_start(void) {
    char text[sizeof(policy) + 64];
    const char *const arguments[] = {BUILD_ROOT "/daemon/ioregiond", "--policy", directory, "--log-level", "err", NULL};
    const struct passwd *account = getpwuid(getuid());
    const char *user = account ? account->pw_name : "root";
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    start_bus();
    snprintf(text, sizeof(text), policy, user, user);
    write_file("policy.json", text);
    broker = spawn(arguments, -1);
    await_name("org.ioregion1");
}

void bench_end(pid_t child) {
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
}

void bench_stop(void) {
    static const char *const files[] = {"bus", "bus.conf", "policy.json"};
    char path[128];

    bench_end(broker);
    bench_end(bus_daemon);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, files[i]);
        unlink(path);
    }
    rmdir(directory);
}

uint64_t bench_broker_rss(void) {
    char path[64], line[256];
    unsigned long kib = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", broker);
    file = fopen(path, "re");
    if (!file)
        bench_fail(path, errno);
    while (fgets(line, sizeof(line), file) && sscanf(line, "VmRSS: %lu", &kib) != 1)
        ;
    fclose(file);
    return kib;
}

static void follow_regions(const char *prefix, unsigned n, int ready) {
    struct epoll_event event = {.events = EPOLLIN};
    int all = epoll_create1(EPOLL_CLOEXEC);
    char name[64];

    for (unsigned i = 0; i < n; i++) {
        struct ioregion_vmm *vmm;

        snprintf(name, sizeof(name), "%s%u", prefix, i);
        if (ioregion_vmm_register(&vmm, name, NULL) < 0) {
            fprintf(stderr, "bench: %s: %s\n", name, ioregion_last_error());
            _exit(1);
        }
        event.data.ptr = vmm;
        epoll_ctl(all, EPOLL_CTL_ADD, ioregion_vmm_fd(vmm), &event);
    }
    if (write(ready, "", 1) != 1)
        _exit(1);
    while (epoll_wait(all, &event, 1, -1) >= 0 || errno == EINTR)
        if (ioregion_vmm_process(event.data.ptr) < 0)
            _exit(1);
    _exit(1);
}

static int method_echo(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    /* what the broker knows of a caller when it has proven itself: process, user, groups, unit */
    const uint64_t mask = SD_BUS_CREDS_PID | SD_BUS_CREDS_EUID | SD_BUS_CREDS_SUPPLEMENTARY_GIDS | SD_BUS_CREDS_UNIT |
                          SD_BUS_CREDS_AUGMENT;
    sd_bus_creds *creds = NULL;
    const char *unit = "";
    int r = sd_bus_query_sender_creds(message, mask, &creds);

    if (r < 0)
        return r;
    sd_bus_creds_get_unit(creds, &unit);
    sd_bus_creds_unref(creds);
    return sd_bus_reply_method_return(message, "s", unit);
}

static const sd_bus_vtable echo_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("Echo", "sh", "s", method_echo, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

static void serve_echo(int ready) {
    sd_bus *bus = bench_bus();

    if (sd_bus_add_object_vtable(bus, NULL, "/echo", "org.ioregion1.Echo", echo_vtable, NULL) < 0 ||
        sd_bus_request_name(bus, "org.ioregion1.Echo", 0) < 0 || write(ready, "", 1) != 1)
        _exit(1);
    for (;;)
        if (sd_bus_process(bus, NULL) == 0)
            sd_bus_wait(bus, UINT64_MAX);
}

/* Fork a child for one of the two; wait until it is ready. */
static pid_t fork_ready(const char *prefix, unsigned n) {
    pid_t parent = getpid(), child;
    int ready[2];
    char byte;

    if (pipe2(ready, O_CLOEXEC) < 0)
        bench_fail("pipe", errno);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        if (prefix)
            follow_regions(prefix, n, ready[1]);
        serve_echo(ready[1]);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        bench_fail("a child does not start", EIO);
    close(ready[0]);
    return child;
}

pid_t bench_vmms(const char *prefix, unsigned n) {
    return fork_ready(prefix, n);
}

pid_t bench_echo_service(void) {
    return fork_ready(NULL, 0);
}

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const sd_bus_error *error = sd_bus_message_get_error(reply);

    if (error)
        bench_fail(error->message, EIO);
    *(uint64_t *) userdata = bench_now();
    return 1;
}

static sd_bus_message *make_call(sd_bus *bus, const char *vm, const char *device, uint64_t base, unsigned n_regions,
                                 int lease) {
    sd_bus_message *call = NULL;

    sd_bus_message_new_method_call(bus, &call, "org.ioregion1", "/org/ioregion1", "org.ioregion1.Manager",
                                   "AttachDevice");
    sd_bus_message_append(call, "ss", vm, device);
    sd_bus_message_open_container(call, 'a', "(sttta{sv})");
    for (unsigned i = 0; i < n_regions; i++)
        sd_bus_message_append(call, "(sttta{sv})", "mmio", base + 16 * i, UINT64_C(16), (uint64_t) i, 0);
    sd_bus_message_close_container(call);
    if (sd_bus_message_append(call, "a{sv}h", 0, lease) < 0)
        bench_fail("making the call", EIO);
    return call;
}

uint64_t bench_attach(sd_bus *bus, const char *vm, const char *device, uint64_t base, unsigned n_regions,
                      int ret_fds[2], uint64_t *ret_reply) {
    uint64_t begin = bench_now(), granted = 0, replied = 0;
    struct lease_message message;
    sd_bus_message *call;
    int lease, theirs, r;

    if (lease_client_pair(&lease, &theirs) < 0)
        bench_fail("socketpair", errno);
    call = make_call(bus, vm, device, base, n_regions, theirs);
    r = sd_bus_call_async(bus, NULL, call, on_reply, &replied, 0);
    if (r < 0)
        bench_fail("call", r);
    sd_bus_message_unref(call);
    close(theirs);
    while (!granted || !replied) {
        struct pollfd fds[] = {{lease, granted ? 0 : POLLIN, 0}, {sd_bus_get_fd(bus), POLLIN, 0}};

        if (poll(fds, 2, 10000) <= 0)
            bench_fail("attach", ETIMEDOUT);
        if (fds[1].revents)
            while (sd_bus_process(bus, NULL) > 0)
                ;
        if (!fds[0].revents || granted)
            continue;
        r = lease_client_receive(lease, &message);
        if (r < 0)
            bench_fail("lease", r);
        if (message.header.type == IOREGION_LEASE_CHALLENGE) {
            lease_client_prove(lease, &message.challenge);
        } else if (message.header.type == IOREGION_LEASE_GRANT) {
            granted = bench_now();
            ret_fds[0] = lease;
            ret_fds[1] = message.fds[0];
        }
    }
    *ret_reply = replied - begin;
    return granted - begin;
}

/* Signals and news of what was just done are on their way: what is asked after them is answered after them. */
void bench_settle(sd_bus *bus) {
    for (unsigned i = 0; i < 3; i++) {
        int r = sd_bus_call_method(bus, "org.ioregion1", "/org/ioregion1", "org.freedesktop.DBus.Peer", "Ping", NULL,
                                   NULL, NULL);

        if (r < 0)
            bench_fail("ping", r);
    }
}

void bench_release(sd_bus *bus, int fds[2]) {
    const struct ioregion_lease_release release = {{IOREGION_LEASE_RELEASE, sizeof(release)}};

    if (send(fds[0], &release, sizeof(release), MSG_NOSIGNAL) < 0)
        bench_fail("release", errno);
    close(fds[0]);
    close(fds[1]);
    bench_settle(bus);
}

static int compare(const void *left, const void *right) {
    double a = *(const double *) left, b = *(const double *) right;

    return (a > b) - (a < b);
}

double bench_median(double *values, size_t n) {
    qsort(values, n, sizeof(*values), compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

unsigned bench_rounds(int argc, char **argv, unsigned otherwise) {
    static const struct option options[] = {{"rounds", required_argument, NULL, 'r'}, {0}};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (option != 'r' || atoi(optarg) < 1) {
            fprintf(stderr, "usage: %s [--rounds N]\n", argv[0]);
            exit(2);
        }
        otherwise = (unsigned) atoi(optarg);
    }
    return otherwise;
}
