/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TESTS_BENCH_BROKER_H
#define TESTS_BENCH_BROKER_H

/*
 * A broker to measure: a private bus, ioregiond on it, and a VMM in a process of its own. Everything ends with the
 * bench, whichever way it ends. Failures of the rig end the bench with a message.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

/* Start bus and broker. The process that calls it becomes the one that may do everything by policy. */
void bench_start(void);
void bench_stop(void);

/* The broker's resident memory, in KiB. */
uint64_t bench_broker_rss(void);

/* A process that registers VMs "PREFIX0" to "PREFIXn-1" and follows their regions; returns when all are registered. */
pid_t bench_vmms(const char *prefix, unsigned n);
void bench_end(pid_t child);

/* A connection to the bus, and to one with a service "org.ioregion1.Echo" whose method Echo asks who called. */
sd_bus *bench_bus(void);
pid_t bench_echo_service(void);

/*
 * Attach @device to @vm with @n_regions regions of 16 bytes from @base on, over an open connection; the lease and the
 * channel stay open in *ret_fds. Returns nanoseconds from the call to GRANT, and to the reply in *ret_reply.
 */
uint64_t bench_attach(sd_bus *bus, const char *vm, const char *device, uint64_t base, unsigned n_regions, int ret_fds[2],
                      uint64_t *ret_reply);

/* Wait until broker and bus have nothing left to do of what was asked so far. */
void bench_settle(sd_bus *bus);

/* Give it all back, and settle. */
void bench_release(sd_bus *bus, int fds[2]);

uint64_t bench_now(void); /* nanoseconds */
double bench_median(double *values, size_t n);
unsigned bench_rounds(int argc, char **argv, unsigned otherwise);
void bench_fail(const char *what, int error) __attribute__((noreturn));

#endif
