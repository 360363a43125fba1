/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What an exchange through libioregion costs, against the least that it could: 32 bytes there and 32 back over a
 * blocking SEQPACKET pair between two processes. A line of JSON each for two CPUs, for one, and for ten thousand
 * regions against one. Devices are processes of their own, asleep unless it is their turn; contestants alternate in
 * short slices, so that what else runs on the machine meets them alike; the ratio is the median of the rounds.
 */

#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <ioregion/device.h>
#include "clock.h"
#include "vmm-internal.h"

#define SLICES     5
#define SLICE_USEC 10000
#define MANY       10000

struct contestant {
    pid_t device;
    int fd;                   /* bare */
    struct ioregion_vmm *vmm; /* libioregion */
    int lease;
    size_t n_regions;
};

static void pin(int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        err(1, "sched_setaffinity");
}

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    return region ^ offset;
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
}

/* A device of @n regions of 8 bytes; the n-th at 16 * n. With none: the bare one. */
static void device_main(int fd, size_t n) {
    static const struct ioregion_device_ops ops = {sizeof(ops), on_read, on_write, NULL, NULL};
    struct ioregion_region *regions = calloc(n ?: 1, sizeof(*regions));
    struct ioregion_device *device;
    struct ioregion_command command;
    struct ioregion_response response = {.data = 0};

    if (n == 0) {
        while (recv(fd, &command, sizeof(command), 0) == sizeof(command))
            send(fd, &response, sizeof(response), MSG_NOSIGNAL);
        _exit(0);
    }
    for (size_t i = 0; i < n; i++)
        regions[i] = (struct ioregion_region){.base = 16 * i, .size = 8, .user_data = i};
    if (ioregion_device_from_fds(&device, &fd, 1, -1, 0, regions, n, &ops, NULL) < 0)
        errx(1, "%s", ioregion_last_error());
    ioregion_device_run(device);
    _exit(0);
}

static void send_add(int lease, size_t i, int fd) {
    struct ioregion_lease_region_add add = {
        .header = {IOREGION_LEASE_REGION_ADD, sizeof(add)}, .serial = i, .region = i + 1, .base = 16 * i, .size = 8,
        .user_data = i, .timeout_usec = 1000000, .channel = 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec body = {&add, sizeof(add)};
    struct msghdr message = {.msg_iov = &body, .msg_iovlen = 1};

    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
    }
    if (sendmsg(lease, &message, 0) < 0)
        err(1, "lease");
}

static void make_vmm(struct contestant *contestant, int fd) {
    struct ioregion_lease_ack ack;
    int lease[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lease) < 0 ||
        ioregion_vmm_from_lease(&contestant->vmm, lease[1]) < 0)
        errx(1, "VMM");
    contestant->lease = lease[0];
    for (size_t i = 0; i < contestant->n_regions; i++) {
        send_add(lease[0], i, i == 0 ? fd : -1);
        if (ioregion_vmm_process(contestant->vmm) < 0 || recv(lease[0], &ack, sizeof(ack), 0) < 0 || ack.error)
            errx(1, "region %zu: %s", i, strerror(ack.error));
    }
}

static void start(struct contestant *contestant, size_t n_regions, int device_cpu) {
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        err(1, "socketpair");
    *contestant = (struct contestant){.n_regions = n_regions, .fd = -1};
    contestant->device = fork();
    if (contestant->device == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        pin(device_cpu);
        device_main(pair[1], n_regions);
    }
    close(pair[1]);
    if (n_regions == 0) {
        contestant->fd = pair[0];
        return;
    }
    make_vmm(contestant, pair[0]);
    close(pair[0]);
}

/* Killed, because a device that was forked later holds the other end of this one's channel, too. */
static void stop(struct contestant *contestant) {
    kill(contestant->device, SIGKILL);
    waitpid(contestant->device, NULL, 0);
    if (contestant->vmm) {
        ioregion_vmm_free(contestant->vmm);
        close(contestant->lease);
    } else {
        close(contestant->fd);
    }
}

static void exchange_bare(int fd) {
    struct ioregion_command command = {.info = 0x60};
    struct ioregion_response response;

    if (send(fd, &command, sizeof(command), MSG_NOSIGNAL) < 0 || recv(fd, &response, sizeof(response), 0) < 0)
        err(1, "bare exchange");
}

/* Microseconds an exchange, over one slice. */
static double slice(const struct contestant *contestant) {
    uint64_t start = clock_now_usec(), now, n = 0, i = 0;

    do {
        for (int burst = 0; burst < 50; burst++, n++) {
            uint32_t value;

            i = (i + 7919) % (contestant->n_regions ?: 1); /* all over the table */
            if (!contestant->vmm)
                exchange_bare(contestant->fd);
            else if (ioregion_vmm_access(contestant->vmm, IOREGION_MMIO, 16 * i, &value, 4, 0) != 1 || value != i)
                errx(1, "wrong answer");
        }
        now = clock_now_usec();
    } while (now - start < SLICE_USEC);
    return (double) (now - start) / (double) n;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;

    return x < y ? -1 : x > y;
}

static double median(double *values, int n) {
    qsort(values, (size_t) n, sizeof(*values), ascending);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Nanoseconds to find and leave a region. */
static double lookup(struct contestant *contestant) {
    uint64_t start = clock_now_usec(), i = 0;

    for (int n = 0; n < 1000000; n++) {
        i = (i + 7919) % contestant->n_regions;
        tables_leave(tables_enter(&contestant->vmm->tables, IOREGION_MMIO, 16 * i, 4));
    }
    return (double) (clock_now_usec() - start) / 1000;
}

static void bench(const char *name, size_t regions, size_t base_regions, int device_cpu, int rounds) {
    double *ratios = calloc((size_t) rounds, sizeof(double)), *ours = calloc((size_t) rounds, sizeof(double));
    double *theirs = calloc((size_t) rounds, sizeof(double));
    struct contestant a, b;

    start(&a, regions, device_cpu);
    start(&b, base_regions, device_cpu);
    slice(&a);
    slice(&b);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < SLICES; i++) {
            theirs[round] += slice(&b) / SLICES;
            ours[round] += slice(&a) / SLICES;
        }
        ratios[round] = ours[round] / theirs[round];
    }
    printf("{\"bench\": \"%s\", \"ratio\": %.3f, \"rounds\": %d, \"usec\": %.2f, \"base_usec\": %.2f", name,
           median(ratios, rounds), rounds, median(ours, rounds), median(theirs, rounds));
    if (base_regions)
        printf(", \"lookup_nsec\": %.0f, \"base_lookup_nsec\": %.0f", lookup(&a), lookup(&b));
    printf("}\n");
    fflush(stdout);
    stop(&a);
    stop(&b);
    free(ratios);
    free(ours);
    free(theirs);
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"rounds", required_argument, NULL, 'r'}, {0}};
    cpu_set_t cpus;
    int option, rounds = 15, first = -1, second = -1;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (option != 'r' || (rounds = atoi(optarg)) < 1)
            errx(2, "usage: bench-exchange [--rounds N]");
    }
    if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
        err(1, "sched_getaffinity");
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--)
        if (CPU_ISSET(cpu, &cpus)) {
            second = first;
            first = cpu;
        }
    pin(first);
    if (second >= 0)
        bench("exchange", 1, 0, second, rounds);
    bench("exchange-1cpu", 1, 0, first, rounds);
    bench("exchange-10k", MANY, 1, second >= 0 ? second : first, rounds);
    return 0;
}
