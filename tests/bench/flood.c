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
#define SILENT_DEVICES 16
#define SILENT_TIMEOUT_USEC UINT64_C(1000)
#define SLOT_BASE(slot) (UINT64_C(0x1000) * ((slot) + 1))

struct flood;
struct kind {
    const char *name;
    unsigned window;
    int (*fill)(struct flood *flood, unsigned slot, sd_bus_message **ret_call); /* NULL: a flood of its own */
    void (*prepare)(struct flood *flood);
    bool proves, unread, stays; /* stays: a lease is kept until its slot's next one is granted */
    bool limited;               /* by a rate with a burst: it says when that is over */
};

struct flood {
    const struct kind *kind;
    const char *service;
    sd_bus *bus, *side;
    struct slot {
        struct flood *flood;
        int lease, kept; /* our ends; -1 for none */
        bool waits, proved;
    } slots[WINDOW_MAX];
    int (*strange)[2]; /* pairs whose maker is dead */
    struct count {
        char name[64];
        unsigned n;
    } counts[16];
    bool limited;
    unsigned sent, *unanswered; /* unanswered: by silent devices, counted by another process */
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

static int attach(struct flood *flood, unsigned slot, const char *on_disconnect, uint64_t timeout_usec,
                  sd_bus_message **ret_call) {
    char name[32];
    int theirs, r;

    snprintf(name, sizeof(name), "flood%u", slot);
    r = lease_client_pair(&flood->slots[slot].lease, &theirs);
    if (r < 0)
        return r;
    r = sd_bus_message_new_method_call(flood->bus, ret_call, flood->service, MANAGER, "AttachDevice");
    if (r >= 0)
        r = sd_bus_message_append(*ret_call, "ssa(sttta{sv})a{sv}h", "flooded0", name, 1, "mmio", SLOT_BASE(slot),
                                  UINT64_C(16), (uint64_t) slot, 0, 2, "on-disconnect", "s", on_disconnect,
                                  "timeout-usec", "t", timeout_usec, theirs);
    close(theirs);
    return r;
}

static int fill_attach(struct flood *flood, unsigned slot, sd_bus_message **ret_call) {
    return attach(flood, slot, "remove", 0, ret_call);
}

/* A device of the slot's name, which was there before: it comes back, and never answers. */
static int fill_silent(struct flood *flood, unsigned slot, sd_bus_message **ret_call) {
    return attach(flood, slot, "ones", SILENT_TIMEOUT_USEC, ret_call);
}

static void prepare_vmm(struct ioregion_vmm **ret_vmm) {
    int r = ioregion_vmm_register(ret_vmm, "flooded0", NULL);

    if (r < 0)
        bench_fail("flooded0", r);
}

/* A VM whose VMM never answers the broker. */
static void prepare_mute(struct flood *flood) {
    struct ioregion_vmm *vmm;

    if (strcmp(flood->service, BROKER) == 0)
        prepare_vmm(&vmm);
}

/* A guest that reads all of the devices' registers every millisecond: each that does not answer is an event. */
static void run_guest(struct ioregion_vmm *vmm, unsigned *unanswered) {
    struct pollfd input = {ioregion_vmm_fd(vmm), POLLIN, 0};
    uint64_t value, begin;

    while (poll(&input, 1, 1) >= 0 && ioregion_vmm_process(vmm) >= 0)
        for (unsigned i = 0; i < SILENT_DEVICES; i++) {
            begin = bench_now();
            ioregion_vmm_access(vmm, IOREGION_MMIO, SLOT_BASE(i), &value, 8, false);
            *unanswered += bench_now() - begin >= 1000 * SILENT_TIMEOUT_USEC;
        }
    _exit(1);
}

static void prepare_silent(struct flood *flood) {
    struct ioregion_vmm *vmm;

    if (strcmp(flood->service, BROKER) != 0)
        return;
    prepare_vmm(&vmm);
    flood->unanswered = mmap(NULL, sizeof(unsigned), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (flood->unanswered == MAP_FAILED)
        bench_fail("mmap", errno);
    flood->vmms = fork();
    if (flood->vmms == 0)
        run_guest(vmm, flood->unanswered);
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
    {"register", 16, fill_register, .proves = true, .limited = true},
    {"forged", 64, fill_forged, prepare_forged},
    {"mute", 64, fill_attach, prepare_mute, .proves = true},
    {"churn", 16, fill_attach, prepare_churn, .proves = true, .limited = true},
    {"silent", SILENT_DEVICES, fill_silent, prepare_silent, .proves = true, .stays = true, .limited = true},
    {"connections"},
};

static int slot_close(int fd) {
    if (fd >= 0)
        close(fd);
    return -1;
}

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const sd_bus_error *error = sd_bus_message_get_error(reply);
    struct slot *slot = userdata;

    count(slot->flood, error ? error->name : "served");
    if (slot->flood->kind->limited && !slot->flood->limited &&
        sd_bus_error_has_name(error, "org.ioregion1.Error.QuotaExceeded")) {
        slot->flood->limited = true;
        flood_say("limited");
    }
    slot->waits = slot->proved = false;
    if (!error && slot->flood->kind->stays) {
        slot_close(slot->kept);
        slot->kept = slot->lease; /* with GRANT and the channel in it, which nobody reads */
        slot->lease = -1;
    }
    slot->lease = slot_close(slot->lease);
    return 0;
}

/* The bus may have enough of us: then once more from the beginning. */
static void reconnect(struct flood *flood) {
    sd_bus_close_unref(flood->bus);
    for (unsigned i = 0; i < flood->kind->window; i++) {
        if (flood->slots[i].waits)
            slot_close(flood->slots[i].lease);
        flood->slots[i] = (struct slot){.flood = flood, .lease = -1, .kept = -1};
    }
    while (sd_bus_open_system(&flood->bus) < 0 && !flood_is_over())
        ;
}

static int send_one(struct flood *flood, unsigned i) {
    sd_bus_message *call = NULL;
    uint64_t cookie;
    int r = flood->kind->fill(flood, i, &call);

    if (r >= 0 && flood->kind->unread)
        r = sd_bus_send(flood->bus, call, &cookie); /* who does not want the cookie wants no reply */
    else if (r >= 0)
        r = sd_bus_call_async(flood->bus, NULL, call, on_reply, &flood->slots[i], UINT64_MAX);
    flood->slots[i].waits = !flood->kind->unread;
    sd_bus_message_unref(call);
    if (++flood->sent == 100)
        flood_say("flooding");
    return r;
}

/* Nothing else is waited for on a lease that is proven or has hung up: the reply comes on the bus. */
static bool waits_for_challenge(const struct flood *flood, const struct slot *slot) {
    return flood->kind->proves && slot->lease >= 0 && !slot->proved;
}

static void prove_lease(struct slot *slot) {
    struct lease_message message = LEASE_MESSAGE_INIT;
    int r = lease_client_receive(slot->lease, &message);

    if (r > 0 && message.header.type == IOREGION_LEASE_CHALLENGE)
        slot->proved = lease_client_prove(slot->lease, &message.challenge) >= 0;
    else if (r < 0)
        slot->lease = slot_close(slot->lease);
    lease_message_done(&message);
}

static int wait_for_news(struct flood *flood) {
    struct pollfd fds[2 + WINDOW_MAX] = {{STDIN_FILENO, POLLIN, 0},
                                         {sd_bus_get_fd(flood->bus), (short) sd_bus_get_events(flood->bus), 0}};
    struct slot *slots[2 + WINDOW_MAX];
    nfds_t n = 2;

    for (struct slot *slot = flood->slots; slot < flood->slots + flood->kind->window; slot++)
        if (waits_for_challenge(flood, slot)) {
            slots[n] = slot;
            fds[n++] = (struct pollfd){slot->lease, POLLIN, 0};
        }
    if (poll(fds, n, 1000) < 0)
        return -errno;
    for (nfds_t i = 2; i < n; i++)
        if (fds[i].revents)
            prove_lease(slots[i]);
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
    if (flood.unanswered)
        printf(", \"unanswered\": %u", *flood.unanswered);
    for (struct count *c = flood.counts; *c->name; c++)
        printf(", \"%s\": %u", c->name, c->n);
    flood_say("}");
}
