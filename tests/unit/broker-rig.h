/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TESTS_BROKER_RIG_H
#define TESTS_BROKER_RIG_H

/*
 * A broker with real leases and real channels, whose clients, a VMM and devices, are played by the test itself, step by
 * step, in one process: so every order of events can be made, and every allocation can be made to fail.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/broker.h"

struct rig {
    sd_event *event;
    struct broker *broker;
    unsigned vms_added, vms_removed, devices_added, devices_removed, devices_changed;
};

/* What a request came to. */
struct outcome {
    bool replied;
    int error;
    enum refusal_kind kind;
    char text[512];
    void *object;
};

/* A client: its end of the lease, and the request that it made. */
struct client {
    int lease;
    struct admission *admission;
    struct outcome outcome;
    void (*answered)(void); /* is called when the outcome is there; NULL for nothing */
    int channels[4];
    size_t n_channels;
    struct ioregion_lease_grant grant;
};

/* @policy is the text of a policy; NULL: root may do everything. */
struct rig *rig_new(const char *policy);
void rig_free(struct rig *rig);

/* Let the broker do all that it can do now. */
void rig_pump(struct rig *rig);

/* Wait for timers of the broker, too, until @done, for 10 s at most. */
void rig_wait(struct rig *rig, bool (*done)(void *userdata), void *userdata);

/* Start a request; then prove it as this very process, the bus saying the same. */
void client_register(struct rig *rig, struct client *client, const char *name);
void client_register_on(struct rig *rig, struct client *client, const char *name, int lease);
/* The same for a process, by its folder in /proc (taken), which has no VM. */
void client_adopt(struct rig *rig, struct client *client, const char *name, int process);
void client_attach(struct rig *rig, struct client *client, struct attach_request *request);
void client_prove(struct rig *rig, struct client *client);
void client_close(struct client *client);

/* A request for a device with one region at @base; all else by hand. */
struct attach_request *attach_request_new(const char *vm, const char *device, uint64_t base, uint64_t size);

/* Take the next message off the lease: its type, 0 for none, -1 for end of file. Descriptors go to *ret_fd. */
int client_receive(struct client *client, void *ret_message, size_t size, int *ret_fd);
void client_send(struct client *client, const void *message);

/* The VMM answers everything that is asked of it with @error; returns how many requests there were. */
unsigned vmm_answer(struct rig *rig, struct client *vmm, int error);

/* A VM, registered and granted; a device's GRANT and its channels; and a request that was refused like this. */
void register_vm(struct rig *rig, struct client *vmm, const char *name);
void take_grant(struct client *device);
/* Of fail_allocation(): the client leaves, nothing is left of what it asked for. True if it came to the fault. */
bool end_fault(struct rig *rig, struct client *client);

void expect_refusal(struct client *client, enum refusal_kind kind, const char *text);

/* How many descriptors this process has open. */
unsigned count_fds(void);

/* Let the @nth allocation from now fail (1 is the next), or none (0); and has it come to that? The rig's don't count.
 */
void fail_allocation(unsigned nth);
void fail_pause(bool pause);
bool allocation_failed(void);

#endif
