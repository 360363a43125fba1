/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Guests that are busy, and that count.
 *
 *     load VM          register VM; a device of its own process answers each read with the next number. Read it as fast
 *                      as it goes. With each line on standard input, say of the accesses since the last line: how many,
 *                      how many gave another number than the next one, and the 99.9th percentile of nanoseconds.
 *     load PREFIX N    register PREFIX0 to PREFIXn-1 with a device of ten regions each, say "ready", and do as told.
 *
 * Ends at end of file.
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <ioregion/device.h>
#include <ioregion/vmm.h>

#define BASE 0xd0000000
#define REGIONS 10
#define BUCKETS 4096 /* of 256 ns; the last has all that took longer */

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, ioregion_last_error());
    exit(1);
}

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    return ++*(uint64_t *) userdata;
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
}

static const struct ioregion_device_ops ops = {.struct_size = sizeof(ops), .read = on_read, .write = on_write};

static struct ioregion_device *attach(const char *vm, uint64_t *count) {
    struct ioregion_region regions[REGIONS];
    struct ioregion_device *device;

    for (unsigned i = 0; i < REGIONS; i++)
        regions[i] = (struct ioregion_region){.base = BASE + 16 * i, .size = 16, .user_data = i};
    if (ioregion_device_attach(&device, vm, "load", regions, REGIONS, NULL, &ops, count) < 0)
        fail("attach");
    return device;
}

/* The device's process. */
static void serve(const char *vm) {
    uint64_t count = 0;
    struct ioregion_device *device;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    device = attach(vm, &count);
    fprintf(stderr, "load: the device ended: %d\n", ioregion_device_run(device));
    exit(0);
}

static void *follow(void *userdata) {
    struct ioregion_vmm *vmm = userdata;
    struct pollfd p = {.fd = ioregion_vmm_fd(vmm), .events = POLLIN};

    while (poll(&p, 1, -1) > 0 && ioregion_vmm_process(vmm) >= 0)
        ;
    fprintf(stderr, "load: the VM ended\n");
    exit(1);
}

struct figures {
    uint64_t accesses, wrong, buckets[BUCKETS];
};

static uint64_t now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static uint64_t percentile(const struct figures *figures) {
    uint64_t beyond = figures->accesses / 1000, seen = 0;
    unsigned i = BUCKETS;

    while (i > 0 && seen <= beyond)
        seen += figures->buckets[--i];
    return i * UINT64_C(256);
}

static uint64_t read_once(struct ioregion_vmm *vmm, uint64_t expected, struct figures *figures) {
    uint64_t value = 0, begin = now(), took;

    if (ioregion_vmm_access(vmm, IOREGION_MMIO, BASE, &value, 8, false) != 1)
        value = 0;
    took = (now() - begin) / 256;
    figures->buckets[took < BUCKETS ? took : BUCKETS - 1]++;
    figures->accesses++;
    figures->wrong += value != expected;
    return value;
}

/* A line of standard input is there, or its end (-1). */
static int asked(void) {
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char line[64];

    if (poll(&p, 1, 0) <= 0)
        return 0;
    return read(STDIN_FILENO, line, sizeof(line)) > 0 ? 1 : -1;
}

static int run_guest(const char *name) {
    static struct figures figures;
    struct ioregion_vmm *vmm;
    uint64_t last = 0, value = 0;
    pthread_t thread;
    int r = 0;

    if (ioregion_vmm_register(&vmm, name, NULL) < 0)
        fail("register");
    if (fork() == 0)
        serve(name);
    pthread_create(&thread, NULL, follow, vmm);
    while (ioregion_vmm_access(vmm, IOREGION_MMIO, BASE, &value, 8, false) != 1) /* until the device is there */
        sched_yield();
    printf("ready\n");
    fflush(stdout);
    for (last = value; r >= 0; last = read_once(vmm, last + 1, &figures)) {
        r = figures.accesses % 64 == 63 ? asked() : 0;
        if (r <= 0)
            continue;
        printf("%ju %ju %ju\n", (uintmax_t) figures.accesses, (uintmax_t) figures.wrong,
               (uintmax_t) percentile(&figures));
        fflush(stdout);
        memset(&figures, 0, sizeof(figures));
    }
    return 0;
}

static int run_many(const char *prefix, unsigned n) {
    struct epoll_event event = {.events = EPOLLIN};
    int all = epoll_create1(EPOLL_CLOEXEC);
    struct ioregion_vmm *vmm;
    pthread_t thread;
    char name[64];

    for (unsigned i = 0; i < n; i++) {
        static uint64_t count;

        snprintf(name, sizeof(name), "%s%u", prefix, i);
        if (ioregion_vmm_register(&vmm, name, NULL) < 0)
            fail(name);
        pthread_create(&thread, NULL, follow, vmm);
        attach(name, &count);
    }
    printf("ready\n");
    fflush(stdout);
    event.data.fd = STDIN_FILENO;
    if (epoll_ctl(all, EPOLL_CTL_ADD, STDIN_FILENO, &event) == 0)
        epoll_wait(all, &event, 1, -1);
    return 0;
}

int main(int argc, char **argv) {
    struct rlimit limit;

    if (argc < 2)
        return 2;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return argc == 2 ? run_guest(argv[1]) : run_many(argv[1], (unsigned) atoi(argv[2]));
}
