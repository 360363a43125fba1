/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Readers of posted writes that stay awake: when they do, when they don't, and what ends it. */

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "module.h"
#include "tap.h"
#include "vm.h"

#define WRITES 50

struct reader {
    pthread_t thread;
    int fd, cpu, tid;
    unsigned n; /* commands that it has read */
    ssize_t end; /* of the read after those */
    int error;
};

static void pin(int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    REQUIRE(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static void *read_all(void *argument) {
    struct reader *reader = argument;
    struct ioregionfd_cmd command;

    pin(reader->cpu);
    reader->tid = gettid();
    while ((reader->end = read(reader->fd, &command, sizeof(command))) == sizeof(command))
        CHECK_EQ(command.data, __atomic_fetch_add(&reader->n, 1, __ATOMIC_SEQ_CST));
    reader->error = errno;
    return NULL;
}

/* So many posted writes, each once the one before it was read. */
static void write_more(struct reader *reader, struct vm *vm, unsigned count) {
    uint64_t until = now_msec() + 10000;

    for (unsigned i = 0; i < count; i++) {
        unsigned before = __atomic_load_n(&reader->n, __ATOMIC_SEQ_CST);

        vm_write(vm, WRITE32, 0, before);
        while (__atomic_load_n(&reader->n, __ATOMIC_SEQ_CST) == before) {
            REQUIRE(now_msec() < until);
            sched_yield();
        }
    }
}

static void start(struct reader *reader, struct vm *vm, int cpu, const char *linger_usec) {
    REQUIRE(module_set("ioregionfd", "linger_usec", linger_usec) == 0);
    vm_new(vm);
    *reader = (struct reader){.fd = channel_new(0), .cpu = cpu};
    CHECK_EQ(region_set(vm->handle, region_at(VM_MMIO, 16, 1, reader->fd, KVM_IOREGION_POSTED_WRITES)), 0);
    pin(0);
    REQUIRE(pthread_create(&reader->thread, NULL, read_all, reader) == 0);
    write_more(reader, vm, 5);
}

static void join(struct reader *reader) {
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 5;
    REQUIRE(pthread_timedjoin_np(reader->thread, NULL, &until) == 0);
    REQUIRE(module_set("ioregionfd", "linger_usec", "100") == 0);
}

/* Of the thread's status: what comes behind this name. */
static void status(const struct reader *reader, const char *name, char value[static 32]) {
    char path[64], line[256];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/task/%d/status", reader->tid);
    file = fopen(path, "re");
    REQUIRE(file);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0)
            snprintf(value, 32, "%s", line + strlen(name) + 2);
    fclose(file);
}

/* How often it sleeps for these writes. */
static long sleeps(struct reader *reader, struct vm *vm) {
    char before[32] = "", after[32] = "";

    status(reader, "voluntary_ctxt_switches", before);
    write_more(reader, vm, WRITES);
    status(reader, "voluntary_ctxt_switches", after);
    return atol(after) - atol(before);
}

/* Somebody else may want its CPU now and then, but not all the time. */
static bool stays_awake(struct reader *reader, struct vm *vm) {
    for (unsigned i = 0; i < 5; i++)
        if (sleeps(reader, vm) < WRITES / 4)
            return true;
    return false;
}

/* Somebody else may have wanted its CPU just then; after the next write it tries again. */
static void write_until_it_stays_awake(struct reader *reader, struct vm *vm) {
    char state[32] = "";

    for (unsigned i = 0; i < 100 && state[0] != 'R'; i++) {
        write_more(reader, vm, 2);
        usleep(2000);
        status(reader, "State", state);
    }
    CHECK_EQ(state[0], 'R');
}

/* The VM ends while nobody sleeps who could be woken. */
static void linger_until_the_end(void) {
    struct reader reader;
    struct vm vm;

    start(&reader, &vm, 1, "20000000");
    CHECK(stays_awake(&reader, &vm));
    write_until_it_stays_awake(&reader, &vm);
    vm_free(&vm);
    join(&reader);
    CHECK_EQ(reader.end, 0);
}

static void on_signal(int number) {
    (void) number;
}

static void linger_until_a_signal(void) {
    struct sigaction action = {.sa_handler = on_signal};
    struct reader reader;
    struct vm vm;

    REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
    start(&reader, &vm, 1, "20000000");
    write_until_it_stays_awake(&reader, &vm);
    REQUIRE(pthread_kill(reader.thread, SIGUSR1) == 0);
    join(&reader);
    CHECK(reader.end < 0 && reader.error == EINTR);
    vm_free(&vm);
}

static void linger_on_nobody_elses_cpu(void) {
    struct reader reader;
    struct vm vm;

    start(&reader, &vm, 0, "20000000");
    CHECK(sleeps(&reader, &vm) > WRITES / 2);
    vm_free(&vm);
    join(&reader);
}

/* Who is written to more rarely than that, and who is told so, sleeps. */
static void linger_not(void) {
    static const char *const limits[] = {"0", "1"};

    for (unsigned i = 0; i < 2; i++) {
        struct reader reader;
        struct vm vm;

        start(&reader, &vm, 1, limits[i]);
        CHECK(sleeps(&reader, &vm) > WRITES / 2);
        vm_free(&vm);
        join(&reader);
    }
}

const struct test tests_linger[] = {
    TEST(linger_until_the_end), TEST(linger_until_a_signal), TEST(linger_on_nobody_elses_cpu), TEST(linger_not), {0},
};
