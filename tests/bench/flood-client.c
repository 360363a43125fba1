/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Who is on the bus when floods are measured; see floods.py. Each says a line when it is there, and ends with its
 * standard input, or after ten minutes:
 *
 *     flood-client echo                           the trivial service: whatever is called, it answers
 *     flood-client populate                       the broker has 200 VMs, 400 devices and 1,600 regions
 *     flood-client measure SERVICE MSEC DELAY     one call after the other; then a line of JSON: how many microseconds
 *                                                 each took, but for those in the DELAY, in milliseconds, before
 *     flood-client attach SERVICE MSEC DELAY      likewise AttachDevice() calls, up to 80 a second; the broker grants
 *                                                 them, and gets the device back
 *     flood-client flood KIND SERVICE             as many calls as it can; then a line of JSON: how many it sent, and
 *                                                 how often what was answered
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench-broker.h"
#include "flood.h"

bool flood_is_over(void) {
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};

    return poll(&input, 1, 0) != 0;
}

void flood_say(const char *line) {
    puts(line);
    fflush(stdout);
}

static int answer(sd_bus_message *call, void *userdata, sd_bus_error *ret_error) {
    uint8_t type;

    sd_bus_message_get_type(call, &type);
    return type == SD_BUS_MESSAGE_METHOD_CALL ? sd_bus_reply_method_return(call, "v", "s", "0.1.0") : 0;
}

static void echo(void) {
    struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {.events = POLLIN}};
    sd_bus *bus = bench_bus();
    int r;

    if (sd_bus_add_filter(bus, NULL, answer, NULL) < 0 || sd_bus_request_name(bus, "org.ioregion1.Echo", 0) < 0)
        bench_fail("echo", EIO);
    flood_say("echo");
    fds[1].fd = sd_bus_get_fd(bus);
    do {
        while ((r = sd_bus_process(bus, NULL)) > 0)
            ;
        if (r < 0)
            bench_fail("echo", r);
        fds[1].events = (short) sd_bus_get_events(bus);
        poll(fds, 2, -1);
    } while (!fds[0].revents);
}

static void populate(void) {
    static int fds[400][2];
    pid_t vmms = bench_vmms("vm", 200);
    sd_bus *bus = bench_bus();
    char vm[16], device[16];
    uint64_t reply;

    for (unsigned i = 0; i < 400; i++) {
        snprintf(vm, sizeof(vm), "vm%u", i % 200);
        snprintf(device, sizeof(device), "device%u", i / 200);
        bench_attach(bus, vm, device, 0x1000 + 0x1000 * (i / 200), 4, fds[i], &reply);
    }
    sd_bus_flush_close_unref(bus);
    flood_say("populated");
    while (!flood_is_over())
        poll(&(struct pollfd){STDIN_FILENO, POLLIN, 0}, 1, -1);
    bench_end(vmms);
}

#define ATTACH_EVERY_NSEC UINT64_C(12500000)

static uint64_t get(sd_bus *bus, const char *service) {
    uint64_t begin = bench_now();
    int r = sd_bus_call_method(bus, service, "/org/ioregion1", "org.freedesktop.DBus.Properties", "Get", NULL, NULL,
                               "ss", "org.ioregion1.Manager", "Version");

    if (r < 0)
        bench_fail("measure", r);
    return bench_now() - begin;
}

/* To the echo: the same arguments, and the same number of descriptors. */
static uint64_t attach_to_echo(sd_bus *bus, const char *service) {
    uint64_t begin = bench_now();
    int pair[2], r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);

    if (r == 0)
        r = sd_bus_call_method(bus, service, "/org/ioregion1", "org.ioregion1.Manager", "AttachDevice", NULL, NULL,
                               "ssa(sttta{sv})a{sv}h", "vm0", "measured", 1, "mmio", UINT64_C(0x100000), UINT64_C(16),
                               UINT64_C(0), 0, 0, pair[1]);
    if (r < 0)
        bench_fail("attach", r);
    close(pair[0]);
    close(pair[1]);
    return bench_now() - begin;
}

static uint64_t attach(sd_bus *bus, const char *service) {
    uint64_t begin = bench_now(), took;
    int fds[2];

    if (strcmp(service, "org.ioregion1") != 0) {
        took = attach_to_echo(bus, service);
    } else {
        bench_attach(bus, "vm0", "measured", 0x100000, 1, fds, &took);
        bench_release(bus, fds);
    }
    while (bench_now() < begin + ATTACH_EVERY_NSEC) /* no more than a burst of the default rate in a second */
        poll(NULL, 0, 1);
    return took;
}

static void measure(uint64_t (*call)(sd_bus *bus, const char *service), const char *service, unsigned msec,
                    unsigned not_before_msec) {
    uint64_t start = bench_now(), begin, took;
    sd_bus *bus = bench_bus();

    printf("[");
    for (unsigned i = 0; i < 10 || bench_now() < start + UINT64_C(1000000) * (not_before_msec + msec); i++) {
        begin = bench_now();
        took = call(bus, service);
        if (begin >= start + UINT64_C(1000000) * not_before_msec)
            printf("%lu, ", took / 1000);
    }
    printf("%lu", took / 1000);
    flood_say("]");
    sd_bus_flush_close_unref(bus);
}

int main(int argc, char **argv) {
    alarm(600);
    signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && strcmp(argv[1], "echo") == 0)
        echo();
    else if (argc == 2 && strcmp(argv[1], "populate") == 0)
        populate();
    else if (argc == 5 && strcmp(argv[1], "measure") == 0)
        measure(get, argv[2], (unsigned) atoi(argv[3]), (unsigned) atoi(argv[4]));
    else if (argc == 5 && strcmp(argv[1], "attach") == 0)
        measure(attach, argv[2], (unsigned) atoi(argv[3]), (unsigned) atoi(argv[4]));
    else if (argc == 4 && strcmp(argv[1], "flood") == 0)
        flood(argv[2], argv[3]);
    else
        return 2;
    return 0;
}
