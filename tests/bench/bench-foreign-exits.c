/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What ioregion-run costs a VMM whose guest does without devices of ours: the same VMM twice, plain and under
 * ioregion-run with a registered VM and regions elsewhere, on one CPU, rounds in turns. Every exit is the VMM's own.
 * The ratio is that of the medians; with the usual rounds each makes 100,000 exits.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ioregion/device.h>

#include "bench-broker.h"
#include "clients/vmm/kvm.h"

#define VM "bench"
#define PORT 0x80
#define LOAD 0x1000
#define EXITS 100 /* a round is short, so that both meet the same weather */
#define ROUNDS 1000
#define REGIONS 64
#define LIMIT 200 /* seconds, for everything */

/* Read the port for ever. */
static const uint8_t guest[] = {
    0xe4, PORT, /* 1: in al, PORT */
    0xeb, 0xfc, /*    jmp 1b */
};

struct vmm {
    pid_t pid;
    int control; /* a byte asks for a round, its nanoseconds are the answer */
};

/* ---- the VMM ---- */

static void pin(int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static uint64_t run_round(struct kvm_vm *vm) {
    uint64_t begin = bench_now();

    for (unsigned i = 0; i < EXITS; i++)
        if (kvm_vm_run(vm) < 0 || vm->run->exit_reason != KVM_EXIT_IO || vm->run->io.port != PORT)
            exit(1);
    return bench_now() - begin;
}

static int run_vmm(void) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    uint64_t nanoseconds = 0;
    struct kvm_vm *vm;
    char byte;

    pin(0);
    if (kvm < 0 || kvm_vm_new(&vm, kvm, guest, sizeof(guest), LOAD) < 0 || kvm_vm_reset(vm, LOAD, 0) < 0)
        return 1;
    run_round(vm);
    do
        if (write(STDOUT_FILENO, &nanoseconds, sizeof(nanoseconds)) != sizeof(nanoseconds))
            return 1;
    while (read(STDIN_FILENO, &byte, 1) == 1 && (nanoseconds = run_round(vm)));
    return 0;
}

/* ---- the contest ---- */

static uint64_t answer(const struct vmm *vmm) {
    uint64_t nanoseconds;

    if (read(vmm->control, &nanoseconds, sizeof(nanoseconds)) != sizeof(nanoseconds))
        bench_fail("a VMM ended", EIO);
    return nanoseconds;
}

/* Returns when it has warmed up. */
static void start_vmm(struct vmm *vmm, const char *const *arguments) {
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        bench_fail("socketpair", errno);
    vmm->pid = fork();
    if (vmm->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(pair[1], STDIN_FILENO);
        dup2(pair[1], STDOUT_FILENO);
        execv(arguments[0], (char *const *) arguments);
        _exit(127);
    }
    close(pair[1]);
    vmm->control = pair[0];
    answer(vmm);
}

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    return 0;
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
}

/* Regions that the guest leaves alone, for the library to look through. */
static struct ioregion_device *attach_regions(void) {
    static const struct ioregion_device_ops ops = {.struct_size = sizeof(ops), .read = on_read, .write = on_write};
    struct ioregion_region regions[REGIONS];
    struct ioregion_device *device;

    for (unsigned i = 0; i < REGIONS; i++)
        regions[i] =
            (struct ioregion_region){.space = IOREGION_PIO, .base = 0x4000 + 16 * i, .size = 1, .user_data = i};
    if (ioregion_device_attach(&device, VM, "elsewhere", regions, REGIONS, NULL, &ops, NULL) < 0) {
        fprintf(stderr, "bench: %s\n", ioregion_last_error());
        bench_fail("attach", EIO);
    }
    return device;
}

static double round_of(const struct vmm *vmm) {
    if (write(vmm->control, "", 1) != 1)
        bench_fail("a VMM ended", errno);
    return (double) answer(vmm) / EXITS;
}

static void run_contest(const struct vmm *plain, const struct vmm *layered, unsigned rounds) {
    double *without = calloc(rounds, sizeof(double)), *with = calloc(rounds, sizeof(double)), a, b;

    for (unsigned i = 0; i < rounds; i++) { /* who goes first takes turns too */
        if (i % 2)
            with[i] = round_of(layered);
        without[i] = round_of(plain);
        if (i % 2 == 0)
            with[i] = round_of(layered);
    }
    a = bench_median(with, rounds);
    b = bench_median(without, rounds);
    printf("%-16s an exit of the VMM's own %.0f ns, under ioregion-run %.0f ns\n", "foreign-exits", b, a);
    printf("{\"bench\": \"foreign-exits\", \"ratio\": %.3f, \"rounds\": %u, \"exits\": %u}\n", a / b, rounds,
           rounds * EXITS);
    free(without);
    free(with);
}

int main(int argc, char **argv) {
    static char self[4096];
    const char *const plainly[] = {self, "--vmm", NULL};
    const char *const under[] = {
        BUILD_ROOT "/clients/ioregion-run/ioregion-run", "--vm", VM, "--", self, "--vmm", NULL};
    struct ioregion_device *device;
    struct vmm plain, layered;
    unsigned rounds;

    if (argc == 2 && strcmp(argv[1], "--vmm") == 0)
        return run_vmm();
    rounds = bench_rounds(argc, argv, ROUNDS);
    if (access("/dev/kvm", R_OK | W_OK) < 0) {
        printf("skipped: no /dev/kvm (%s)\n", strerror(errno));
        return 77;
    }
    alarm(LIMIT);
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        bench_fail("/proc/self/exe", errno);
    bench_start();
    start_vmm(&plain, plainly);
    start_vmm(&layered, under);
    device = attach_regions();
    run_contest(&plain, &layered, rounds);
    ioregion_device_free(device);
    bench_end(plain.pid);
    bench_end(layered.pid);
    bench_stop();
    return 0;
}
