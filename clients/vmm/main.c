/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ioregion-demo-vmm: a VM whose devices are elsewhere. One thread for events and regions, one for the vCPU. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <systemd/sd-event.h>

#include "board.h"
#include "guest-script.h"
#include "internal/cleanup.h"
#include "kvm.h"
#include "options.h"
#include "replay.h"

enum { STATUS_OK, STATUS_GUEST, STATUS_USAGE, STATUS_REFUSED, STATUS_TIMEOUT, STATUS_FAILED };

extern const uint8_t guest_demo[], guest_demo_end[];

struct vmm {
    struct options options;
    struct ioregion_vmm *regions;
    struct kvm_vm *kvm; /* NULL: replay */
    struct board board;
    sd_event *event;
    pthread_t vcpu;
    bool started;
    int ended;  /* eventfd: the vCPU thread is through */
    int result; /* of that: 0 or a negative errno */
};

#define say(...) (fprintf(stderr, "ioregion-demo-vmm: " __VA_ARGS__), fputc('\n', stderr))

/* The whole of the adoption: KVM_RUN, then ask the library whether the exit was for a device. */
static int run_kvm(struct vmm *vmm) {
    int r;

    while (!vmm->board.ended && !vmm->board.stop) {
        r = kvm_vm_run(vmm->kvm);
        if (r == -EINTR)
            continue;
        if (r < 0)
            return r;
        if (ioregion_vmm_handle_exit(vmm->regions, vmm->kvm->run))
            continue;
        r = board_exit(&vmm->board, vmm->kvm->run);
        if (r < 0)
            return r;
    }
    return 0;
}

static void *vcpu_thread(void *userdata) {
    struct vmm *vmm = userdata;

    if (vmm->kvm)
        vmm->result = run_kvm(vmm);
    else
        replay_run(vmm->regions, &vmm->board);
    eventfd_write(vmm->ended, 1);
    return NULL;
}

static void on_kick(int number) {
    /* it is enough that KVM_RUN was interrupted */
}

static int start_guest(struct vmm *vmm) {
    struct sigaction action = {.sa_handler = on_kick};
    int r;

    sigaction(SIGUSR1, &action, NULL);
    r = pthread_create(&vmm->vcpu, NULL, vcpu_thread, vmm);
    if (r != 0)
        return -r;
    vmm->started = true;
    return 0;
}

/* A vCPU that waits for a device comes out of it by the device's deadline. */
static void stop_guest(struct vmm *vmm) {
    if (!vmm->started)
        return;
    vmm->board.stop = true;
    if (vmm->kvm)
        vmm->kvm->run->immediate_exit = 1;
    pthread_kill(vmm->vcpu, SIGUSR1);
    pthread_join(vmm->vcpu, NULL);
    vmm->started = false;
}

