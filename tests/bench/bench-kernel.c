/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a guest's access costs through ioregionfd.ko; runs in the module's rig, on the VM of its tests, see
 * bench-kernel.sh. Ways to answer take turns, a short round each; figures are ratios of medians, once with the vCPU and
 * the devices on two CPUs and once ("-1cpu") on one. Under emulation, times mean little, and ratios more; those of two
 * CPUs mean something where the host has two that are idle.
 *
 *   kernel-exits        exits to the VMM in 1,000 accesses to a region
 *   kernel-vs-forward   a read that the VMM forwards by hand / one through the module; also those that the VMM answers
 *                       itself, and that libioregion's vmm dispatcher forwards
 *   posted-vs-answered  a write that is answered / a posted one; also with readers that always sleep, with one that
 *                       preempts nobody (SCHED_BATCH), and what a write to an ioeventfd takes, with a reader and with
 *                       none, which is as much as KVM needs to get to any device in the kernel
 *   regions-256         a read with 256 regions / with one
 */

#include <errno.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <ioregion/lease.h>
#include <ioregion/vmm.h>

#include "module.h"
#include "tap.h"
#include "vm.h"

#define ACCESSES   300
#define MAX_ROUNDS 100
#define FORWARDED  0x400 /* offsets from VM_MMIO where the VMM knows what to do */
#define LIBRARY    0x500
#define NOWHERE    0x600

struct way {
    struct vm *vm;
    enum op op;
    uint16_t address;
    const char *linger; /* linger_usec; NULL: as it is */
    double usec[MAX_ROUNDS];
};

static struct ioregion_vmm *library; /* on_mmio() has no room for it */

static unsigned rounds(void) {
    unsigned n = (unsigned) atoi(getenv("bench"));

    return n > 0 && n < MAX_ROUNDS ? n : 10;
}

