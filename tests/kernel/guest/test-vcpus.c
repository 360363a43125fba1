/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a VMM does to its vCPUs before their accesses are complete: it takes their threads away (38), kicks them by
 * immediate_exit (39), pauses and resets them (40), in the middle of string instructions, too (27). An access is
 * completed before KVM_RUN returns, whatever the kick: what comes next finds it done, once.
 */

#include <errno.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

static void on_signal(int signal) {
    (void) signal;
}

/* Two vCPUs with accesses to one channel; the first one's command is in the device's hands. */
struct scene {
    struct vm vm;
    struct kvm_ioregion region;
    struct step steps[VM_VCPUS][2];
    struct running running[VM_VCPUS];
};

static void set_scene(struct scene *scene, uint32_t flags) {
    signal(SIGUSR1, on_signal);
    vm_new(&scene->vm);
    scene->region = region_at(VM_MMIO, 0x1000, 1, channel_new(0), flags);
    scene->region.timeout_usec = LONG;
    scene->region.grace_usec = flags & IOREGIONFD_REGION_HOLD ? LONG : 0;
    for (unsigned i = 0; i < VM_VCPUS; i++)
        for (unsigned j = 0; j < 2; j++)
            scene->steps[i][j] = STEP(READ8, (uint16_t) (0x10 * i + j));
    CHECK_EQ(region_set(scene->vm.handle, scene->region), 0);
    vm_start(&scene->running[0], &scene->vm, 0, scene->steps[0], 2);
    CHECK_EQ(next_command(scene->region.fd).offset, 0);
}

/* A kick, upon which the VMM wants the vCPU back; it comes back when its access is complete, and no sooner. */
static void kick(struct scene *scene, unsigned vcpu) {
    scene->vm.paused = true;
    CHECK_EQ(pthread_kill(scene->running[vcpu].thread, SIGUSR1), 0);
    CHECK_EQ(poll_for(scene->region.fd, POLLIN, 50), 0);
    CHECK_EQ(pthread_tryjoin_np(scene->running[vcpu].thread, NULL), EBUSY);
}

static void check_paused(struct scene *scene, unsigned vcpu) {
    vm_join(&scene->running[vcpu]);
    CHECK(!scene->running[vcpu].finished);
    CHECK_EQ(poll_for(scene->region.fd, POLLIN, 0), 0);
}

/* Where a paused vCPU goes on; the one access that is left of its steps is answered with this. */
static void go_on(struct scene *scene, unsigned vcpu, uint64_t value) {
    scene->vm.paused = false;
    vm_start_again(&scene->running[vcpu]);
    CHECK_EQ(next_command(scene->region.fd).offset, 0x10 * vcpu + 1);
    CHECK_EQ(answer(scene->region.fd, value), 0);
    vm_join(&scene->running[vcpu]);
    CHECK(scene->running[vcpu].finished);
}

static void *run_until_cancelled(void *argument) {
    struct running *running = argument;

    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    vm_run(running->vm, running->vcpu, running->steps, running->n);
    return NULL;
}

