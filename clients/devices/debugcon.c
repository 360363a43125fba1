/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ioregion-debugcon: the port that firmware writes its log to, as a process of its own. */

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "backend.h"
#include "service.h"

#define READBACK 0xe9 /* by this a guest finds out that there is a debug console */

static const char help[] = "ioregion-debugcon --vm NAME | --fds [OPTION...]\n"
                           "\n"
                           "Serve a debug console to a VM: one port, at 0x402, where SeaBIOS and OVMF write their\n"
                           "log. What the guest writes to it comes out; it reads 0xe9.\n"
                           "\n"
                           "Where it comes out:\n"
                           "  --backend stdout      on standard output (default)\n"
                           "  --backend file:PATH   appended to a file\n"
                           "                        The guest never waits: what nobody takes is dropped, and\n"
                           "                        the number of such bytes logged at the end.\n";

enum { OPTION_BACKEND = SERVICE_OPTION_OWN };

static const struct option options[] = {
    SERVICE_OPTIONS,
    {"backend", required_argument, NULL, OPTION_BACKEND},
    {0},
};

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    return READBACK;
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
    backend_put(userdata, (uint8_t) value);
}

static int parse(int argc, char **argv, struct service *service, const char **ret_backend) {
    int option, r;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (option == OPTION_BACKEND)
            *ret_backend = optarg;
        else if ((r = service_option(service, option, optarg, help)) != 0)
            return r;
    }
    return service_operands(service, argc - optind, argv + optind);
}

static int serve(struct service *service, const char *where) {
    static const struct ioregion_device_ops ops = {.struct_size = sizeof(ops), .read = on_read, .write = on_write};
    struct backend backend;
    int r = backend_open(&backend, where);

    if (r < 0) {
        service_log(service, "can't open back end '%s': %s", where, strerror(-r));
        return SERVICE_FAILED;
    }
    r = service_attach(service, &ops, &backend);
    if (r == SERVICE_OK)
        r = service_run(service, NULL, NULL);
    if (backend.dropped)
        service_log(service, "%" PRIu64 " bytes were dropped: nobody took them", backend.dropped);
    backend_close(&backend);
    return r;
}

int main(int argc, char **argv) {
    struct service service = {
        .program = "ioregion-debugcon",
        .name = "debugcon0",
        .region = {.space = IOREGION_PIO, .base = 0x402, .size = 1},
        .lockdown = true,
    };
    const char *backend = "stdout";
    int r = parse(argc, argv, &service, &backend);

    if (r != 0)
        return r < 0 ? SERVICE_USAGE : SERVICE_OK;
    signal(SIGPIPE, SIG_IGN); /* a reader of ours that goes away is a dropped byte, not our end */
    return serve(&service, backend);
}
