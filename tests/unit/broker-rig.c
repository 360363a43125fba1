/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "broker-rig.h"

static const char anything_goes[] =
    "{ \"version\": 1,"
    "  \"vmms\": [ { \"name\": \"vmms\", \"match\": { \"user\": \"root\" }, \"vms\": [ \"*\" ],"
    "               \"dispatch\": [ \"vmm\" ], \"features\": [ \"posted-writes\", \"replay\" ] } ],"
    "  \"devices\": [ { \"name\": \"devices\", \"match\": { \"user\": \"root\" }, \"vms\": [ \"*\" ],"
    "                  \"regions\": [ { \"space\": \"mmio\", \"within\": [ \"0x1000\", \"0xffffffff\" ] },"
    "                                 { \"space\": \"pio\", \"within\": [ \"0x0\", \"0xffff\" ] } ],"
    "                  \"limits\": { \"regions\": 64, \"channels\": 4 }, \"grace\": \"100ms\","
    "                  \"on-disconnect\": [ \"hold\", \"ones\", \"remove\" ],"
    "                  \"features\": [ \"posted-writes\", \"replay\" ] } ],"
    "  \"limits\": { \"devices-per-unit\": 8, \"attach-rate\": \"100000/s\","
    "                \"register-rate\": \"100000/s\" } }";

static void on_vm_added(void *userdata, struct vm *vm) {
    ((struct rig *) userdata)->vms_added++;
}

static void on_vm_removed(void *userdata, struct vm *vm) {
    ((struct rig *) userdata)->vms_removed++;
}

static void on_device_added(void *userdata, struct device *device) {
    ((struct rig *) userdata)->devices_added++;
}

static void on_device_removed(void *userdata, struct device *device) {
    ((struct rig *) userdata)->devices_removed++;
}

static void on_device_changed(void *userdata, struct device *device) {
    ((struct rig *) userdata)->devices_changed++;
}

static void on_policy_changed(void *userdata) {
}

static const struct broker_watcher watcher = {
    .vm_added = on_vm_added,
    .vm_removed = on_vm_removed,
    .device_added = on_device_added,
    .device_removed = on_device_removed,
    .device_changed = on_device_changed,
    .policy_changed = on_policy_changed,
};

struct rig *rig_new(const char *text) {
    struct rig *rig = calloc(1, sizeof(*rig));
    struct policy *policy;
    char *error = NULL;

    if (!text)
        text = anything_goes;
    if (policy_load_text("rig", text, strlen(text), NULL, &policy, &error) < 0)
        fail_msg("%s", error);
    assert_int_equal(sd_event_new(&rig->event), 0);
    assert_int_equal(broker_new(&rig->broker, rig->event, policy, &watcher, rig), 0);
    return rig;
}

void rig_free(struct rig *rig) {
    broker_free(rig->broker);
    sd_event_unref(rig->event);
    free(rig);
}

void rig_pump(struct rig *rig) {
    int r;

    do
        r = sd_event_run(rig->event, 0);
    while (r > 0);
    assert_int_equal(r, 0);
}

void rig_wait(struct rig *rig, bool (*done)(void *userdata), void *userdata) {
    time_t limit = time(NULL) + 10;

    while (!done(userdata)) {
        assert_true(time(NULL) < limit);
        assert_true(sd_event_run(rig->event, 1000000) >= 0);
    }
}

static void on_reply(void *userdata, int error, const struct refusal *refusal, void *object) {
    struct client *client = userdata;

    assert_false(client->outcome.replied);
    client->admission = NULL;
    client->outcome.replied = true;
    client->outcome.error = error;
    client->outcome.object = object;
    if (error < 0 && refusal) {
        client->outcome.kind = refusal->kind;
        memcpy(client->outcome.text, refusal->text, sizeof(refusal->text));
    }
    if (client->answered)
        client->answered();
}

