/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lease and the proof of identity: what is taken for a lease, and who is believed. */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "broker-rig.h"
#include "daemon/vm.h"

/* Register with a descriptor that is no lease, and see it closed. */
static void refuse_lease(struct rig *rig, int fd) {
    struct client client = {.lease = -1};

    assert_true(fd >= 0);
    client_register_on(rig, &client, "vm", fd);
    expect_refusal(&client, REFUSAL_IDENTITY_UNPROVEN, "lease");
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static int half_of_a_pair(int type) {
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
    close(pair[1]);
    return pair[0];
}

static int named_socket(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX}; /* autobind: the kernel gives it a name */
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), client;

    assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(fd, 1), 0);
    client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(address);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &address, &size), 0);
    assert_int_equal(connect(client, (struct sockaddr *) &address, size), 0);
    close(fd);
    return client;
}

/* 17, 18, 19, 22: everything that is not one end of an unnamed pair */
static void only_a_lease_is_a_lease(void **state) {
    struct rig *rig = rig_new(NULL);
    int pipes[2];

    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    refuse_lease(rig, pipes[0]);
    refuse_lease(rig, pipes[1]);
    refuse_lease(rig, open("/", O_PATH | O_CLOEXEC));
    refuse_lease(rig, open("/dev/null", O_RDWR | O_CLOEXEC));
    refuse_lease(rig, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    refuse_lease(rig, socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); /* connected to nobody */
    refuse_lease(rig, half_of_a_pair(SOCK_STREAM));
    refuse_lease(rig, half_of_a_pair(SOCK_DGRAM));
    refuse_lease(rig, half_of_a_pair(SOCK_SEQPACKET)); /* the challenge can't be sent */
    refuse_lease(rig, named_socket());
    rig_free(rig);
}

/* 22: the same socket twice */
static void a_lease_serves_once(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client first, second = {.lease = -1};
    int pair[2], again;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    again = fcntl(pair[1], F_DUPFD_CLOEXEC, 3);
    first = (struct client){.lease = pair[0]};
    client_register_on(rig, &first, "vm", pair[1]);
    client_register_on(rig, &second, "other", again);
    expect_refusal(&second, REFUSAL_IDENTITY_UNPROVEN, "in use");
    client_prove(rig, &first);
    assert_int_equal(first.outcome.error, 0);
    client_close(&first);
    rig_free(rig);
}

/* The first message is not the right PROOF: whatever is off, the lease ends and the caller hears of it. */
static void bad_proofs_are_refused(void **state) {
    for (unsigned i = 0; i < 7; i++) {
        struct rig *rig = rig_new(NULL);
        struct ioregion_lease_challenge challenge;
        struct ioregion_lease_proof proof = {{IOREGION_LEASE_PROOF, sizeof(proof)}, IOREGION_LEASE_VERSION};
        struct client client;
        size_t size = sizeof(proof);

        client_register(rig, &client, "vm");
        assert_int_equal(client_receive(&client, &challenge, sizeof(challenge), NULL), IOREGION_LEASE_CHALLENGE);
        memcpy(proof.nonce, challenge.nonce, sizeof(proof.nonce));
        switch (i) {
        case 0:
            proof.nonce[31] ^= 1;
            break;
        case 1:
            proof.version = 2;
            break;
        case 2:
            proof.zero = 1;
            break;
        case 3:
            proof.header.type = IOREGION_LEASE_RELEASE;
            break;
        case 4:
            proof.header.size++;
            break;
        case 5:
            size--;
            break;
        case 6:
            size = 0;
            break;
        }
        assert_int_equal(send(client.lease, &proof, size, 0), size);
        admission_sender(client.admission, getpid(), getuid());
        rig_pump(rig);
        expect_refusal(&client, REFUSAL_IDENTITY_UNPROVEN, "PROOF");
        rig_free(rig);
    }
}

/* 23: descriptors that nobody asked for end the lease and are closed */
static void surplus_descriptors_end_the_lease(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client client;
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.align = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct ioregion_lease_proof proof = {{IOREGION_LEASE_PROOF, sizeof(proof)}, IOREGION_LEASE_VERSION};
    struct iovec iov = {&proof, sizeof(proof)};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    unsigned before;

    client_register(rig, &client, "vm");
    memcpy(CMSG_DATA(&control.align), &client.lease, sizeof(int));
    before = count_fds();
    assert_int_equal(sendmsg(client.lease, &message, 0), sizeof(proof));
    rig_pump(rig);
    assert_int_equal(count_fds(), before - 2); /* the broker's end and its pidfd are closed, and nothing was kept */
    expect_refusal(&client, REFUSAL_IDENTITY_UNPROVEN, "lease");
    rig_free(rig);
}

/* The bus names another process, or another user, than the one that holds the lease. */
static void the_bus_must_agree(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client client;

    client_register(rig, &client, "vm");
    admission_sender(client.admission, getppid(), getuid());
    expect_refusal(&client, REFUSAL_IDENTITY_UNPROVEN, "not the caller");

    client_register(rig, &client, "vm");
    admission_sender(client.admission, getpid(), getuid() + 1);
    client_prove(rig, &client);
    expect_refusal(&client, REFUSAL_IDENTITY_UNPROVEN, "user");
    rig_free(rig);
}

/* 53: a child proves in its parent's place */
static void a_child_proves_for_its_parent(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client client;
    pid_t child;
    int status;

    client_register(rig, &client, "vm");
    admission_sender(client.admission, getpid(), getuid());
    child = fork();
    if (child == 0) {
        struct ioregion_lease_challenge challenge;
        struct ioregion_lease_proof proof = {{IOREGION_LEASE_PROOF, sizeof(proof)}, IOREGION_LEASE_VERSION};

        if (recv(client.lease, &challenge, sizeof(challenge), 0) != sizeof(challenge))
            _exit(1);
        memcpy(proof.nonce, challenge.nonce, sizeof(proof.nonce));
        _exit(send(client.lease, &proof, sizeof(proof), 0) != sizeof(proof));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    rig_pump(rig);
    expect_refusal(&client, REFUSAL_IDENTITY_UNPROVEN, "answered the challenge");
    rig_free(rig);
}

/* 53: the process that made the lease is gone when its unit is read */
static void a_dead_process_proves_nothing(void **state) {
    struct rig *rig = rig_new(NULL);
    int pair[2], gate[2], status;
    struct client client;
    pid_t child;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, gate), 0);
    child = fork();
    if (child == 0) { /* makes the pair, sends one end over, answers the challenge on the other, and dies */
        struct ioregion_lease_challenge challenge;
        struct ioregion_lease_proof proof = {{IOREGION_LEASE_PROOF, sizeof(proof)}, IOREGION_LEASE_VERSION};
        union {
            struct cmsghdr align;
            char space[CMSG_SPACE(sizeof(int))];
        } control = {.align = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
        struct iovec iov = {"x", 1};
        struct msghdr message = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
            _exit(1);
        memcpy(CMSG_DATA(&control.align), &pair[1], sizeof(int));
        if (sendmsg(gate[1], &message, 0) != 1 || recv(pair[0], &challenge, sizeof(challenge), 0) != sizeof(challenge))
            _exit(2);
        memcpy(proof.nonce, challenge.nonce, sizeof(proof.nonce));
        _exit(send(pair[0], &proof, sizeof(proof), 0) != sizeof(proof));
    }
    client = (struct client){.lease = gate[0]};
    {
        union {
            struct cmsghdr align;
            char space[CMSG_SPACE(sizeof(int))];
        } control;
        char byte;
        struct iovec iov = {&byte, 1};
        struct msghdr message = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        int lease;

        assert_int_equal(recvmsg(gate[0], &message, MSG_CMSG_CLOEXEC), 1);
        memcpy(&lease, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
        client_register_on(rig, &client, "vm", lease);
    }
    assert_int_equal(waitpid(child, &status, 0), child); /* reaped: its pid is free to be used again */
    assert_int_equal(status, 0);
    admission_sender(client.admission, child, getuid());
    rig_pump(rig);
    expect_refusal(&client, REFUSAL_IDENTITY_UNPROVEN, "exited");
    close(gate[1]);
    rig_free(rig);
}

/* In a namespace of its own, as in a container, with a lease from outside: there its maker has no number. */
static bool refuses_a_stranger(int lease) {
    struct client client = {.lease = -1};
    struct rig *rig = rig_new(NULL);
    bool closed;

    client_register_on(rig, &client, "vm", lease);
    closed = fcntl(lease, F_GETFD) < 0;
    rig_free(rig);
    return closed && client.outcome.replied && client.outcome.kind == REFUSAL_IDENTITY_UNPROVEN &&
           strstr(client.outcome.text, "not to be seen here");
}

static int exit_status(pid_t child) {
    int status;

    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* 53: who made the lease is in no process table that we can look into */
static void a_process_of_another_namespace_proves_nothing(void **state) {
    enum { REFUSED, BELIEVED, NO_NAMESPACE };
    pid_t outer, inner;
    int pair[2], told;
    char byte;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    outer = fork();
    if (outer == 0) {
        close(pair[0]);
        if (unshare(CLONE_NEWPID) < 0)
            _exit(NO_NAMESPACE);
        inner = fork();
        if (inner == 0)
            _exit(refuses_a_stranger(pair[1]) ? REFUSED : BELIEVED);
        close(pair[1]);
        _exit(exit_status(inner));
    }
    close(pair[1]);
    told = exit_status(outer);
    if (told == NO_NAMESPACE) {
        close(pair[0]);
        print_message("this account may make no namespace of processes\n");
        skip();
    }
    assert_int_equal(told, REFUSED);
    assert_int_equal(recv(pair[0], &byte, 1, MSG_DONTWAIT), 0); /* and no challenge came */
    close(pair[0]);
}

static bool four_have_replied(void *userdata) {
    const struct client *clients = userdata;

    return clients[0].outcome.replied && clients[1].outcome.replied && clients[2].outcome.replied &&
           clients[3].outcome.replied;
}

/* No PROOF: after a second the request is refused; meanwhile a fifth one is turned away. */
static void proofs_are_bounded(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client clients[5];

    for (unsigned i = 0; i < 5; i++)
        client_register(rig, &clients[i], "vm");
    expect_refusal(&clients[4], REFUSAL_BUSY, "proof");
    rig_wait(rig, four_have_replied, clients);
    for (unsigned i = 0; i < 4; i++)
        expect_refusal(&clients[i], REFUSAL_IDENTITY_UNPROVEN, "within 1 s");
    register_vm(rig, &clients[0], "vm"); /* the user is not locked out */
    client_close(&clients[0]);
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_lease_is_a_lease),
        cmocka_unit_test(a_lease_serves_once),
        cmocka_unit_test(bad_proofs_are_refused),
        cmocka_unit_test(surplus_descriptors_end_the_lease),
        cmocka_unit_test(the_bus_must_agree),
        cmocka_unit_test(a_child_proves_for_its_parent),
        cmocka_unit_test(a_dead_process_proves_nothing),
        cmocka_unit_test(a_process_of_another_namespace_proves_nothing),
        cmocka_unit_test(proofs_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