/* 38: its access outlives the thread's will to live; others go on, and so does the vCPU, in another thread */
static void thread_cancelled(void) {
    struct kvm_ioregion other = region_at(VM_MMIO + 0x1000, 0x100, 2, channel_new(0), 0);
    struct step step = STEP(READ8, 0x1000);
    struct running running;
    struct scene scene;
    void *result = NULL;

    set_scene(&scene, 0);
    CHECK_EQ(answer(scene.region.fd, 1), 0);
    CHECK_EQ(next_command(scene.region.fd).offset, 1);
    CHECK_EQ(answer(scene.region.fd, 2), 0);
    vm_join(&scene.running[0]);
    REQUIRE(pthread_create(&scene.running[0].thread, NULL, run_until_cancelled, &scene.running[0]) == 0);
    CHECK_EQ(next_command(scene.region.fd).offset, 0);
    CHECK_EQ(pthread_cancel(scene.running[0].thread), 0);

    CHECK_EQ(region_set(scene.vm.handle, other), 0);
    vm_start(&running, &scene.vm, 1, &step, 1);
    next_command(other.fd);
    CHECK_EQ(answer(other.fd, 7), 0);
    vm_join(&running);
    CHECK_EQ(step.value[0], 7);
    vm_start(&scene.running[1], &scene.vm, 1, scene.steps[1], 1);
    CHECK_EQ(poll_for(scene.region.fd, POLLIN, 50), 0);
    CHECK_EQ(pthread_tryjoin_np(scene.running[0].thread, NULL), EBUSY);
    CHECK_EQ(answer(scene.region.fd, 0x41), 0);
    CHECK_EQ(next_command(scene.region.fd).offset, 0x10);
    CHECK_EQ(answer(scene.region.fd, 0x42), 0);
    REQUIRE(pthread_join(scene.running[0].thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
    vm_join(&scene.running[1]);
    CHECK_EQ(scene.steps[1][0].value[0], 0x42);

    go_on(&scene, 0, 0x43);
    CHECK_EQ(scene.steps[0][0].value[0], 0x41);
    CHECK_EQ(scene.steps[0][1].value[0], 0x43);
    CHECK_EQ(region_stats(scene.vm.handle, scene.region).reads, 5);
    CHECK_EQ(region_stats(scene.vm.handle, scene.region).failures, 0);
    vm_free(&scene.vm);
}

/* 39: it counts when the access is complete, as often as KVM_RUN is called, and changes nothing */
static void immediate_exit_while_waiting(void) {
    struct scene scene;

    set_scene(&scene, 0);
    scene.vm.runs[0]->immediate_exit = 1;
    kick(&scene, 0);
    CHECK_EQ(answer(scene.region.fd, 0x41), 0);
    check_paused(&scene, 0);
    for (unsigned i = 0; i < 3; i++)
        CHECK(!vm_resume(&scene.vm, 0, scene.steps[0], 2));
    CHECK_EQ(scene.vm.interrupted, 4);
    CHECK_EQ(poll_for(scene.region.fd, POLLIN, 0), 0);
    scene.vm.runs[0]->immediate_exit = 0;
    go_on(&scene, 0, 0x42);
    CHECK_EQ(scene.steps[0][0].value[0], 0x41);
    CHECK_EQ(scene.steps[0][1].value[0], 0x42);
    CHECK_EQ(region_stats(scene.vm.handle, scene.region).reads, 2);
    CHECK_EQ(scene.vm.exits, 0);
    vm_free(&scene.vm);
}

/* As VMMs complete what they were asked for before they pause. */
static void answer_and_pause(struct vm *vm, struct kvm_run *run) {
    memset(run->mmio.data, VMM_ANSWER, sizeof(run->mmio.data));
    run->immediate_exit = 1;
    vm->paused = true;
}

/* 39, 26: half of an access is the region's, half the VMM's: neither is asked again */
static void immediate_exit_between_halves(void) {
    struct kvm_ioregion region = region_at(VM_MMIO, 0x1000, 1, channel_new(0), 0);
    struct step step = STEP(READ64, 0xffd);
    struct running running;
    struct vm vm;

    vm_new(&vm);
    vm.on_mmio = answer_and_pause;
    region.timeout_usec = LONG;
    CHECK_EQ(region_set(vm.handle, region), 0);
    vm_start(&running, &vm, 0, &step, 1);
    CHECK_EQ(next_command(region.fd).offset, 0xffd);
    CHECK_EQ(answer(region.fd, 0x0201), 0);
    CHECK_EQ(next_command(region.fd).offset, 0xfff);
    CHECK_EQ(answer(region.fd, 0x03), 0);
    vm_join(&running);
    CHECK(!running.finished);
    CHECK_EQ(vm.exits, 1);
    vm.paused = false;
    vm.runs[0]->immediate_exit = 0;
    CHECK(vm_resume(&vm, 0, &step, 1));
    CHECK_EQ(step.value[0], UINT64_C(0x5a5a5a5a5a030201));
    CHECK_EQ(poll_for(region.fd, POLLIN, 0), 0);
    CHECK_EQ(region_stats(vm.handle, region).reads, 2);
    CHECK_EQ(vm.exits, 1);
    vm_free(&vm);
}

/* Saved and loaded, as a VMM does with a paused VM; what was read is in it already. */
static void save_and_load(struct scene *scene, unsigned vcpu, uint8_t value) {
    const struct kvm_regs none = {.rflags = 2};
    struct kvm_regs registers;

    REQUIRE(ioctl(scene->vm.vcpus[vcpu], KVM_GET_REGS, &registers) == 0);
    CHECK_EQ(registers.rax & 0xff, value);
    REQUIRE(ioctl(scene->vm.vcpus[vcpu], KVM_SET_REGS, &none) == 0);
    REQUIRE(ioctl(scene->vm.vcpus[vcpu], KVM_SET_REGS, &registers) == 0);
}

/* 40: one vCPU waits for the device, the other one for the first */
static void pause_while_waiting(void) {
    struct scene scene;

    set_scene(&scene, 0);
    vm_start(&scene.running[1], &scene.vm, 1, scene.steps[1], 2);
    kick(&scene, 0);
    kick(&scene, 1);
    CHECK_EQ(answer(scene.region.fd, 0x41), 0);
    CHECK_EQ(next_command(scene.region.fd).offset, 0x10);
    CHECK_EQ(answer(scene.region.fd, 0x51), 0);
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        check_paused(&scene, i);
        save_and_load(&scene, i, (uint8_t) (0x41 + 0x10 * i));
    }
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        go_on(&scene, i, 0x42 + 0x10 * i);
        CHECK_EQ(scene.steps[i][0].value[0], 0x41 + 0x10 * i);
        CHECK_EQ(scene.steps[i][1].value[0], 0x42 + 0x10 * i);
    }
    CHECK_EQ(region_stats(scene.vm.handle, scene.region).reads, 4);
    CHECK_EQ(scene.vm.exits, 0);
    vm_free(&scene.vm);
}

