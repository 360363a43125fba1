/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* VMM, device and broker are killed while a vCPU waits for the device, in every order (38, 41, 47, 57). */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "module.h"
#include "tap.h"
#include "vm.h"

enum role { VMM, DEVICE, BROKER, ROLES };

struct scene {
    pid_t pids[ROLES];
    int ready[2]; /* a byte from each: the VMM with its result, the device with the command in its hands */
};

static void pass_fd(int socket, int fd) {
    char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    *(int *) CMSG_DATA(header) = fd;
    REQUIRE(sendmsg(socket, &message, 0) == 1);
}

static int take_fd(int socket) {
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof(control)};

    REQUIRE(recvmsg(socket, &message, 0) == 1);
    return *(int *) CMSG_DATA(CMSG_FIRSTHDR(&message));
}

static void run_vmm(struct scene *scene, int to_broker, uint64_t expect) {
    struct vm vm;
    char good;

    vm_new(&vm);
    close(vm.handle);
    vm.handle = -1;
    pass_fd(to_broker, vm.fd);
    REQUIRE(read(to_broker, &good, 1) == 1); /* the regions are set */
    good = vm_read(&vm, READ8, 0) == expect;
    REQUIRE(write(scene->ready[1], &good, 1) == 1);
    pause();
}

static void run_device(struct scene *scene, int from_broker) {
    int channel = take_fd(from_broker);

    next_command(channel);
    REQUIRE(write(scene->ready[1], "d", 1) == 1);
    pause();
}

/* Binds the VM, gives it a region, keeps the handle and nothing else. */
static void run_broker(struct scene *scene, int to_vmm, int to_device, uint32_t flags) {
    int vm_fd = take_fd(to_vmm), handle = vm_bind(vm_fd, scene->pids[VMM]);
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), flags);

    REQUIRE(handle >= 0);
    region.timeout_usec = 20000000;
    REQUIRE(region_set(handle, region) == 0);
    pass_fd(to_device, region.fd);
    close(region.fd);
    close(vm_fd);
    REQUIRE(write(to_vmm, "g", 1) == 1);
    pause();
}

/* Three processes, and a vCPU that waits for the device. */
static void set_scene(struct scene *scene, uint64_t expect, uint32_t flags) {
    int vmm[2], device[2];
    char byte;

    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, vmm) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, device) == 0);
    REQUIRE(pipe(scene->ready) == 0);
    for (int role = 0; role < ROLES; role++) {
        scene->pids[role] = fork();
        if (scene->pids[role] != 0)
            continue;
        switch (role) {
        case VMM: run_vmm(scene, vmm[0], expect); break;
        case DEVICE: run_device(scene, device[0]); break;
        default: run_broker(scene, vmm[1], device[1], flags);
        }
        tap_end();
    }
    for (int i = 0; i < 2; i++) {
        close(vmm[i]);
        close(device[i]);
    }
    REQUIRE(poll_for(scene->ready[0], POLLIN, 10000) == POLLIN && read(scene->ready[0], &byte, 1) == 1);
    CHECK_EQ(byte, 'd');
    close(scene->ready[1]);
}

/* It must be gone at once, though it may wait in the module. */
static void end(struct scene *scene, enum role role) {
    uint64_t start = now_msec();
    int status;

    CHECK_EQ(kill(scene->pids[role], SIGKILL), 0);
    CHECK_EQ(waitpid(scene->pids[role], &status, 0), scene->pids[role]);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK(now_msec() - start < 3000);
}

static void check_vmm_result(struct scene *scene) {
    char good = 0;

    REQUIRE(poll_for(scene->ready[0], POLLIN, 10000) & POLLIN);
    CHECK(read(scene->ready[0], &good, 1) == 1);
    CHECK_EQ(good, 1);
}

/* References fall with the processes; KVM gives the last ones back from a work queue, so there is a little patience. */
static void check_nothing_left(int ours, int kvms) {
    CHECK_EQ(references_fall_to("ioregionfd", ours), ours);
    CHECK_EQ(references_fall_to("kvm_amd", kvms), kvms);
}

