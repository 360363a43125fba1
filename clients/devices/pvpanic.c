/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ioregion-pvpanic: the port by which a guest tells that it ends in disorder, as a process of its own. */

#include <misc/pvpanic.h>
#include <syslog.h>
#include <time.h>

#include "announcement.h"
#include "service.h"

static const char help[] = "ioregion-pvpanic --vm NAME | --fds [OPTION...]\n"
                           "\n"
                           "Serve a pvpanic port to a VM: one port, at 0x505, to which the guest's kernel writes 1\n"
                           "when it panics, and 2 when it goes on in a crash kernel.\n"
                           "\n"
                           "Both are told to management by the names that QEMU has for them, GUEST_PANICKED and\n"
                           "GUEST_CRASHLOADED: as the unit's status, and in a record of the journal, with the\n"
                           "event in IOREGION_EVENT. The VM goes on; what is to be done is management's affair.\n";

static const struct option options[] = {SERVICE_OPTIONS, {0}};

/* Where a guest writes more than one bit, the first one counts. */
static struct event {
    uint8_t bit;
    int priority;
    const char *message_id, *name, *words; /* ids are those of ioregiond.catalog */
    uint64_t count;
    time_t announced;
} events[] = {
    {PVPANIC_PANICKED, LOG_CRIT, "c617da68d8bc4391813c4056e6950cc8", "GUEST_PANICKED", "the guest panicked"},
    {PVPANIC_CRASH_LOADED, LOG_ERR, "aa4f36223ea74333a1f574cf4cf634e9", "GUEST_CRASHLOADED",
     "the guest crashed, and goes on in its crash kernel"},
};

struct port {
    const struct service *service;
    struct announcer announcer;
};

/* A guest in a loop is no reason to flood its host: once a second is often enough. */
static void announce_event(const struct port *port, struct event *event) {
    struct timespec now;

    event->count++;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (event->count > 1 && now.tv_sec == event->announced)
        return;
    event->announced = now.tv_sec;
    announce(&port->announcer, port->service, event->priority, event->message_id, event->name, event->words,
             event->count);
}

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
    for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++)
        if (value & events[i].bit)
            return announce_event(userdata, &events[i]);
}

static int parse(int argc, char **argv, struct service *service) {
    int option, r;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
        if ((r = service_option(service, option, optarg, help)) != 0)
            return r;
    return service_operands(service, argc - optind, argv + optind);
}

int main(int argc, char **argv) {
    static const struct ioregion_device_ops ops = {.struct_size = sizeof(ops), .read = on_read, .write = on_write};
    struct service service = {
        .program = "ioregion-pvpanic",
        .name = "pvpanic0",
        .region = {.space = IOREGION_PIO, .base = 0x505, .size = 1},
        .lockdown = true,
    };
    struct port port = {.service = &service};
    int r = parse(argc, argv, &service);

    if (r != 0)
        return r < 0 ? SERVICE_USAGE : SERVICE_OK;
    announcer_open(&port.announcer);
    r = service_attach(&service, &ops, &port);
    if (r == SERVICE_OK)
        r = service_run(&service, NULL, NULL);
    announcer_close(&port.announcer);
    return r;
}