static int make_lease(struct client *client) {
    int pair[2];

    *client = (struct client){0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    client->lease = pair[0];
    return pair[1];
}

static void start_register(struct rig *rig, struct client *client, const char *name, int lease, int process) {
    unsigned dispatch = process >= 0 ? POLICY_DISPATCH_KERNEL : POLICY_DISPATCH_VMM;
    struct register_request *request;

    fail_pause(true);
    request = calloc(1, sizeof(*request));
    *request = (struct register_request){
        .name = strdup(name), .dispatch = dispatch, .vm_fd = -1, .process = process, .ceiling = UINT64_MAX};
    fail_pause(false);
    broker_register(rig->broker, request, lease, on_reply, client, &client->admission);
}

void client_register_on(struct rig *rig, struct client *client, const char *name, int lease) {
    start_register(rig, client, name, lease, -1);
}

void client_adopt(struct rig *rig, struct client *client, const char *name, int process) {
    int lease = make_lease(client);

    start_register(rig, client, name, lease, process);
}

void client_register(struct rig *rig, struct client *client, const char *name) {
    client_register_on(rig, client, name, make_lease(client));
}

struct attach_request *attach_request_new(const char *vm, const char *device, uint64_t base, uint64_t size) {
    struct attach_request *request = calloc(1, sizeof(*request));

    *request = (struct attach_request){
        .vm = strdup(vm),
        .device = strdup(device),
        .regions = calloc(1, sizeof(struct ioregion_region)),
        .n_regions = 1,
        .channels = 1,
    };
    request->regions[0] = (struct ioregion_region){.space = IOREGION_MMIO, .base = base, .size = size};
    return request;
}

void client_attach(struct rig *rig, struct client *client, struct attach_request *request) {
    broker_attach(rig->broker, request, make_lease(client), on_reply, client, &client->admission);
}

void client_prove(struct rig *rig, struct client *client) {
    struct ioregion_lease_challenge challenge;
    struct ioregion_lease_proof proof = {
        .header = {IOREGION_LEASE_PROOF, sizeof(proof)},
        .version = IOREGION_LEASE_VERSION,
    };

    if (!client->admission)
        return;
    assert_int_equal(client_receive(client, &challenge, sizeof(challenge), NULL), IOREGION_LEASE_CHALLENGE);
    memcpy(proof.nonce, challenge.nonce, sizeof(proof.nonce));
    client_send(client, &proof);
    admission_sender(client->admission, getpid(), getuid());
    rig_pump(rig);
}

void client_close(struct client *client) {
    for (size_t i = 0; i < client->n_channels; i++)
        fd_close(client->channels[i]);
    client->n_channels = 0;
    client->lease = fd_close(client->lease);
}

int client_receive(struct client *client, void *ret_message, size_t size, int *ret_fd) {
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * 4)];
    } control;
    struct ioregion_lease_header *header = ret_message;
    struct iovec iov = {.iov_base = ret_message, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    size_t n_fds = 0;
    ssize_t n;

    n = recvmsg(client->lease, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return -1;
    assert_int_equal(header->size, n);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (ret_fd)
            memcpy(ret_fd, CMSG_DATA(c), n_fds * sizeof(int));
        else
            for (size_t i = 0; i < n_fds; i++)
                close(((int *) CMSG_DATA(c))[i]);
    }
    if (header->type == IOREGION_LEASE_GRANT) {
        memcpy(&client->grant, ret_message, sizeof(client->grant));
        assert_int_equal(client->grant.channels, n_fds);
    }
    return (int) header->type;
}

void client_send(struct client *client, const void *message) {
    const struct ioregion_lease_header *header = message;

    send(client->lease, message, header->size, MSG_NOSIGNAL);
}

void register_vm(struct rig *rig, struct client *vmm, const char *name) {
    struct ioregion_lease_grant grant;

    client_register(rig, vmm, name);
    client_prove(rig, vmm);
    assert_true(vmm->outcome.replied);
    assert_int_equal(vmm->outcome.error, 0);
    assert_int_equal(client_receive(vmm, &grant, sizeof(grant), NULL), IOREGION_LEASE_GRANT);
}

bool end_fault(struct rig *rig, struct client *client) {
    bool reached;

    client_close(client);
    rig_pump(rig);
    reached = allocation_failed();
    fail_allocation(0);
    assert_int_equal(rig->broker->n_vms, 0);
    assert_int_equal(rig->broker->n_devices, 0);
    assert_int_equal(rig->broker->n_regions, 0);
    assert_null(rig->broker->vms);
    assert_null(rig->broker->proofs.pending);
    assert_null(rig->broker->proofs.leases.root);
    return reached;
}

void expect_refusal(struct client *client, enum refusal_kind kind, const char *text) {
    assert_true(client->outcome.replied);
    assert_int_equal(client->outcome.kind, kind);
    assert_int_equal(client->outcome.error, refusal_errno(kind));
    if (!strstr(client->outcome.text, text))
        fail_msg("'%s' is not in '%s'", text, client->outcome.text);
    client_close(client);
}

void take_grant(struct client *device) {
    struct ioregion_lease_grant grant;

    assert_int_equal(client_receive(device, &grant, sizeof(grant), device->channels), IOREGION_LEASE_GRANT);
    device->n_channels = grant.channels;
}

unsigned vmm_answer(struct rig *rig, struct client *vmm, int error) {
    struct {
        struct ioregion_lease_header header;
        uint64_t serial;
        char rest[128];
    } request;
    unsigned n = 0;
    int fd;

    for (;;) {
        struct ioregion_lease_ack ack = {.header = {IOREGION_LEASE_ACK, sizeof(ack)}, .error = error};

        fd = -1;
        if (client_receive(vmm, &request, sizeof(request), &fd) <= 0)
            return n;
        fd_close(fd);
        ack.serial = request.serial;
        client_send(vmm, &ack);
        rig_pump(rig);
        n++;
    }
}

unsigned count_fds(void) {
    DIR *directory = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(directory);
    while (readdir(directory))
        n++;
    closedir(directory);
    return n;
}
