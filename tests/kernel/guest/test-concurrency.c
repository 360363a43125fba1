/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What goes on while a vCPU waits for its device: other vCPUs, changes of the VM, signals. */

#include <errno.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tap.h"
#include "vm.h"

static struct kvm_ioregion patient(uint64_t address, uint64_t user_data, int channel) {
    struct kvm_ioregion region = region_at(address, 0x100, user_data, channel, 0);

    region.timeout_usec = LONG;
    return region;
}

/* A region for each vCPU, the second one maybe of ports: one exchange at a time, and to everyone his own answers. */
static void share_a_channel(bool ports) {
    struct step steps[VM_VCPUS][200];
    struct running running[VM_VCPUS];
    int channel = channel_new(0);
    unsigned served[VM_VCPUS] = {0};
    struct vm vm;

    vm_new(&vm);
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        bool port = ports && i == 1;
        struct kvm_ioregion region = patient((port ? 0 : VM_MMIO) + 0x100 * i, i, channel);

        region.flags = port ? KVM_IOREGION_PIO : 0;
        CHECK_EQ(region_set(vm.handle, region), 0);
        for (unsigned j = 0; j < 200; j++)
            steps[i][j] = STEP(port ? IN32 : READ32, (uint16_t) (0x100 * i + (j & 0x3f)));
        vm_start(&running[i], &vm, i, steps[i], 200);
    }
    for (unsigned n = 0; n < 200 * VM_VCPUS; n++) {
        struct ioregionfd_cmd command = next_command(channel);
        unsigned i = (unsigned) command.user_data;

        REQUIRE(i < VM_VCPUS);
        CHECK_EQ(command.offset, served[i] & 0x3f);
        CHECK_EQ(poll_for(channel, POLLIN, 0), 0);
        CHECK_EQ(answer(channel, i << 16 | served[i]), 0);
        served[i]++;
    }
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        vm_join(&running[i]);
        for (unsigned j = 0; j < 200; j++)
            CHECK_EQ(steps[i][j].value[0], i << 16 | j);
    }
    CHECK_EQ(vm.exits, 0);
    vm_free(&vm);
}

/* 42 */
static void two_vcpus_on_one_channel(void) {
    share_a_channel(false);
}

/* 42 */
static void two_spaces_on_one_channel(void) {
    share_a_channel(true);
}

/* 42: who came first is served first */
static void two_vcpus_take_turns(void) {
    struct step steps[VM_VCPUS] = {STEP(READ8, 0), STEP(READ8, 1)};
    struct running running[VM_VCPUS];
    int channel = channel_new(0);
    struct vm vm;

    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, patient(VM_MMIO, 1, channel)), 0);
    vm_start(&running[0], &vm, 0, &steps[0], 1);
    CHECK_EQ(next_command(channel).offset, 0);
    vm_start(&running[1], &vm, 1, &steps[1], 1);
    CHECK_EQ(poll_for(channel, POLLIN, 100), 0); /* one at a time */
    CHECK_EQ(answer(channel, 1), 0);
    CHECK_EQ(next_command(channel).offset, 1);
    CHECK_EQ(answer(channel, 2), 0);
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        vm_join(&running[i]);
        CHECK_EQ(steps[i].value[0], i + 1);
    }
    vm_free(&vm);
}

/* 32, 42: each one's posted writes come in its own order, and all of them before its read; the ring is full at times */
static void two_vcpus_post_and_read(void) {
    struct step steps[VM_VCPUS][100];
    unsigned next[VM_VCPUS] = {0};
    struct running running[VM_VCPUS];
    int channel = channel_new(0);
    struct vm vm;

    vm_new(&vm);
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        struct kvm_ioregion region = patient(VM_MMIO + 0x100 * i, i, channel);

        region.flags = KVM_IOREGION_POSTED_WRITES;
        CHECK_EQ(region_set(vm.handle, region), 0);
        for (unsigned j = 0; j < 100; j++)
            steps[i][j] = STEP(j % 50 == 49 ? READ32 : WRITE32, (uint16_t) (0x100 * i), j);
        vm_start(&running[i], &vm, i, steps[i], 100);
    }
    for (unsigned n = 0; n < 100 * VM_VCPUS; n++) {
        struct ioregionfd_cmd command = next_command(channel);
        unsigned i = (unsigned) command.user_data;

        REQUIRE(i < VM_VCPUS);
        if (command.info & IOREGIONFD_CMD_WRITE)
            CHECK_EQ(command.data, next[i]);
        else
            CHECK_EQ(answer(channel, 1000 * i + next[i]), 0);
        next[i]++;
    }
    for (unsigned i = 0; i < VM_VCPUS; i++) {
        vm_join(&running[i]);
        CHECK_EQ(steps[i][49].value[0], 1000 * i + 49);
        CHECK_EQ(steps[i][99].value[0], 1000 * i + 99);
    }
    vm_free(&vm);
}

