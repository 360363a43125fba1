/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What an attach costs: from the D-Bus call to GRANT, against a bare method call to a service that asks the bus who
 * called, on the same bus; and whether the thousandth attach, of ten regions each, costs more than the tenth.
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench-broker.h"

#define CALLS 50
#define ATTACHES 1000
#define REGIONS 10
#define WINDOW 11

/* A median of an odd number of calls, in nanoseconds. */
static double echo(sd_bus *bus) {
    double times[CALLS];

    for (unsigned i = 0; i < CALLS; i++) {
        uint64_t begin = bench_now();
        int r = sd_bus_call_method(bus, "org.ioregion1.Echo", "/echo", "org.ioregion1.Echo", "Echo", NULL, NULL, "sh",
                                   "vm0", STDIN_FILENO);

        if (r < 0)
            bench_fail("echo", r);
        times[i] = (double) (bench_now() - begin);
    }
    return bench_median(times, CALLS);
}

static double attach(sd_bus *bus, double *ret_reply) {
    double grants[CALLS], replies[CALLS];
    uint64_t reply;
    int fds[2];

    for (unsigned i = 0; i < CALLS; i++) {
        grants[i] = (double) bench_attach(bus, "vm0", "device", 0x1000, 1, fds, &reply);
        replies[i] = (double) reply;
        bench_release(bus, fds);
    }
    *ret_reply = bench_median(replies, CALLS);
    return bench_median(grants, CALLS);
}

static void bench_attach_against_echo(unsigned rounds) {
    double *bare = calloc(rounds, sizeof(double)), *grant = calloc(rounds, sizeof(double));
    double *reply = calloc(rounds, sizeof(double)), b, g, r;
    pid_t service = bench_echo_service(), vmm = bench_vmms("vm", 1);
    sd_bus *bus = bench_bus();

    for (unsigned i = 0; i < rounds; i++) {
        bare[i] = echo(bus);
        grant[i] = attach(bus, &reply[i]);
    }
    b = bench_median(bare, rounds);
    g = bench_median(grant, rounds);
    r = bench_median(reply, rounds);
    printf("%-16s call with credentials %.0f us, attach to GRANT %.0f us, to the reply %.0f us\n", "attach", b / 1000,
           g / 1000, r / 1000);
    printf("{\"bench\": \"attach\", \"ratio\": %.3f, \"rounds\": %u, \"reply_ratio\": %.3f}\n", g / b, rounds, r / b);
    sd_bus_flush_close_unref(bus);
    bench_end(vmm);
    bench_end(service);
    free(bare);
    free(grant);
    free(reply);
}

/* The median of the attaches around number @middle. */
static double around(const double *times, unsigned middle) {
    double window[WINDOW];

    for (unsigned i = 0; i < WINDOW; i++)
        window[i] = times[middle - 1 - WINDOW / 2 + i];
    return bench_median(window, WINDOW);
}

static void bench_growth(unsigned rounds) {
    double *tenth = calloc(rounds, sizeof(double)), *thousandth = calloc(rounds, sizeof(double)), t, k;
    static double times[ATTACHES + WINDOW];
    static int fds[ATTACHES + WINDOW][2];
    sd_bus *bus = bench_bus();
    char prefix[32], vm[40], name[32];
    uint64_t reply;

    for (unsigned round = 0; round < rounds; round++) {
        pid_t vmm;

        snprintf(prefix, sizeof(prefix), "round%u-", round);
        snprintf(vm, sizeof(vm), "%s0", prefix);
        vmm = bench_vmms(prefix, 1);
        for (unsigned i = 0; i < ATTACHES + WINDOW; i++) {
            snprintf(name, sizeof(name), "device%u", i);
            times[i] = (double) bench_attach(bus, vm, name, 0x1000 + 0x1000 * (uint64_t) i, REGIONS, fds[i], &reply);
            bench_settle(bus);
        }
        for (unsigned i = 0; i < ATTACHES + WINDOW; i++) {
            close(fds[i][0]);
            close(fds[i][1]);
        }
        bench_end(vmm); /* and with it all of its devices */
        tenth[round] = around(times, 10);
        thousandth[round] = around(times, ATTACHES);
    }
    t = bench_median(tenth, rounds);
    k = bench_median(thousandth, rounds);
    printf("%-16s number 10: %.0f us, number 1000: %.0f us, of %u regions each\n", "attach-growth", t / 1000, k / 1000,
           REGIONS);
    printf("{\"bench\": \"attach-growth\", \"ratio\": %.3f, \"rounds\": %u}\n", k / t, rounds);
    sd_bus_flush_close_unref(bus);
    free(tenth);
    free(thousandth);
}

int main(int argc, char **argv) {
    unsigned rounds = bench_rounds(argc, argv, 11);

    bench_start();
    bench_attach_against_echo(rounds);
    bench_growth((rounds + 2) / 3);
    bench_stop();
    return 0;
}