static int on_regions(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct vmm *vmm = userdata;

    if (ioregion_vmm_process(vmm->regions) == 0)
        return 0;
    say("the broker is gone; devices go on: %s", ioregion_last_error());
    return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

static int on_go(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    sd_event_source_set_enabled(source, SD_EVENT_OFF);
    return start_guest(userdata);
}

static int on_ended(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct vmm *vmm = userdata;

    if (vmm->result < 0) {
        say("the guest was stopped: %s", strerror(-vmm->result));
        return sd_event_exit(vmm->event, STATUS_FAILED);
    }
    if (vmm->board.unclaimed)
        say("%u accesses hit no device", vmm->board.unclaimed);
    say("the guest ended with status %u", vmm->board.status);
    return sd_event_exit(vmm->event, vmm->board.status ? STATUS_GUEST : STATUS_OK);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
    struct vmm *vmm = userdata;

    say("time is up: the guest did not end within %u s", (unsigned) vmm->options.timeout);
    return sd_event_exit(vmm->event, STATUS_TIMEOUT);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
    struct vmm *vmm = userdata;

    say("stopped");
    return sd_event_exit(vmm->event, STATUS_OK);
}

/* Standard input may be something that can't be polled: then there is nothing to wait for. */
static int start_or_wait(struct vmm *vmm) {
    int r = -EPERM;

    if (vmm->options.paused) {
        say("paused: a line on standard input starts the guest");
        r = sd_event_add_io(vmm->event, NULL, STDIN_FILENO, EPOLLIN, on_go, vmm);
    }
    return r == -EPERM ? start_guest(vmm) : r;
}

/* Signals are blocked before there are threads, so that they reach the event loop alone. */
static int block_signals(void) {
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int run_events(struct vmm *vmm) {
    uint64_t limit = vmm->options.timeout * UINT64_C(1000000);
    int r;

    if ((r = sd_event_add_io(vmm->event, NULL, ioregion_vmm_fd(vmm->regions), EPOLLIN, on_regions, vmm)) < 0 ||
        (r = sd_event_add_io(vmm->event, NULL, vmm->ended, EPOLLIN, on_ended, vmm)) < 0 ||
        (r = sd_event_add_signal(vmm->event, NULL, SIGTERM, on_signal, vmm)) < 0 ||
        (r = sd_event_add_signal(vmm->event, NULL, SIGINT, on_signal, vmm)) < 0 ||
        (r = sd_event_add_time_relative(vmm->event, NULL, CLOCK_MONOTONIC, limit, 0, on_timeout, vmm)) < 0 ||
        (r = start_or_wait(vmm)) < 0)
        return r;
    r = sd_event_loop(vmm->event);
    stop_guest(vmm);
    return r;
}

static int load_file(struct vmm *vmm, const char *path) {
    size_t room = KVM_VM_MEMORY - GUEST_LOAD, size;
    FILE *file = fopen(path, "re");

    if (!file)
        return -errno;
    size = fread(vmm->kvm->memory + GUEST_LOAD, 1, room, file);
    fclose(file);
    return size > 0 ? 0 : -ENODATA;
}

/* Leaves vmm->kvm NULL where there is no KVM to have, and says so. */
static int make_guest(struct vmm *vmm) {
    const struct options *options = &vmm->options;
    _cleanup_(fd_closep) int kvm = options->kvm;
    int r;

    if (kvm < 0 && !options->no_kvm)
        kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (options->no_kvm || (kvm < 0 && !options->guest)) {
        say("no KVM (%s): its accesses are replayed without a vCPU", options->no_kvm ? "--no-kvm" : strerror(errno));
        return 0;
    }
    if (kvm < 0)
        return -errno;
    r = kvm_vm_new(&vmm->kvm, kvm, guest_demo, guest_demo_end - guest_demo, GUEST_LOAD);
    if (r >= 0 && options->guest)
        r = load_file(vmm, options->guest);
    if (r >= 0)
        r = kvm_vm_reset(vmm->kvm, GUEST_LOAD, 0);
    if (r >= 0)
        say("the guest runs on KVM");
    return r;
}

static int serve(struct vmm *vmm) {
    struct ioregion_vmm_options *registration = &vmm->options.registration;
    int r = make_guest(vmm);

    if (r < 0) {
        say("can't make the guest: %s", strerror(-r));
        return STATUS_FAILED;
    }
    if (vmm->kvm && (!registration->dispatch || strcmp(registration->dispatch, "vmm") != 0)) {
        registration->has_vm_fd = true;
        registration->vm_fd = vmm->kvm->vm;
    }
    r = ioregion_vmm_register(&vmm->regions, vmm->options.vm, registration);
    if (r < 0) {
        say("%s: %s", r == -EHOSTUNREACH ? "no broker" : "refused", ioregion_last_error());
        return r == -EHOSTUNREACH || r == -ENOMEM ? STATUS_FAILED : STATUS_REFUSED;
    }
    say("registered VM %s", vmm->options.vm);
    r = run_events(vmm);
    if (r < 0)
        say("%s", strerror(-r));
    return r < 0 ? STATUS_FAILED : r;
}

int main(int argc, char **argv) {
    struct vmm vmm = {.ended = -1};
    _cleanup_(sd_event_unrefp) sd_event *event = NULL;
    _cleanup_(fd_closep) int ended = -1;
    int r = options_parse(argc, argv, &vmm.options);

    if (r != 0)
        return r < 0 ? STATUS_USAGE : STATUS_OK;
    ended = eventfd(0, EFD_CLOEXEC);
    if (ended < 0 || block_signals() < 0 || sd_event_new(&event) < 0) {
        say("can't start: out of descriptors or memory");
        return STATUS_FAILED;
    }
    vmm.ended = ended;
    vmm.event = event;
    r = serve(&vmm);
    ioregion_vmm_free(vmm.regions);
    kvm_vm_free(vmm.kvm);
    return r;
}