static void two_channels_are_independent(void) {
    struct step steps[VM_VCPUS] = {STEP(READ8, 0), STEP(READ8, 0x100)};
    struct running running[VM_VCPUS];
    int channels[VM_VCPUS] = {channel_new(0), channel_new(0)};
    struct vm vm;

    vm_new(&vm);
    for (unsigned i = 0; i < VM_VCPUS; i++)
        CHECK_EQ(region_set(vm.handle, patient(VM_MMIO + 0x100 * i, 1, channels[i])), 0);
    vm_start(&running[0], &vm, 0, &steps[0], 1);
    next_command(channels[0]);
    vm_start(&running[1], &vm, 1, &steps[1], 1);
    next_command(channels[1]);
    CHECK_EQ(answer(channels[1], 1), 0);
    vm_join(&running[1]);
    CHECK_EQ(answer(channels[0], 1), 0);
    vm_join(&running[0]);
    vm_free(&vm);
}

/* A vCPU that waits in a region of VM_MMIO for an answer. */
struct blocked {
    struct vm vm;
    struct kvm_ioregion region;
    struct step step;
    struct running running;
};

static void block(struct blocked *blocked) {
    vm_new(&blocked->vm);
    blocked->region = patient(VM_MMIO, 1, channel_new(0));
    blocked->step = STEP(READ8, 0);
    CHECK_EQ(region_set(blocked->vm.handle, blocked->region), 0);
    vm_start(&blocked->running, &blocked->vm, 0, &blocked->step, 1);
    next_command(blocked->region.fd);
}

static void unblock(struct blocked *blocked) {
    CHECK_EQ(answer(blocked->region.fd, 0x42), 0);
    vm_join(&blocked->running);
    CHECK_EQ(blocked->step.value[0], 0x42);
    CHECK_EQ(blocked->vm.exits, 0);
    vm_free(&blocked->vm);
}

/* 43: a delete ends the access at once, and a new region may take the place at once */
static void delete_while_blocked(void) {
    uint64_t start = now_msec();
    struct blocked blocked;

    block(&blocked);
    CHECK_EQ(region_del(blocked.vm.handle, blocked.region), 0);
    CHECK(now_msec() - start < 5000);
    CHECK(poll_for(blocked.region.fd, POLLIN, 0) & POLLHUP);
    vm_join(&blocked.running);
    CHECK_EQ(blocked.step.value[0], 0xff);
    CHECK_EQ(vm_read(&blocked.vm, READ8, 0), VMM_ANSWER);
    CHECK_EQ(answer(blocked.region.fd, 0), -EPIPE);
    blocked.region.fd = channel_new(0);
    CHECK_EQ(region_set(blocked.vm.handle, blocked.region), 0);
    vm_free(&blocked.vm);
}

/* 43: with another region on the channel that lives on; the answer that comes late is nobody's */
static void delete_one_of_two_while_blocked(void) {
    struct step step = STEP(READ8, 0x100);
    struct blocked blocked;
    struct running running;

    block(&blocked);
    CHECK_EQ(region_set(blocked.vm.handle, patient(VM_MMIO + 0x100, 2, blocked.region.fd)), 0);
    CHECK_EQ(region_del(blocked.vm.handle, blocked.region), 0);
    vm_join(&blocked.running);
    CHECK_EQ(blocked.step.value[0], 0xff);
    vm_start(&running, &blocked.vm, 1, &step, 1);
    CHECK_EQ(poll_for(blocked.region.fd, POLLIN, 100), 0);
    CHECK_EQ(answer(blocked.region.fd, 1), 0);
    CHECK_EQ(next_command(blocked.region.fd).user_data, 2);
    CHECK_EQ(answer(blocked.region.fd, 2), 0);
    vm_join(&running);
    CHECK_EQ(step.value[0], 2);
    vm_free(&blocked.vm);
}

/* 26, 43: what is left of an access that was cut is not sent after the delete */
static void delete_between_two_parts(void) {
    struct kvm_ioregion region = patient(VM_MMIO, 1, channel_new(0));
    struct step step = STEP(WRITE64, 0xffd, 1);
    struct running running;
    struct vm vm;

    region.memory_size = 0x2000;
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, region), 0);
    CHECK_EQ(region_set(vm.handle, patient(VM_MMIO + 0x4000, 2, region.fd)), 0);
    vm_start(&running, &vm, 0, &step, 1);
    next_command(region.fd);
    CHECK_EQ(region_del(vm.handle, region), 0);
    CHECK_EQ(answer(region.fd, 0), 0);
    vm_join(&running);
    CHECK_EQ(poll_for(region.fd, POLLIN, 0), 0);
    CHECK_EQ(vm.exits, 1); /* the other page */
    vm_free(&vm);
}

