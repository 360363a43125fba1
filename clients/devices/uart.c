/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ioregion-uart: a 16550A serial port as a process of its own. */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "backend.h"
#include "service.h"
#include "uart-16550.h"

static const char help[] = "ioregion-uart --vm NAME | --fds [OPTION...]\n"
                           "\n"
                           "Serve a 16550A serial port to a VM: eight ports at 0x3f8, no interrupt line.\n"
                           "\n"
                           "The far end of the line:\n"
                           "  --backend stdout      what the guest sends goes to standard output (default)\n"
                           "  --backend file:PATH   ... is appended to a file\n"
                           "  --backend pty         ... goes to a new terminal, and what is typed there comes\n"
                           "                        in; its path is logged. Try: screen PATH\n"
                           "                        The guest never waits: what nobody takes is dropped, and\n"
                           "                        the number of such bytes logged at the end.\n"
                           "  --replay              want the feature replay: after a restart the access that\n"
                           "                        was not answered is made again; a byte may be sent twice\n";

enum { OPTION_BACKEND = SERVICE_OPTION_OWN, OPTION_REPLAY };

static const struct option options[] = {
    SERVICE_OPTIONS,
    {"backend", required_argument, NULL, OPTION_BACKEND},
    {"replay", no_argument, NULL, OPTION_REPLAY},
    {0},
};

struct port {
    struct uart_16550 uart;
    struct backend backend;
    struct service *service;
};

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    struct port *port = userdata;

    return uart_16550_read(&port->uart, offset, size);
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
    struct port *port = userdata;

    uart_16550_write(&port->uart, offset, size, value);
}

static void on_transmit(void *userdata, uint8_t byte) {
    struct port *port = userdata;

    backend_put(&port->backend, byte);
}

/* What was typed waits in the terminal until the UART has room for it: a fast typist is no overrun. */
static int serve_terminal(void *userdata) {
    struct port *port = userdata;
    struct ioregion_device *device = port->service->device;
    struct pollfd fds[2] = {{.fd = ioregion_device_fd(device), .events = POLLIN}, {.events = POLLIN}};
    uint8_t bytes[UART_16550_FIFO];
    int r = 0;

    while (r == 0) {
        unsigned room = uart_16550_room(&port->uart), n;

        fds[1].fd = room ? port->backend.input : -1;
        fds[1].revents = 0;
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return -errno;
        if (fds[1].revents) {
            n = backend_get(&port->backend, bytes, room);
            for (unsigned i = 0; i < n; i++)
                uart_16550_receive(&port->uart, bytes[i]);
        }
        r = ioregion_device_process(device);
    }
    return r;
}

static int parse(int argc, char **argv, struct service *service, const char **ret_backend) {
    int option, r;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (option == OPTION_BACKEND)
            *ret_backend = optarg;
        else if (option == OPTION_REPLAY)
            service->options.want |= IOREGION_FEATURE_REPLAY;
        else if ((r = service_option(service, option, optarg, help)) != 0)
            return r;
    }
    return service_operands(service, argc - optind, argv + optind);
}

/* The back end is opened first: once locked down, nothing can be opened. */
static int serve(struct service *service, struct port *port, const char *backend) {
    static const struct ioregion_device_ops ops = {.struct_size = sizeof(ops), .read = on_read, .write = on_write};
    int r = backend_open(&port->backend, backend);

    if (r < 0) {
        service_log(service, "can't open back end '%s': %s", backend, strerror(-r));
        return SERVICE_FAILED;
    }
    if (port->backend.path[0])
        service_log(service, "terminal %s", port->backend.path);

    uart_16550_init(&port->uart, on_transmit, port);
    r = service_attach(service, &ops, port);
    if (r == SERVICE_OK)
        r = service_run(service, port->backend.input >= 0 ? serve_terminal : NULL, port);
    if (port->backend.dropped)
        service_log(service, "%" PRIu64 " bytes were dropped: nobody took them", port->backend.dropped);
    backend_close(&port->backend);
    return r;
}

int main(int argc, char **argv) {
    struct service service = {
        .program = "ioregion-uart",
        .name = "uart0",
        .region = {.space = IOREGION_PIO, .base = 0x3f8, .size = UART_16550_SIZE},
        .lockdown = true,
    };
    const char *backend = "stdout";
    struct port port = {.service = &service};
    int r = parse(argc, argv, &service, &backend);

    if (r != 0)
        return r < 0 ? SERVICE_USAGE : SERVICE_OK;
    signal(SIGPIPE, SIG_IGN); /* a reader of ours that goes away is a dropped byte, not our end */
    return serve(&service, &port, backend);
}