static void pin(int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    REQUIRE(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static double now_usec(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3;
}

/* Microseconds for an access. */
static double measure(const struct way *way) {
    struct step steps[ACCESSES];
    double start;

    for (unsigned i = 0; i < ACCESSES; i++)
        steps[i] = STEP(way->op, way->address);
    if (way->linger)
        REQUIRE(module_set("ioregionfd", "linger_usec", way->linger) == 0);
    start = now_usec();
    vm_run(way->vm, 0, steps, ACCESSES);
    return (now_usec() - start) / ACCESSES;
}

/* All ways in each round, after one that does not count; who goes first takes turns. */
static void run_rounds(struct way *ways, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        measure(&ways[i]);
    for (unsigned round = 0; round < rounds(); round++)
        for (unsigned i = 0; i < n; i++) {
            struct way *way = &ways[(round + i) % n];

            way->usec[round] = measure(way);
        }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static double median(const struct way *way) {
    double sorted[MAX_ROUNDS];
    unsigned n = rounds();

    memcpy(sorted, way->usec, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), compare);
    return (sorted[n / 2] + sorted[(n - 1) / 2]) / 2;
}

static void count_events(int fd) {
    uint64_t events;

    while (read(fd, &events, sizeof(events)) == sizeof(events))
        ;
}

/* One process and CPU for each device; ends with its descriptor, or with the test. What is measured stays on CPU 0. */
static void start_process(int fd, int cpu, int policy, void (*loop)(int fd)) {
    pid_t child = fork();

    REQUIRE(child >= 0);
    if (child != 0) {
        close(fd);
        return;
    }
    if (dup2(fd, 3) != 3) /* and nothing else: what it held would not end */
        _exit(1);
    closefrom(4);
    pin(cpu);
    if (sched_setscheduler(0, policy, &(struct sched_param){0}) < 0)
        _exit(1);
    loop(3);
    _exit(0);
}

static void start_device(int fd, int cpu) {
    start_process(fd, cpu, SCHED_OTHER, device_loop);
}

/* The other end of a device behind a socket. */
static int socket_device(int cpu) {
    int pair[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    start_device(pair[1], cpu);
    return pair[0];
}

static void add_region(struct vm *vm, struct kvm_ioregion region, int cpu) {
    CHECK_EQ(region_set(vm->handle, region), 0);
    start_device(region.fd, cpu);
}

/* What a VMM does that has its device in another process, and neither the module nor a library. */
static void forward(int channel, struct kvm_run *run) {
    struct ioregionfd_cmd command = {.info = IOREGIONFD_CMD_RESP | 2 << IOREGIONFD_CMD_SIZE_SHIFT,
                                     .offset = run->mmio.phys_addr & 0xff};
    struct ioregionfd_resp response;

    REQUIRE(send(channel, &command, sizeof(command), 0) == sizeof(command));
    REQUIRE(recv(channel, &response, sizeof(response), 0) == sizeof(response));
    memcpy(run->mmio.data, &response.data, run->mmio.len);
}

static void on_mmio(struct vm *vm, struct kvm_run *run) {
    switch (run->mmio.phys_addr - VM_MMIO) {
    case FORWARDED:
        forward(vm->userdata, run);
        break;
    case LIBRARY:
        REQUIRE(ioregion_vmm_handle_exit(library, run) == 1);
        break;
    default:
        memset(run->mmio.data, VMM_ANSWER, run->mmio.len);
    }
}

/* Plays the broker for one message: the library learns of its region, and of the channel. */
static struct ioregion_vmm *library_with(int channel) {
    struct ioregion_lease_region_add add = {
        .header = {IOREGION_LEASE_REGION_ADD, sizeof(add)}, .serial = 1, .region = 1, .base = VM_MMIO + LIBRARY,
        .size = 0x100, .user_data = 1, .timeout_usec = 1000000, .space = IOREGION_MMIO, .channel = 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.align = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
    struct iovec data = {&add, sizeof(add)};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct ioregion_lease_ack ack;
    struct ioregion_vmm *vmm;
    int lease[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lease) == 0);
    memcpy(CMSG_DATA(&control.align), &channel, sizeof(channel));
    REQUIRE(ioregion_vmm_from_lease(&vmm, lease[1]) == 0);
    REQUIRE(sendmsg(lease[0], &message, 0) == sizeof(add));
    REQUIRE(ioregion_vmm_process(vmm) == 0);
    REQUIRE(recv(lease[0], &ack, sizeof(ack), MSG_DONTWAIT) == sizeof(ack) && ack.error == 0);
    return vmm; /* the lease's other end stays open until the process ends */
}

static void print_answers(const struct way *ways, unsigned exits, const char *suffix) {
    unsigned n = rounds(), faster = 0;

    for (unsigned i = 0; i < n; i++)
        faster += ways[0].usec[i] < ways[1].usec[i];
    printf("{\"bench\": \"kernel-exits%s\", \"ratio\": %.3f, \"rounds\": %u, \"accesses\": %u}\n", suffix,
           1000.0 * exits / (n * ACCESSES), n, n * ACCESSES);
    printf("{\"bench\": \"kernel-vs-forward%s\", \"ratio\": %.3f, \"rounds\": %u, \"faster\": %u, ", suffix,
           median(&ways[1]) / median(&ways[0]), n, faster);
    printf("\"kernel_usec\": %.1f, \"forwarder_usec\": %.1f, \"library_usec\": %.1f, \"vmm_usec\": %.1f}\n",
           median(&ways[0]), median(&ways[1]), median(&ways[2]), median(&ways[3]));
}

static void who_answers(int device_cpu, const char *suffix) {
    struct vm vm;
    struct way ways[] = {{&vm, READ32, 0}, {&vm, READ32, FORWARDED}, {&vm, READ32, LIBRARY}, {&vm, READ32, NOWHERE}};
    unsigned others = 3 * ACCESSES * (rounds() + 1);

    vm_new(&vm);
    vm.on_mmio = on_mmio;
    vm.userdata = socket_device(device_cpu);
    library = library_with(socket_device(device_cpu));
    add_region(&vm, region_at(VM_MMIO, 0x100, 1, channel_new(0), 0), device_cpu);
    run_rounds(ways, 4);
    CHECK(vm.exits >= others);
    print_answers(ways, vm.exits - others, suffix);
    ioregion_vmm_free(library);
    close(vm.userdata);
    vm_free(&vm);
}

static int add_eventfd(const struct vm *vm, uint64_t address) {
    struct kvm_ioeventfd event = {.addr = address, .len = 4, .fd = eventfd(0, EFD_CLOEXEC)};

    REQUIRE(event.fd >= 0 && ioctl(vm->fd, KVM_IOEVENTFD, &event) == 0);
    return event.fd;
}

static void posted_writes(int device_cpu, const char *suffix) {
    struct kvm_ioregion batch;
    struct vm vm;
    struct way ways[] = {{&vm, WRITE32, 0}, {&vm, WRITE32, 0x100, "100"}, {&vm, WRITE32, 0x100, "0"},
                         {&vm, WRITE32, 0x200, "100"}, {&vm, WRITE32, 0x300}, {&vm, WRITE32, 0x400}};

    vm_new(&vm);
    add_region(&vm, region_at(VM_MMIO, 0x100, 1, channel_new(0), 0), device_cpu);
    add_region(&vm, region_at(VM_MMIO + 0x100, 0x100, 2, channel_new(0), KVM_IOREGION_POSTED_WRITES), device_cpu);
    batch = region_at(VM_MMIO + 0x200, 0x100, 3, channel_new(0), KVM_IOREGION_POSTED_WRITES);
    CHECK_EQ(region_set(vm.handle, batch), 0);
    start_process(batch.fd, device_cpu, SCHED_BATCH, device_loop);
    start_process(add_eventfd(&vm, VM_MMIO + 0x300), device_cpu, SCHED_OTHER, count_events);
    add_eventfd(&vm, VM_MMIO + 0x400);
    run_rounds(ways, 6);
    CHECK_EQ(vm.exits, 0);
    printf("{\"bench\": \"posted-vs-answered%s\", \"ratio\": %.3f, \"rounds\": %u, \"answered_usec\": %.1f, "
           "\"posted_usec\": %.1f, \"sleepy_usec\": %.1f, \"batch_usec\": %.1f, \"eventfd_usec\": %.1f, "
           "\"unread_eventfd_usec\": %.1f}\n", suffix, median(&ways[0]) / median(&ways[1]), rounds(), median(&ways[0]),
           median(&ways[1]), median(&ways[2]), median(&ways[3]), median(&ways[4]), median(&ways[5]));
    vm_free(&vm);
}

static void many_regions(int device_cpu, const char *suffix) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x10, 0, -1, 0);
    struct vm vms[2];
    struct way ways[] = {{&vms[0], READ32, 0}, {&vms[1], READ32, 0x10}};

    for (unsigned i = 0; i < 2; i++) {
        region.fd = channel_new(0);
        vm_new(&vms[i]);
        for (unsigned j = 0; j < (i ? 256 : 1); j++) {
            region.guest_paddr = VM_MMIO + 0x10 * j;
            region.user_data = j;
            CHECK_EQ(region_set(vms[i].handle, region), 0);
        }
        start_device(region.fd, device_cpu);
    }
    run_rounds(ways, 2);
    printf("{\"bench\": \"regions-256%s\", \"ratio\": %.3f, \"rounds\": %u, \"one_usec\": %.1f, \"many_usec\": %.1f}\n",
           suffix, median(&ways[1]) / median(&ways[0]), rounds(), median(&ways[0]), median(&ways[1]));
    for (unsigned i = 0; i < 2; i++)
        vm_free(&vms[i]);
}

static void bench_two_cpus(void) {
    pin(0);
    who_answers(1, "");
    posted_writes(1, "");
    many_regions(1, "");
}

static void bench_one_cpu(void) {
    pin(0);
    who_answers(0, "-1cpu");
    posted_writes(0, "-1cpu");
    many_regions(0, "-1cpu");
}

const struct test benches[] = {TEST(bench_two_cpus, 200), TEST(bench_one_cpu, 200), {0}};