/* A command whose vCPU is gone still has a deadline, which the next in the queue watches. */
static void delete_leaves_the_clock_running(void) {
    struct step step = STEP(READ8, 0x100);
    struct kvm_ioregion short_one;
    struct running running, second;
    struct step first_step = STEP(READ8, 0);
    struct vm vm;

    vm_new(&vm);
    short_one = patient(VM_MMIO, 1, channel_new(0));
    short_one.timeout_usec = 300000;
    CHECK_EQ(region_set(vm.handle, short_one), 0);
    CHECK_EQ(region_set(vm.handle, patient(VM_MMIO + 0x100, 2, short_one.fd)), 0);
    vm_start(&running, &vm, 0, &first_step, 1);
    next_command(short_one.fd);
    vm_start(&second, &vm, 1, &step, 1);
    CHECK_EQ(region_del(vm.handle, short_one), 0);
    vm_join(&running);
    vm_join(&second); /* long before its own deadline */
    CHECK_EQ(step.value[0], 0xff);
    vm_free(&vm);
}

/* 44: and other changes that wait for all readers of the VM's structures */
static void memory_slot_while_blocked(void) {
    struct kvm_userspace_memory_region slot = {.slot = 1, .guest_phys_addr = 0x100000, .memory_size = 0x1000};
    uint64_t start = now_msec();
    struct blocked blocked;

    block(&blocked);
    slot.userspace_addr = (uintptr_t) mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < 10; i++) {
        slot.memory_size = i & 1 ? 0 : 0x1000;
        CHECK_EQ(ioctl(blocked.vm.fd, KVM_SET_USER_MEMORY_REGION, &slot), 0);
    }
    CHECK(now_msec() - start < 5000);
    unblock(&blocked);
}

static void bus_changes_while_blocked(void) {
    struct kvm_ioeventfd event = {.addr = VM_MMIO + 0x1000, .len = 4, .fd = eventfd(0, 0)};
    uint64_t start = now_msec();
    struct kvm_ioregion region;
    struct blocked blocked;

    block(&blocked);
    region = patient(VM_MMIO + 0x800, 1, channel_new(0));
    for (unsigned i = 0; i < 10; i++) {
        event.flags = 0;
        CHECK_EQ(ioctl(blocked.vm.fd, KVM_IOEVENTFD, &event), 0);
        event.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
        CHECK_EQ(ioctl(blocked.vm.fd, KVM_IOEVENTFD, &event), 0);
    }
    CHECK_EQ(region_set(blocked.vm.handle, region), 0);
    CHECK_EQ(region_del(blocked.vm.handle, region), 0);
    CHECK(now_msec() - start < 5000);
    unblock(&blocked);
}

static void on_signal(int signal) {
    (void) signal;
}

/* 35, 37: signals wait for the device; the access is neither lost nor done twice nor left half done */
static void signals_while_blocked(void) {
    struct ioregionfd_stats stats;
    struct blocked blocked;

    signal(SIGUSR1, on_signal);
    block(&blocked);
    for (unsigned i = 0; i < 1000; i++)
        CHECK_EQ(pthread_kill(blocked.running.thread, SIGUSR1), 0);
    CHECK_EQ(poll_for(blocked.region.fd, POLLIN, 50), 0);
    stats = region_stats(blocked.vm.handle, blocked.region);
    CHECK_EQ(stats.failures, 0);
    unblock(&blocked);
    CHECK(blocked.vm.interrupted > 0);
}

static void *kick(void *argument) {
    struct running *running = argument;

    while (pthread_kill(running->thread, SIGUSR1) == 0)
        usleep(200); /* where it can be cancelled */
    return NULL;
}

/* 37: before, during and after exchanges, for as long as they go on */
static void signals_all_the_time(void) {
    struct step steps[300];
    struct running running;
    int channel = channel_new(0);
    pthread_t kicker;
    struct vm vm;

    signal(SIGUSR1, on_signal);
    for (unsigned i = 0; i < 300; i++)
        steps[i] = STEP(READ32, i & 0x3f);
    vm_new(&vm);
    CHECK_EQ(region_set(vm.handle, patient(VM_MMIO, 1, channel)), 0);
    vm_start(&running, &vm, 0, steps, 300);
    REQUIRE(pthread_create(&kicker, NULL, kick, &running) == 0);
    for (unsigned i = 0; i < 300; i++) {
        CHECK_EQ(next_command(channel).offset, i & 0x3f);
        if (i == 299) {
            pthread_cancel(kicker);
            pthread_join(kicker, NULL);
        }
        CHECK_EQ(answer(channel, i), 0);
    }
    vm_join(&running);
    for (unsigned i = 0; i < 300; i++)
        CHECK_EQ(steps[i].value[0], i);
    CHECK_EQ(region_stats(vm.handle, patient(VM_MMIO, 1, channel)).reads, 300);
    CHECK_EQ(vm.exits, 0);
    vm_free(&vm);
}

