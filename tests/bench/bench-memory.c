/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a region costs the broker: resident memory with 1,000 VMs of one device with ten regions each, less idle. */

#include <stdio.h>

#include "bench-broker.h"

#define VMS 1000
#define REGIONS 10

int main(int argc, char **argv) {
    unsigned rounds = bench_rounds(argc, argv, 1);
    uint64_t idle, full, reply;
    static int fds[VMS][2];
    pid_t vmms, first;
    char name[32];
    sd_bus *bus;

    bench_start();
    bus = bench_bus();
    first = bench_vmms("first", 1); /* what is loaded and allocated once is not a region's */
    bench_attach(bus, "first0", "device", 0x1000, REGIONS, fds[0], &reply);
    bench_end(first);
    idle = bench_broker_rss();

    vmms = bench_vmms("vm", VMS);
    for (unsigned i = 0; i < VMS; i++) {
        snprintf(name, sizeof(name), "vm%u", i);
        bench_attach(bus, name, "device", 0x1000, REGIONS, fds[i], &reply);
    }
    full = bench_broker_rss();
    printf("%-16s idle %lu KiB, with %u VMs and %u regions %lu KiB\n", "rss-per-region", (unsigned long) idle, VMS,
           VMS * REGIONS, (unsigned long) full);
    printf("{\"bench\": \"rss-per-region\", \"ratio\": %.3f, \"rounds\": %u, \"unit\": \"KiB\"}\n",
           (double) (full - idle) / (VMS * REGIONS), rounds);
    sd_bus_flush_close_unref(bus);
    bench_end(vmms);
    bench_stop();
    return 0;
}