/* 40: the device goes away and comes back while the VMM waits for its vCPU */
static void pause_while_held(void) {
    struct scene scene;

    set_scene(&scene, IOREGIONFD_REGION_HOLD | IOREGIONFD_REGION_REPLAY);
    kick(&scene, 0);
    close(scene.region.fd);
    scene.region.fd = channel_new(0);
    CHECK_EQ(region_stats(scene.vm.handle, scene.region).state, IOREGIONFD_STATE_HELD);
    CHECK_EQ(pthread_tryjoin_np(scene.running[0].thread, NULL), EBUSY);
    CHECK_EQ(region_set(scene.vm.handle, scene.region), 0);
    CHECK_EQ(next_command(scene.region.fd).offset, 0);
    CHECK_EQ(answer(scene.region.fd, 0x41), 0);
    check_paused(&scene, 0);
    go_on(&scene, 0, 0x42);
    CHECK_EQ(scene.steps[0][0].value[0], 0x41);
    CHECK_EQ(scene.steps[0][1].value[0], 0x42);
    vm_free(&scene.vm);
}

/* 40: nothing of the access before is left for those after the reset */
static void reset_while_waiting(void) {
    struct scene scene;

    set_scene(&scene, 0);
    kick(&scene, 0);
    CHECK_EQ(answer(scene.region.fd, 0x41), 0);
    check_paused(&scene, 0);
    scene.vm.paused = false;
    vm_start(&scene.running[0], &scene.vm, 0, scene.steps[0], 2);
    CHECK_EQ(next_command(scene.region.fd).offset, 0);
    CHECK_EQ(poll_for(scene.region.fd, POLLIN, 50), 0);
    CHECK_EQ(answer(scene.region.fd, 0x51), 0);
    CHECK_EQ(next_command(scene.region.fd).offset, 1);
    CHECK_EQ(answer(scene.region.fd, 0x52), 0);
    vm_join(&scene.running[0]);
    CHECK_EQ(scene.steps[0][0].value[0], 0x51);
    CHECK_EQ(scene.steps[0][1].value[0], 0x52);
    CHECK_EQ(answer(scene.region.fd, 0x41), -EPROTO);
    vm_free(&scene.vm);
}

/* 40: so, too, when the access fails; the VM keeps its region, and the region takes another device */
static void reset_after_a_failed_access(void) {
    struct scene scene;
    int late;

    set_scene(&scene, IOREGIONFD_REGION_HOLD);
    kick(&scene, 0);
    late = scene.region.fd;
    scene.region.fd = channel_new(0);
    CHECK_EQ(region_set(scene.vm.handle, scene.region), 0); /* read and not answered: it is not sent again */
    check_paused(&scene, 0);
    save_and_load(&scene, 0, 0xff);
    CHECK_EQ(answer(late, 0x41), -EPIPE);
    scene.vm.paused = false;
    vm_start(&scene.running[0], &scene.vm, 0, scene.steps[0], 2);
    CHECK_EQ(next_command(scene.region.fd).offset, 0);
    CHECK_EQ(answer(scene.region.fd, 0x51), 0);
    CHECK_EQ(next_command(scene.region.fd).offset, 1);
    CHECK_EQ(answer(scene.region.fd, 0x52), 0);
    vm_join(&scene.running[0]);
    CHECK_EQ(scene.steps[0][0].value[0], 0x51);
    CHECK_EQ(scene.steps[0][1].value[0], 0x52);
    vm_free(&scene.vm);
}