/* 36: while waiting for another vCPU's exchange */
static void signals_while_queued(void) {
    struct step step = STEP(READ8, 1);
    struct blocked blocked;
    struct running queued;

    signal(SIGUSR1, on_signal);
    block(&blocked);
    vm_start(&queued, &blocked.vm, 1, &step, 1);
    for (unsigned i = 0; i < 200; i++)
        CHECK_EQ(pthread_kill(queued.thread, SIGUSR1), 0);
    CHECK_EQ(answer(blocked.region.fd, 1), 0);
    CHECK_EQ(next_command(blocked.region.fd).offset, 1);
    CHECK_EQ(answer(blocked.region.fd, 2), 0);
    vm_join(&blocked.running);
    vm_join(&queued);
    CHECK_EQ(blocked.step.value[0], 1);
    CHECK_EQ(step.value[0], 2);
    vm_free(&blocked.vm);
}

struct churn {
    struct vm *vm;
    int stop;
};

/* Of a VM whose last change has not settled within a moment, EBUSY at once until it has. */
static int region_set_patiently(int handle, struct kvm_ioregion region) {
    int r;

    while ((r = region_set(handle, region)) == -EBUSY)
        sched_yield();
    return r;
}

static void *churn(void *argument) {
    struct churn *state = argument;
    pthread_t device;

    for (unsigned i = 0; !__atomic_load_n(&state->stop, __ATOMIC_SEQ_CST); i++) {
        struct kvm_ioregion region = region_at(VM_MMIO, 0x100, 1, channel_new(0), 0);

        region.flags = i & 1 ? KVM_IOREGION_POSTED_WRITES : IOREGIONFD_REGION_REPLAY;
        device_start(&device, region.fd);
        CHECK_EQ(region_set_patiently(state->vm->handle, region), 0);
        if (i & 2) {
            int other = channel_new(0), former = region.fd;
            pthread_t second;

            device_start(&second, other);
            region.fd = other;
            CHECK_EQ(region_set(state->vm->handle, region), 0);
            pthread_join(device, NULL);
            close(former);
            device = second;
        }
        CHECK_EQ(region_del(state->vm->handle, region), 0);
        pthread_join(device, NULL); /* the end of the channel */
        close(region.fd);
    }
    return NULL;
}

/* 46: regions come, change hands and go under two vCPUs that never stop */
static void attach_and_detach_under_load(void) {
    struct step steps[VM_VCPUS][100];
    struct running running[VM_VCPUS];
    struct churn state = {.stop = 0};
    uint64_t start = now_msec();
    pthread_t churner;
    struct vm vm;

    vm_new(&vm);
    state.vm = &vm;
    REQUIRE(pthread_create(&churner, NULL, churn, &state) == 0);
    while (now_msec() - start < 2000) {
        for (unsigned i = 0; i < VM_VCPUS; i++) {
            for (unsigned j = 0; j < 100; j++)
                steps[i][j] = STEP(j & 1 ? WRITE16 : READ16, (uint16_t) (2 * j));
            vm_start(&running[i], &vm, i, steps[i], 100);
        }
        for (unsigned i = 0; i < VM_VCPUS; i++)
            vm_join(&running[i]);
    }
    __atomic_store_n(&state.stop, 1, __ATOMIC_SEQ_CST);
    pthread_join(churner, NULL);
    vm_free(&vm);
}

const struct test tests_concurrency[] = {
    TEST(two_vcpus_on_one_channel), TEST(two_spaces_on_one_channel), TEST(two_vcpus_take_turns),
    TEST(two_vcpus_post_and_read), TEST(two_channels_are_independent),
    TEST(delete_while_blocked), TEST(delete_one_of_two_while_blocked), TEST(delete_between_two_parts),
    TEST(delete_leaves_the_clock_running), TEST(memory_slot_while_blocked), TEST(bus_changes_while_blocked),
    TEST(signals_while_blocked), TEST(signals_all_the_time), TEST(signals_while_queued),
    TEST(attach_and_detach_under_load), {0},
};
