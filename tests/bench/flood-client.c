/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Who is on the bus when floods are measured; see floods.py. Each says a line when it is there, and ends with its
 * standard input, or after ten minutes:
 *
 *     flood-client echo                           the trivial service: whatever is called, it answers
 *     flood-client populate                       the broker has 200 VMs, 400 devices and 1,600 regions
 *     flood-client measure SERVICE MSEC DELAY     one call after the other; then a line of JSON: how many microseconds
 *                                                 each took, but for those in the DELAY, in milliseconds, before
 *     flood-client flood KIND SERVICE             as many calls as it can; then a line of JSON: how many it sent, and
 *                                                 how often what was answered
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void measure(const char *service, unsigned msec, unsigned not_before_msec) {
    uint64_t start = bench_now(), begin;
    sd_bus *bus = bench_bus();

    printf("[");
    for (unsigned i = 0; i < 10 || bench_now() < start + UINT64_C(1000000) * (not_before_msec + msec); i++) {
        int r;

        begin = bench_now();
        r = sd_bus_call_method(bus, service, "/org/ioregion1", "org.freedesktop.DBus.Properties", "Get", NULL, NULL,
                               "ss", "org.ioregion1.Manager", "Version");
        if (r < 0)
            bench_fail("measure", r);
        if (begin >= start + UINT64_C(1000000) * not_before_msec)
            printf("%lu, ", (bench_now() - begin) / 1000);
    }
    printf("%lu", (bench_now() - begin) / 1000);
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
        measure(argv[2], (unsigned) atoi(argv[3]), (unsigned) atoi(argv[4]));
    else if (argc == 4 && strcmp(argv[1], "flood") == 0)
        flood(argv[2], argv[3]);
    else
        return 2;
    return 0;
}
