/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Floods, by kind: what is sent again and again, and how many calls wait for their answers at any time. */

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ioregion/vmm.h>
#include "bench-broker.h"
#include "clients/libioregion/lease-client.h"
#include "flood.h"

#define BROKER "org.ioregion1"
#define MANAGER "/org/ioregion1", "org.ioregion1.Manager"
#define WINDOW_MAX 128   /* dbus-daemon lets nobody wait for more answers */
#define FDS_A_MESSAGE 16 /* as many as dbus-daemon takes */

struct flood;
struct kind {
    const char *name;
    unsigned window;
    int (*fill)(struct flood *flood, unsigned slot, sd_bus_message **ret_call); /* NULL: a flood of its own */
    void (*prepare)(struct flood *flood);
    bool proves, unread;
};

struct flood {
    const struct kind *kind;
    const char *service;
    sd_bus *bus, *side;
    struct slot {
        struct flood *flood;
        int lease; /* our end; -1 for none */
        bool waits;
    } slots[WINDOW_MAX];
    int (*strange)[2]; /* pairs whose maker is dead */
    struct count {
        char name[64];
        unsigned n;
    } counts[16];
    unsigned sent;
    pid_t vmms;
};

static void count(struct flood *flood, const char *name) {
    struct count *c = flood->counts;

    for (; c < flood->counts + 15 && *c->name && strcmp(c->name, name) != 0; c++)
        ;
    snprintf(c->name, sizeof(c->name), "%s", name);
    c->n++;
}

static int fill_get(struct flood *flood, unsigned slot, sd_bus_message **ret_call) {
    int r = sd_bus_message_new_method_call(flood->bus, ret_call, flood->service, "/org/ioregion1",
                                           "org.freedesktop.DBus.Properties", "Get");

    return r < 0 ? r : sd_bus_message_append(*ret_call, "ss", "org.ioregion1.Manager", "Version");
}

static int fill_objects(struct flood *flood, unsigned slot, sd_bus_message **ret_call) {
    return sd_bus_message_new_method_call(flood->bus, ret_call, flood->service, "/org/ioregion1",
                                          "org.freedesktop.DBus.ObjectManager", "GetManagedObjects");
}

static int fill_fds(struct flood *flood, unsigned slot, sd_bus_message **ret_call) {
    int r = sd_bus_message_new_method_call(flood->bus, ret_call, flood->service, MANAGER, "RegisterVM");

    for (unsigned i = 0; i < FDS_A_MESSAGE && r >= 0; i++)
        r = sd_bus_message_append_basic(*ret_call, 'h', &(int){STDIN_FILENO});
    return r;
}

static int fill_register(struct flood *flood, unsigned slot, sd_bus_message **ret_call) {
    char name[32];
    int theirs, r;

    snprintf(name, sizeof(name), "flood%u", slot);
    r = lease_client_pair(&flood->slots[slot].lease, &theirs);
    if (r < 0)
        return r;
    r = sd_bus_message_new_method_call(flood->bus, ret_call, flood->service, MANAGER, "RegisterVM");
    if (r >= 0)
        r = sd_bus_message_append(*ret_call, "sa{sv}h", name, 0, theirs);
    close(theirs);
    return r;
}

static int fill_forged(struct flood *flood, unsigned slot, sd_bus_message **ret_call) {
    int r = sd_bus_message_new_method_call(flood->bus, ret_call, flood->service, MANAGER, "RegisterVM");

    return r < 0 ? r : sd_bus_message_append(*ret_call, "sa{sv}h", "forged", 0, flood->strange[slot][0]);
}

static int fill_attach(struct flood *flood, unsigned slot, sd_bus_message **ret_call) {
    char name[32];
    int theirs, r;

    snprintf(name, sizeof(name), "flood%u", slot);
    r = lease_client_pair(&flood->slots[slot].lease, &theirs);
    if (r < 0)
        return r;
    r = sd_bus_message_new_method_call(flood->bus, ret_call, flood->service, MANAGER, "AttachDevice");
    if (r >= 0)
        r = sd_bus_message_append(*ret_call, "ssa(sttta{sv})a{sv}h", "flooded0", name, 1, "mmio",
                                  UINT64_C(0x1000) * (slot + 1), UINT64_C(16), (uint64_t) slot, 0, 1, "on-disconnect",
                                  "s", "remove", theirs);
    close(theirs);
    return r;
}

/* A VM whose VMM never answers the broker. */
static void prepare_mute(struct flood *flood) {
    struct ioregion_vmm *vmm;
    int r = strcmp(flood->service, BROKER) == 0 ? ioregion_vmm_register(&vmm, "flooded0", NULL) : 0;

    if (r < 0)
        bench_fail("flooded0", r);
}

static void prepare_churn(struct flood *flood) {
    if (strcmp(flood->service, BROKER) == 0)
        flood->vmms = bench_vmms("flooded", 1);
}

/* SO_PEERCRED names who made the pair: a child that has our table of descriptors, and is dead when they are used. */
static void prepare_forged(struct flood *flood) {
    size_t size = sizeof(*flood->strange) * flood->kind->window;
    pid_t child;

    flood->strange = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (flood->strange == MAP_FAILED)
        bench_fail("mmap", errno);
    child = (pid_t) syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0);
    if (child == 0) {
        for (unsigned i = 0; i < flood->kind->window; i++)
            if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, flood->strange[i]) < 0)
                _exit(1);
        _exit(0);
    }
    if (child < 0 || waitpid(child, NULL, 0) < 0)
        bench_fail("clone", errno);
}

