/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ioregion-scratch: registers that keep what is written to them, as a process of its own. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arguments.h"
#include "internal/cleanup.h"
#include "scratch-registers.h"
#include "service.h"

static const char help[] = "ioregion-scratch --vm NAME --base ADDRESS | --fds [OPTION...]\n"
                           "\n"
                           "Serve registers that keep what is written to them, at every offset and width.\n"
                           "\n"
                           "The registers:\n"
                           "  --size N              bytes, with K, M or G after it (default 4K)\n"
                           "  --posted              the guest doesn't wait for its writes to be taken;\n"
                           "                        requires the feature posted-writes\n"
                           "  --channels N          ask for so many channels, use the first\n"
                           "  --test-controls       the last 64 bytes are 4-byte switches, for tests:\n"
                           "                        +0x00 writes so far   +0x04 reads so far\n"
                           "                        +0x08 N: answer the next access N ms late\n"
                           "                        +0x0c 0: die now; 1: die at the next access\n"
                           "                        +0x10 never answer again\n"
                           "                        +0x14 N: N bytes of garbage before the next answer\n";

enum { OPTION_SIZE = SERVICE_OPTION_OWN, OPTION_POSTED, OPTION_CHANNELS, OPTION_TEST_CONTROLS };

static const struct option options[] = {
    SERVICE_OPTIONS,
    {"size", required_argument, NULL, OPTION_SIZE},
    {"posted", no_argument, NULL, OPTION_POSTED},
    {"channels", required_argument, NULL, OPTION_CHANNELS},
    {"test-controls", no_argument, NULL, OPTION_TEST_CONTROLS},
    {0},
};

struct board {
    struct scratch scratch;
    int channel; /* the device library's, for garbage; -1 while not known */
};

static bool is_ioregionfd(int fd) {
    static const char name[] = "anon_inode:[ioregionfd]";
    char path[32], target[sizeof(name)];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return readlink(path, target, sizeof(target)) == sizeof(name) - 1 && memcmp(target, name, sizeof(name) - 1) == 0;
}

/* A socket of packets that another process made: the lease is one of our own making. */
static bool is_socket_of_channel(int fd) {
    struct ucred maker;
    socklen_t maker_size = sizeof(maker), type_size = sizeof(int);
    int type;

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) == 0 && type == SOCK_SEQPACKET &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &maker, &maker_size) == 0 && maker.pid != getpid();
}

/* The library keeps the channel to itself, as it should. */
static int find_channel(void) {
    for (int fd = STDERR_FILENO + 1; fd < 256; fd++)
        if (is_ioregionfd(fd) || is_socket_of_channel(fd))
            return fd;
    return -1;
}

/* poll() is the sleep that the locked-down process has. */
static void misbehave(const struct board *board, enum scratch_action action, uint32_t argument) {
    static const uint8_t garbage[4096] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    switch (action) {
    case SCRATCH_ANSWER:
        break;
    case SCRATCH_DO_DELAY:
        poll(NULL, 0, argument);
        break;
    case SCRATCH_DO_CRASH:
        __builtin_trap();
    case SCRATCH_DO_SILENCE:
        for (;;)
            poll(NULL, 0, -1);
    case SCRATCH_DO_GARBAGE:
        /* whoever reads it cuts us off, perhaps at once */
        (void) !write(board->channel, garbage, argument < sizeof(garbage) ? argument : sizeof(garbage));
        break;
    }
}

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    struct board *board = userdata;
    uint32_t argument;
    uint64_t value;
    enum scratch_action action = scratch_read(&board->scratch, offset, size, &value, &argument);

    misbehave(board, action, argument);
    return value;
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
    struct board *board = userdata;
    uint32_t argument;
    enum scratch_action action = scratch_write(&board->scratch, offset, size, value, &argument);

    misbehave(board, action, argument);
}

static int take_option(struct service *service, struct scratch *scratch, int option, const char *argument) {
    uint64_t number;

    switch (option) {
    case OPTION_SIZE:
        if (argument_number(argument, 1, UINT64_C(1) << 30, &service->region.size) < 0)
            return service_usage(service, "a size is from 1 to 1G, not '%s'", argument);
        return 0;
    case OPTION_POSTED:
        service->region.flags |= IOREGION_REGION_POSTED;
        return 0;
    case OPTION_CHANNELS:
        if (argument_number(argument, 1, UINT32_MAX, &number) < 0)
            return service_usage(service, "'%s' is no number of channels", argument);
        service->options.channels = number;
        return 0;
    case OPTION_TEST_CONTROLS:
        scratch->controls = true;
        return 0;
    default:
        return service_option(service, option, argument, help);
    }
}

static int parse(int argc, char **argv, struct service *service, struct scratch *scratch) {
    int option, r;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
        if ((r = take_option(service, scratch, option, optarg)) != 0)
            return r;
    if (optind < argc)
        return service_usage(service, "'%s' is too much", argv[optind]);
    if (service->fds)
        service->region.base = 0; /* commands count from the base, wherever it is */
    else if (!service->vm || service->region.base == UINT64_MAX)
        return service_usage(service, "--vm and --base are needed, or --fds");
    if (service->fds && scratch->controls)
        return service_usage(service, "--test-controls needs a device that attaches itself");
    if (scratch->controls && service->region.size < SCRATCH_CONTROL_SIZE)
        return service_usage(service, "--test-controls needs %d bytes", SCRATCH_CONTROL_SIZE);
    if (service->region.flags & IOREGION_REGION_POSTED)
        service->options.require |= IOREGION_FEATURE_POSTED_WRITES;
    return 0;
}

static int serve(struct service *service, struct board *board) {
    static const struct ioregion_device_ops ops = {.struct_size = sizeof(ops), .read = on_read, .write = on_write};
    static const struct rlimit no_core = {0};
    int r;

    if (board->scratch.controls) /* a crash on demand is no reason to leave a file behind */
        setrlimit(RLIMIT_CORE, &no_core);
    r = service_attach(service, &ops, board);
    if (r != SERVICE_OK)
        return r;
    if (board->scratch.controls)
        board->channel = find_channel();
    return service_run(service, NULL, NULL);
}

int main(int argc, char **argv) {
    struct service service = {
        .program = "ioregion-scratch",
        .name = "scratch0",
        .region = {.space = IOREGION_MMIO, .base = UINT64_MAX, .size = 4096},
        .lockdown = true,
    };
    _cleanup_(freep) uint8_t *memory = NULL;
    struct board board = {.channel = -1};
    int r = parse(argc, argv, &service, &board.scratch);

    if (r != 0)
        return r < 0 ? SERVICE_USAGE : SERVICE_OK;
    memory = calloc(1, service.region.size);
    if (!memory) {
        service_log(&service, "no memory for %llu bytes", (unsigned long long) service.region.size);
        return SERVICE_FAILED;
    }
    board.scratch.memory = memory;
    board.scratch.size = service.region.size;
    return serve(&service, &board);
}
