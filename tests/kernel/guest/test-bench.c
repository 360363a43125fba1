/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * How long an access takes, in rounds that take turns: answered by the VMM, by a process that the VMM forwards to over
 * a socket, and by a process through the module. Under QEMU's TCG: ratios mean more than times. "rounds" on the
 * kernel's command line asks for more than a look.
 */

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

#define ACCESSES   300
#define MAX_ROUNDS 100

static unsigned rounds(void) {
    unsigned n = getenv("rounds") ? (unsigned) atoi(getenv("rounds")) : 3;

    return n < MAX_ROUNDS ? n : MAX_ROUNDS;
}

static double now_usec(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3;
}

/* Microseconds for an access. */
static double measure(struct vm *vm, uint16_t op, uint16_t address) {
    struct step steps[ACCESSES];
    double start;

    for (unsigned i = 0; i < ACCESSES; i++)
        steps[i] = STEP(op, address);
    start = now_usec();
    vm_run(vm, 0, steps, ACCESSES);
    return (now_usec() - start) / ACCESSES;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static double median(const double *values, unsigned n) {
    double sorted[MAX_ROUNDS];

    memcpy(sorted, values, n * sizeof(*values));
    qsort(sorted, n, sizeof(*sorted), compare);
    return sorted[n / 2];
}

/* What a VMM does that has its device in another process, and no module. */
static void forward(struct vm *vm, struct kvm_run *run) {
    struct ioregionfd_cmd command = {.info = IOREGIONFD_CMD_RESP | 2 << IOREGIONFD_CMD_SIZE_SHIFT | run->mmio.is_write,
                                     .offset = run->mmio.phys_addr & 0xff};
    struct ioregionfd_resp response;

    memcpy(&command.data, run->mmio.data, run->mmio.is_write ? run->mmio.len : 0);
    REQUIRE(send(vm->userdata, &command, sizeof(command), 0) == sizeof(command));
    REQUIRE(recv(vm->userdata, &response, sizeof(response), 0) == sizeof(response));
    memcpy(run->mmio.data, &response.data, run->mmio.len);
}

static void fork_device(int fd, int not_ours) {
    if (fork() != 0)
        return;
    close(not_ours);
    device_loop(fd);
    _exit(0);
}

static void bench_of_who_answers(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    double alone[MAX_ROUNDS], forwarded[MAX_ROUNDS], kernel[MAX_ROUNDS];
    unsigned n = rounds(), faster = 0, exits = 0;
    int pair[2];
    struct vm vm;

    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    fork_device(region.fd, vm.handle);
    fork_device(pair[1], pair[0]);
    vm.userdata = pair[0];
    for (unsigned i = 0; i < n; i++) {
        unsigned before = vm.exits;

        kernel[i] = measure(&vm, READ32, 0);
        exits += vm.exits - before;
        vm.on_mmio = NULL;
        alone[i] = measure(&vm, READ32, 0x200);
        vm.on_mmio = forward;
        forwarded[i] = measure(&vm, READ32, 0x200);
        faster += kernel[i] < forwarded[i];
    }
    printf("# {\"name\": \"kernel-exits\", \"value\": %u}\n", exits);
    printf("# {\"name\": \"kernel-vs-forward\", \"value\": %.2f, \"faster\": %u, \"rounds\": %u, ",
           median(forwarded, n) / median(kernel, n), faster, n);
    printf("\"usec\": {\"vmm\": %.1f, \"forwarder\": %.1f, \"kernel\": %.1f}}\n", median(alone, n),
           median(forwarded, n), median(kernel, n));
    CHECK_EQ(exits, 0);
    vm_free(&vm);
}

static void bench_of_posted_writes(void) {
    struct kvm_ioregion answered = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    struct kvm_ioregion posted = region_at(VM_MMIO + 0x100, 0x100, 2, channel_new(0), KVM_IOREGION_POSTED_WRITES);
    double with[MAX_ROUNDS], without[MAX_ROUNDS];
    unsigned n = rounds();
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, answered), 0);
    CHECK_EQ(region_set(vm.handle, posted), 0);
    fork_device(answered.fd, vm.handle);
    fork_device(posted.fd, vm.handle);
    for (unsigned i = 0; i < n; i++) {
        with[i] = measure(&vm, WRITE32, 0);
        without[i] = measure(&vm, WRITE32, 0x100);
    }
    printf("# {\"name\": \"posted-vs-answered\", \"value\": %.2f, \"usec\": {\"answered\": %.1f, \"posted\": %.1f}}\n",
           median(with, n) / median(without, n), median(with, n), median(without, n));
    vm_free(&vm);
}

static void bench_of_many_regions(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x10, 0, channel_new(0), 0);
    double one[MAX_ROUNDS], many[MAX_ROUNDS];
    unsigned n = rounds();
    struct vm vm[2];

    for (unsigned i = 0; i < 2; i++) {
        region.fd = channel_new(0);
        vm_new(&vm[i]);
        for (unsigned j = 0; j < (i ? 256 : 1); j++) {
            region.guest_paddr = VM_MMIO + 0x10 * j;
            region.user_data = j;
            CHECK_EQ(region_set(vm[i].handle, region), 0);
        }
        fork_device(region.fd, vm[i].handle);
    }
    for (unsigned i = 0; i < n; i++) {
        one[i] = measure(&vm[0], READ32, 0);
        many[i] = measure(&vm[1], READ32, 0x10);
    }
    printf("# {\"name\": \"regions-256\", \"value\": %.2f, \"usec\": {\"1\": %.1f, \"256\": %.1f}}\n",
           median(many, n) / median(one, n), median(one, n), median(many, n));
    for (unsigned i = 0; i < 2; i++)
        vm_free(&vm[i]);
}

const struct test tests_bench[] = {
    TEST(bench_of_who_answers, 120), TEST(bench_of_posted_writes, 120), TEST(bench_of_many_regions, 120), {0},
};