static const struct kind kinds[] = {
    {"reads", 100, fill_get},
    {"unread", 1, fill_get, .unread = true},
    {"objects", 100, fill_objects},
    {"fds", 64, fill_fds},
    {"leases", 64, fill_register},
    {"register", 16, fill_register, .proves = true},
    {"forged", 64, fill_forged, prepare_forged},
    {"mute", 64, fill_attach, prepare_mute, .proves = true},
    {"churn", 16, fill_attach, prepare_churn, .proves = true},
    {"connections"},
};

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const sd_bus_error *error = sd_bus_message_get_error(reply);
    struct slot *slot = userdata;

    count(slot->flood, error ? error->name : "served");
    slot->waits = false;
    if (slot->lease >= 0)
        close(slot->lease);
    slot->lease = -1;
    return 0;
}

/* The bus may have enough of us: then once more from the beginning. */
static void reconnect(struct flood *flood) {
    sd_bus_close_unref(flood->bus);
    for (unsigned i = 0; i < flood->kind->window; i++) {
        if (flood->slots[i].waits && flood->slots[i].lease >= 0)
            close(flood->slots[i].lease);
        flood->slots[i] = (struct slot){.flood = flood, .lease = -1};
    }
    while (sd_bus_open_system(&flood->bus) < 0 && !flood_is_over())
        ;
}

static int send_one(struct flood *flood, unsigned i) {
    sd_bus_message *call = NULL;
    int r = flood->kind->fill(flood, i, &call);

    if (r >= 0 && flood->kind->unread)
        r = sd_bus_send(flood->bus, call, NULL);
    else if (r >= 0)
        r = sd_bus_call_async(flood->bus, NULL, call, on_reply, &flood->slots[i], UINT64_MAX);
    flood->slots[i].waits = !flood->kind->unread;
    sd_bus_message_unref(call);
    if (++flood->sent == 100)
        flood_say("flooding");
    return r;
}

static void prove_leases(struct flood *flood) {
    for (unsigned i = 0; i < flood->kind->window; i++) {
        struct lease_message message = LEASE_MESSAGE_INIT;

        if (flood->slots[i].lease < 0 || lease_client_receive(flood->slots[i].lease, &message) <= 0)
            continue;
        if (message.header.type == IOREGION_LEASE_CHALLENGE)
            lease_client_prove(flood->slots[i].lease, &message.challenge);
        lease_message_done(&message);
    }
}

static int wait_for_news(struct flood *flood) {
    struct pollfd fds[2 + WINDOW_MAX] = {{STDIN_FILENO, POLLIN, 0},
                                         {sd_bus_get_fd(flood->bus), (short) sd_bus_get_events(flood->bus), 0}};
    nfds_t n = 2;

    for (unsigned i = 0; i < flood->kind->window && flood->kind->proves; i++)
        if (flood->slots[i].lease >= 0)
            fds[n++] = (struct pollfd){flood->slots[i].lease, POLLIN, 0};
    if (poll(fds, n, 1000) < 0)
        return -errno;
    if (flood->kind->proves)
        prove_leases(flood);
    return 0;
}

/* Ask, and leave on the bus what comes back; a call on the side tells when the service is through with it. */
static int pour(struct flood *flood) {
    int r = 0;

    for (unsigned i = 0; i < 200 && r >= 0; i++)
        r = send_one(flood, 0);
    if (r >= 0)
        r = sd_bus_flush(flood->bus);
    if (!flood->side)
        flood->side = bench_bus();
    if (r >= 0)
        sd_bus_call_method(flood->side, flood->service, "/org/ioregion1", "org.freedesktop.DBus.Properties", "Get",
                           NULL, NULL, "ss", "org.ioregion1.Manager", "Version");
    return r;
}

static int turn(struct flood *flood) {
    bool full = true;
    int r = 0;

    if (flood->kind->unread)
        return pour(flood);
    for (unsigned i = 0; i < flood->kind->window && r >= 0; i++)
        if (!flood->slots[i].waits)
            r = send_one(flood, i);
    while (r >= 0 && (r = sd_bus_process(flood->bus, NULL)) > 0)
        ;
    for (unsigned i = 0; i < flood->kind->window; i++)
        full &= flood->slots[i].waits;
    return r < 0 || !full ? r : wait_for_news(flood);
}

static void connect_and_leave(struct flood *flood) {
    sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus *bus;

    if (sd_bus_open_system(&bus) < 0) {
        count(flood, "not connected");
        return;
    }
    sd_bus_call_method(bus, flood->service, "/org/ioregion1", "org.freedesktop.DBus.Properties", "Get", &error, NULL,
                       "ss", "org.ioregion1.Manager", "Version");
    count(flood, error.name ?: "served");
    sd_bus_error_free(&error);
    sd_bus_close_unref(bus);
    if (++flood->sent == 20)
        flood_say("flooding");
}

void flood(const char *name, const char *service) {
    static struct flood flood;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            flood.kind = &kinds[i];
    if (!flood.kind)
        bench_fail(name, EINVAL);
    flood.service = service;
    if (flood.kind->prepare)
        flood.kind->prepare(&flood);
    if (flood.kind->fill)
        reconnect(&flood);
    while (!flood_is_over())
        if (!flood.kind->fill)
            connect_and_leave(&flood);
        else if (turn(&flood) < 0) {
            count(&flood, "disconnected");
            reconnect(&flood);
        }
    bench_end(flood.vmms);
    printf("{\"sent\": %u", flood.sent);
    for (struct count *c = flood.counts; *c->name; c++)
        printf(", \"%s\": %u", c->name, c->n);
    flood_say("}");
}
