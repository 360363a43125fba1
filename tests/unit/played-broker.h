/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TESTS_PLAYED_BROKER_H
#define TESTS_PLAYED_BROKER_H

/* For tests of libioregion: the broker's end of a VMM's lease, and devices that do as they are told. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include <ioregion/vmm.h>

#define PLAYED_TIMEOUT UINT64_C(5000000) /* no deadline in sight */

static inline void played_pair(int pair[2]) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

/* Readable within five seconds? */
static inline void played_await(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&poll_fd, 1, 5000), 1);
}

static inline void played_send(int lease, const void *message, size_t size, const int *fds, size_t n_fds) {
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(64 * sizeof(int))];
    } control = {.space = {0}};
    struct iovec body = {(void *) message, size};
    struct msghdr header = {.msg_iov = &body, .msg_iovlen = 1};

    if (n_fds) {
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        control.align = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(n_fds * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
    }
    assert_int_equal(sendmsg(lease, &header, MSG_NOSIGNAL), size);
}

/* A VMM and its broker, in one thread. */
struct played_vm {
    struct ioregion_vmm *vmm;
    int lease; /* the broker's end */
    uint64_t serial;
};

static inline void played_vm_start(struct played_vm *vm) {
    int pair[2];

    played_pair(pair);
    *vm = (struct played_vm){.lease = pair[0]};
    assert_int_equal(ioregion_vmm_from_lease(&vm->vmm, pair[1]), 0);
}

static inline void played_vm_end(struct played_vm *vm) {
    assert_null(ioregion_vmm_free(vm->vmm));
    close(vm->lease);
}

/* Let the VMM take in what was sent, and return the error of its ACK. */
static inline int played_ack(struct played_vm *vm) {
    struct ioregion_lease_ack ack;

    assert_int_equal(ioregion_vmm_process(vm->vmm), 0);
    do {
        played_await(vm->lease);
        assert_true(recv(vm->lease, &ack, sizeof(ack), 0) > 0);
    } while (ack.header.type == IOREGION_LEASE_EVENT);
    assert_int_equal(ack.header.type, IOREGION_LEASE_ACK);
    assert_int_equal(ack.header.size, sizeof(ack));
    assert_int_equal(ack.serial, vm->serial);
    assert_int_equal(ack.zero, 0);
    return ack.error;
}

/* Add @add with @fd (closed; -1 for none). Header, serial and, where zero, timeout are filled in. */
static inline int played_add(struct played_vm *vm, struct ioregion_lease_region_add add, int fd) {
    add.header = (struct ioregion_lease_header){IOREGION_LEASE_REGION_ADD, sizeof(add)};
    add.serial = ++vm->serial;
    add.timeout_usec = add.timeout_usec ?: PLAYED_TIMEOUT;
    played_send(vm->lease, &add, sizeof(add), &fd, fd >= 0);
    if (fd >= 0)
        close(fd);
    return played_ack(vm);
}

/* The same on a new channel; returns the device's end. */
static inline int played_device(struct played_vm *vm, struct ioregion_lease_region_add add) {
    int pair[2];

    played_pair(pair);
    assert_int_equal(played_add(vm, add, pair[0]), 0);
    return pair[1];
}

static inline void played_send_remove(struct played_vm *vm, uint64_t region) {
    struct ioregion_lease_region_remove remove = {
        .header = {IOREGION_LEASE_REGION_REMOVE, sizeof(remove)}, .serial = ++vm->serial, .region = region};

    played_send(vm->lease, &remove, sizeof(remove), NULL, 0);
}

static inline int played_remove(struct played_vm *vm, uint64_t region) {
    played_send_remove(vm, region);
    return played_ack(vm);
}

static inline void played_send_swap(struct played_vm *vm, uint32_t channel, int fd) {
    struct ioregion_lease_region_swap swap = {
        .header = {IOREGION_LEASE_REGION_SWAP, sizeof(swap)}, .serial = ++vm->serial, .channel = channel};

    played_send(vm->lease, &swap, sizeof(swap), &fd, 1);
    close(fd);
}