/* All orders. Whoever goes first tells what the vCPU gets: nothing, or ones. */
static void kill_in_every_order(void) {
    static const enum role orders[][ROLES] = {{VMM, DEVICE, BROKER}, {VMM, BROKER, DEVICE}, {DEVICE, VMM, BROKER},
                                              {DEVICE, BROKER, VMM}, {BROKER, VMM, DEVICE}, {BROKER, DEVICE, VMM}};
    int ours = references_fall_to("ioregionfd", 1), kvms = module_references("kvm_amd");

    for (unsigned i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        struct scene scene;

        set_scene(&scene, 0xff, 0);
        end(&scene, orders[i][0]);
        if (orders[i][0] != VMM)
            check_vmm_result(&scene);
        end(&scene, orders[i][1]);
        end(&scene, orders[i][2]);
        close(scene.ready[0]);
        check_nothing_left(ours, kvms);
    }
}

/* Under hold, with the device gone already, the VMM can be killed as well. */
static void kill_vmm_while_held(void) {
    int ours = references_fall_to("ioregionfd", 1), kvms = module_references("kvm_amd");
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), IOREGIONFD_REGION_HOLD);
    int handle, pair[2], status, vm_fd;
    uint64_t start;
    pid_t child;
    char byte;

    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    child = fork();
    if (child == 0) {
        struct vm vm;

        vm_new(&vm);
        close(vm.handle);
        pass_fd(pair[0], vm.fd);
        close(region.fd);
        REQUIRE(read(pair[0], &byte, 1) == 1);
        vm_read(&vm, READ8, 0);
        tap_end();
    }
    vm_fd = take_fd(pair[1]);
    handle = vm_bind(vm_fd, child);
    REQUIRE(handle >= 0);
    close(vm_fd);
    region.timeout_usec = region.grace_usec = 20000000;
    CHECK_EQ(region_set(handle, region), 0);
    REQUIRE(write(pair[1], "g", 1) == 1);
    next_command(region.fd);
    close(region.fd);
    CHECK_EQ(region_stats(handle, region).state, IOREGIONFD_STATE_HELD);
    start = now_msec();
    kill(child, SIGKILL);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(poll_for(handle, 0, 3000), POLLHUP);
    CHECK(now_msec() - start < 3000);
    close(handle);
    check_nothing_left(ours, kvms);
}

/* Another program in the VMM's place: all threads but one are killed, the process is not. */
static void run_vmm_until_exec(int socket, int channel) {
    char *const arguments[] = {"/init", NULL};
    struct step step = STEP(READ8, 0);
    struct running running;
    struct vm vm;
    char byte;

    vm_new(&vm);
    close(vm.handle);
    pass_fd(socket, vm.fd);
    REQUIRE(read(socket, &byte, 1) == 1);
    vm_start(&running, &vm, 0, &step, 1);
    next_command(channel);
    execv("/init", arguments);
    tap_fail(__FILE__, __LINE__, "no exec: %d", errno);
    tap_end();
}

/* 38: that does not wait for the device either, nor does the end of the VM */
static void exec_while_blocked(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);
    int handle, pair[2], status = -1, vm_fd;
    uint64_t start = now_msec();
    pid_t child;

    region.timeout_usec = 20000000;
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    child = fork();
    if (child == 0)
        run_vmm_until_exec(pair[0], region.fd);
    vm_fd = take_fd(pair[1]);
    handle = vm_bind(vm_fd, child);
    REQUIRE(handle >= 0);
    close(vm_fd);
    CHECK_EQ(region_set(handle, region), 0);
    REQUIRE(write(pair[1], "g", 1) == 1);
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK_EQ(status, 0);
    CHECK_EQ(poll_for(handle, 0, 5000), POLLHUP);
    CHECK(now_msec() - start < 10000);
    CHECK(poll_for(region.fd, POLLIN, 0) & POLLHUP);
    close(handle);
}

const struct test tests_kill[] = {
    TEST(kill_in_every_order, 60), TEST(kill_vmm_while_held), TEST(exec_while_blocked), {0},
};