#define COUNT 8

static void start_string(struct vm *vm, struct kvm_ioregion *region, struct running *running, struct step *steps) {
    signal(SIGUSR1, on_signal);
    vm_new(vm);
    *region = region_at(0x300, 0x20, 1, channel_new(0), KVM_IOREGION_PIO);
    region->timeout_usec = LONG;
    steps[0] = STEP(INSB, 0x310, COUNT);
    steps[1] = STEP(OUTSB, 0x310, COUNT);
    CHECK_EQ(region_set(vm->handle, *region), 0);
    vm_start(running, vm, 0, steps, 2);
}

/* 27, 40: kicked at each byte, and paused whenever KVM lets go: each byte goes once, in its place */
static void string_kicked(void) {
    struct kvm_ioregion region;
    struct step steps[2];
    struct running running;
    unsigned pauses = 0;
    struct vm vm;

    start_string(&vm, &region, &running, steps);
    vm.paused = true;
    for (unsigned i = 0; i < 2 * COUNT; i++) {
        while (poll_for(region.fd, POLLIN, 20) == 0) {
            if (pthread_tryjoin_np(running.thread, NULL) != 0)
                continue;
            REQUIRE(!running.finished);
            pauses++;
            vm_start_again(&running);
        }
        if (i < COUNT) {
            CHECK_EQ(next_command(region.fd).info, 0x40);
        } else {
            CHECK_EQ(next_command(region.fd).data, 0xa0 + i - COUNT);
        }
        CHECK_EQ(pthread_kill(running.thread, SIGUSR1), 0);
        CHECK_EQ(answer(region.fd, i < COUNT ? 0xa0 + i : 0), 0);
    }
    vm_join(&running);
    if (!running.finished)
        CHECK(vm_resume(&vm, 0, steps, 2));
    CHECK(pauses > 0);
    CHECK_EQ(poll_for(region.fd, POLLIN, 0), 0);
    CHECK_EQ(region_stats(vm.handle, region).reads, COUNT);
    CHECK_EQ(region_stats(vm.handle, region).writes, COUNT);
    CHECK_EQ(vm.exits, 0);
    vm_free(&vm);
}

/* 27, 43: what is left of the string is no access of the region's any more; KVM drops it, or asks the VMM */
static void string_cut_short(void) {
    struct kvm_ioregion region;
    struct step steps[2];
    struct running running;
    struct vm vm;

    start_string(&vm, &region, &running, steps);
    for (unsigned i = 0; i < 3; i++) {
        next_command(region.fd);
        CHECK_EQ(answer(region.fd, 0xa0 + i), 0);
    }
    next_command(region.fd);
    CHECK_EQ(region_del(vm.handle, region), 0);
    vm_join(&running);
    CHECK(running.finished);
    for (unsigned i = 0; i < COUNT; i++) {
        uint8_t byte = vm.memory[VM_BUFFER + i];

        if (i < 4)
            CHECK_EQ(byte, i < 3 ? 0xa0 + i : 0xff);
        else
            CHECK(byte == 0 || byte == VMM_ANSWER);
    }
    CHECK_EQ(poll_for(region.fd, POLLIN, 0) & POLLHUP, POLLHUP);
    CHECK(vm.exits > 0); /* the writes at least */
    vm_free(&vm);
}

const struct test tests_vcpus[] = {
    TEST(thread_cancelled),
    TEST(immediate_exit_while_waiting),
    TEST(immediate_exit_between_halves),
    TEST(pause_while_waiting),
    TEST(pause_while_held),
    TEST(reset_while_waiting),
    TEST(reset_after_a_failed_access),
    TEST(string_kicked),
    TEST(string_cut_short),
    {0},
};
