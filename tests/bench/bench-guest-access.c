/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a guest's access costs through this project's two libraries, against what it costs through the least that
 * would do: a VMM that sends the command itself, and a device that is nothing but a receive and a send. Same guest,
 * same vCPU, same two CPUs, rounds in turns; the ratio is that of the medians.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <ioregion/device.h>
#include <ioregion/vmm.h>

#include "clients/vmm/kvm.h"

#define PORT      0x3f8
#define EXIT_PORT 0xf4
#define LOAD      0x1000
#define ACCESSES  200 /* a round is short, so that both ways meet the same weather */
#define ROUNDS    401
#define LIMIT     300 /* seconds, for everything */

/* Read the port eCX times, then tell. */
static const uint8_t guest[] = {
    0xba, PORT & 0xff, PORT >> 8, /*    mov dx, PORT */
    0xec,                         /* 1: in al, dx */
    0x66, 0x49,                   /*    dec ecx */
    0x75, 0xfb,                   /*    jnz 1b */
    0xe6, EXIT_PORT,              /*    out EXIT_PORT, al */
};

struct contest {
    struct kvm_vm *kvm;
    struct ioregion_vmm *vmm; /* the library's way */
    int forwarder;            /* the least that would do: the channel */
    uint8_t expected;         /* what every read gives */
};

static void fail(const char *what) {
    fprintf(stderr, "bench-guest-access: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void pin(int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        fail("no second CPU to pin to");
}

static void packet_pair(int pair[2]) {
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        fail("socketpair");
}

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    return 0x5a;
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
}

static void library_device(int channel) {
    static const struct ioregion_device_ops ops = {.struct_size = sizeof(ops), .read = on_read, .write = on_write};
    struct ioregion_region region = {.space = IOREGION_PIO, .base = PORT, .size = 8, .user_data = 1};
    struct ioregion_device *device;

    if (ioregion_device_from_fds(&device, &channel, 1, -1, 0, &region, 1, &ops, NULL) < 0)
        _exit(1);
    ioregion_device_run(device);
    _exit(0);
}

static void bare_device(int channel) {
    struct ioregion_command command;
    struct ioregion_response response = {.data = 0x5a};

    while (recv(channel, &command, sizeof(command), 0) == sizeof(command))
        if (send(channel, &response, sizeof(response), MSG_NOSIGNAL) != sizeof(response))
            break;
    _exit(0);
}

/* The device is a process of its own, on the other CPU; it ends with the channel. Returns the dispatcher's end. */
static int start_device(void (*device)(int channel)) {
    int pair[2];
    pid_t child;

    packet_pair(pair);
    child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        pin(1);
        device(pair[1]);
    }
    close(pair[1]);
    return pair[0];
}

/* Play the broker for one message: tell the library of the region, and hand it the channel. */
static struct ioregion_vmm *vmm_with_region(int channel) {
    struct ioregion_lease_region_add add = {
        .header = {IOREGION_LEASE_REGION_ADD, sizeof(add)}, .serial = 1, .region = 1, .base = PORT, .size = 8,
        .user_data = 1, .timeout_usec = 1000000, .space = IOREGION_PIO, .channel = 1,
    };
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

    packet_pair(lease);
    memcpy(CMSG_DATA(&control.align), &channel, sizeof(channel));
    if (ioregion_vmm_from_lease(&vmm, lease[1]) < 0 || sendmsg(lease[0], &message, 0) < 0 ||
        ioregion_vmm_process(vmm) < 0 || recv(lease[0], &ack, sizeof(ack), MSG_DONTWAIT) != sizeof(ack) || ack.error)
        fail("the VMM library did not take the region");
    close(channel);
    return vmm; /* the lease's other end stays open: it ends with the process */
}

static void forward(int channel, struct kvm_run *run) {
    struct ioregion_command command = {.info = ioregion_info(false, run->io.size, true), .user_data = 1,
                                       .offset = run->io.port - PORT};
    struct ioregion_response response;

    if (send(channel, &command, sizeof(command), MSG_NOSIGNAL) != sizeof(command) ||
        recv(channel, &response, sizeof(response), 0) != sizeof(response))
        fail("forwarder");
    memcpy((uint8_t *) run + run->io.data_offset, &response.data, run->io.size);
}

/* One round: microseconds an access. What the guest read last comes out of its exit port. */
static double round_usec(struct contest *contest, bool library) {
    struct kvm_run *run = contest->kvm->run;
    struct timespec from, to;

    if (kvm_vm_reset(contest->kvm, LOAD, ACCESSES) < 0)
        fail("KVM");
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (;;) {
        if (kvm_vm_run(contest->kvm) < 0 || run->exit_reason != KVM_EXIT_IO)
            fail("the guest stopped in disorder");
        if (run->io.port == EXIT_PORT)
            break;
        if (!library)
            forward(contest->forwarder, run);
        else if (ioregion_vmm_handle_exit(contest->vmm, run) != 1)
            fail("the library did not know the port");
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (*((uint8_t *) run + run->io.data_offset) != contest->expected)
        fail("the guest read something else");
    return ((to.tv_sec - from.tv_sec) * 1e6 + (to.tv_nsec - from.tv_nsec) / 1e3) / ACCESSES;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static double median(double *values, int n) {
    qsort(values, n, sizeof(*values), compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void run_contest(struct contest *contest, int rounds) {
    _cleanup_(freep) double *library = calloc(rounds, sizeof(double)), *bare = calloc(rounds, sizeof(double));
    double a, b;

    if (!library || !bare)
        fail("memory");
    round_usec(contest, true); /* warm both up */
    round_usec(contest, false);
    for (int i = 0; i < rounds; i++) { /* who goes first takes turns too */
        if (i % 2)
            bare[i] = round_usec(contest, false);
        library[i] = round_usec(contest, true);
        if (i % 2 == 0)
            bare[i] = round_usec(contest, false);
    }
    a = median(library, rounds);
    b = median(bare, rounds);
    printf("{\"bench\": \"guest-access\", \"ratio\": %.3f, \"rounds\": %d, \"accesses\": %d, \"bar\": 1.05, "
           "\"library_usec\": %.2f, \"forwarder_usec\": %.2f}\n", a / b, rounds, ACCESSES, a, b);
}

int main(int argc, char **argv) {
    int rounds = argc == 3 && strcmp(argv[1], "--rounds") == 0 ? atoi(argv[2]) : argc == 1 ? ROUNDS : 0;
    _cleanup_(fd_closep) int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    struct contest contest = {.expected = 0x5a};

    if (rounds < 1) {
        fputs("bench-guest-access [--rounds N]\n", stderr);
        return 2;
    }
    if (kvm < 0) {
        printf("skipped: no /dev/kvm (%s)\n", strerror(errno));
        return 77;
    }
    alarm(LIMIT);
    contest.forwarder = start_device(bare_device);
    contest.vmm = vmm_with_region(start_device(library_device));
    pin(0);
    errno = -kvm_vm_new(&contest.kvm, kvm, guest, sizeof(guest), LOAD);
    if (errno)
        fail("KVM");
    run_contest(&contest, rounds);

    kvm_vm_free(contest.kvm);
    ioregion_vmm_free(contest.vmm);
    close(contest.forwarder);
    while (wait(NULL) > 0) /* the devices end with their channels */
        ;
    return 0;
}