/* A new device's end for a channel. */
static inline int played_swap(struct played_vm *vm, uint32_t channel) {
    int pair[2];

    played_pair(pair);
    played_send_swap(vm, channel, pair[0]);
    assert_int_equal(played_ack(vm), 0);
    return pair[1];
}

static inline struct ioregion_lease_stats_reply played_stats(struct played_vm *vm, uint64_t region) {
    struct ioregion_lease_stats stats = {
        .header = {IOREGION_LEASE_STATS, sizeof(stats)}, .serial = ++vm->serial, .region = region};
    struct ioregion_lease_stats_reply reply;

    played_send(vm->lease, &stats, sizeof(stats), NULL, 0);
    assert_int_equal(ioregion_vmm_process(vm->vmm), 0);
    played_await(vm->lease);
    assert_int_equal(recv(vm->lease, &reply, sizeof(reply), MSG_TRUNC), sizeof(reply));
    assert_int_equal(reply.header.type, IOREGION_LEASE_STATS_REPLY);
    assert_int_equal(reply.serial, vm->serial);
    assert_int_equal(reply.region, region);
    return reply;
}

/* The next message is an EVENT; returns what. */
static inline uint32_t played_event(struct played_vm *vm, uint64_t region) {
    struct ioregion_lease_event event;

    played_await(vm->lease);
    assert_int_equal(recv(vm->lease, &event, sizeof(event), MSG_TRUNC), sizeof(event));
    assert_int_equal(event.header.type, IOREGION_LEASE_EVENT);
    assert_int_equal(event.region, region);
    assert_int_equal(event.zero, 0);
    return event.what;
}

static inline void played_silence(struct played_vm *vm) {
    char byte;

    assert_int_equal(recv(vm->lease, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

/* A thread that does @act with the device's end @fd. */
struct played_thread {
    pthread_t thread;
    int fd;
    void *argument;
};

static inline void played_thread_start(struct played_thread *thread, void *(*act)(void *) , int fd, void *argument) {
    thread->fd = fd;
    thread->argument = argument;
    assert_int_equal(pthread_create(&thread->thread, NULL, act, thread), 0);
}

static inline void played_thread_end(struct played_thread *thread) {
    struct timespec limit;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 20;
    assert_int_equal(pthread_timedjoin_np(thread->thread, NULL, &limit), 0);
}

/* The value that played_serve() answers a read with. */
static inline uint64_t played_value(const struct ioregion_command *command) {
    return (UINT64_C(0x0123456789abcdef) ^ (command->user_data * 131 + command->offset)) &
           ioregion_all_ones(ioregion_info_size(command->info));
}

/* Answer everything until the channel ends. */
static inline void *played_serve(void *argument) {
    struct played_thread *thread = argument;
    struct ioregion_command command;

    while (recv(thread->fd, &command, sizeof(command), 0) == sizeof(command)) {
        struct ioregion_response response = {.data = 0};

        if (!ioregion_info_is_write(command.info))
            response.data = played_value(&command);
        if (ioregion_info_wants_response(command.info))
            send(thread->fd, &response, sizeof(response), MSG_NOSIGNAL);
    }
    return NULL;
}

/* One access by a thread of its own. */
struct played_vcpu {
    struct played_thread thread;
    struct ioregion_vmm *vmm;
    uint64_t address, value;
    unsigned size;
    int write, result;
};

static inline void *played_vcpu_run(void *argument) {
    struct played_thread *thread = argument;
    struct played_vcpu *vcpu = thread->argument;

    vcpu->result =
        ioregion_vmm_access(vcpu->vmm, IOREGION_MMIO, vcpu->address, &vcpu->value, vcpu->size, vcpu->write);
    return NULL;
}

static inline void played_vcpu_start(struct played_vcpu *vcpu, struct played_vm *vm, uint64_t address, int write) {
    *vcpu = (struct played_vcpu){.vmm = vm->vmm, .address = address, .size = 4, .write = write};
    played_thread_start(&vcpu->thread, played_vcpu_run, -1, vcpu);
}

#endif
