/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Guests, devices and brokers that do anything at all (29, 30, 46, 50): all goes on, and nothing of it stays. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "module.h"
#include "tap.h"
#include "vm.h"

#define PORTS 0x300
#define WARM  300 /* ms until memory is as it stays */

static unsigned msec_to_fuzz(void) {
    return 1000 * (getenv("fuzz") ? (unsigned) atoi(getenv("fuzz")) : 3);
}

static void randomize(void *at, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((uint8_t *) at)[i] = (uint8_t) (rand() >> 7);
}

/* Of any size, of so many bytes of VM_MMIO, or ports. */
static struct step any_access(unsigned range) {
    uint16_t at = (uint16_t) (rand() % range);

    if (rand() % 2)
        return STEP((uint16_t) (READ8 + rand() % (WRITE128 - READ8 + 1)), at, 1, 2);
    return STEP((uint16_t) (IN8 + rand() % (OUTSB - IN8 + 1)), (uint16_t) (PORTS + at), 1);
}

enum { REGIONS = 4, STEPS = 50 };

/* A device of some regions, and who puts another in its place. */
struct fuzzed_device {
    struct vm vm;
    struct kvm_ioregion regions[REGIONS];
    int channel;
    unsigned accesses, cut;
};

/* An answer to what came, if anything did; sometimes right, often not, now and then to nothing. */
static void misbehave(int fd) {
    uint8_t packet[64] = {0};
    struct ioregionfd_cmd command;
    bool asked = poll_for(fd, POLLIN, 2) == POLLIN;

    if (asked && rand() % 16)
        asked = read(fd, &command, sizeof(command)) == sizeof(command) && command.info & IOREGIONFD_CMD_RESP;
    if (!asked && rand() % 16)
        return;
    switch (rand() % 8) {
    case 0: randomize(packet, rand() % sizeof(packet)); break;
    case 1: packet[rand() % 32] = (uint8_t) rand(); break;
    }
    (void) !write(fd, packet, rand() % 16 ? 32 : rand() % sizeof(packet));
}

static void replace_device(struct fuzzed_device *device) {
    close(device->channel);
    device->channel = channel_new(O_NONBLOCK);
    for (unsigned i = 0; i < REGIONS; i++)
        CHECK_EQ(region_set(device->vm.handle, region_on(device->regions[i], device->channel)), 0);
}

static void fuzz_device_for(struct fuzzed_device *device, unsigned msec) {
    uint64_t until = now_msec() + msec;
    struct step steps[STEPS];
    struct running running;

    while (now_msec() < until) {
        for (unsigned i = 0; i < STEPS; i++)
            steps[i] = any_access(0x210);
        vm_start(&running, &device->vm, 0, steps, STEPS);
        while (pthread_tryjoin_np(running.thread, NULL) != 0) {
            misbehave(device->channel);
            if (poll_for(device->channel, POLLIN, 0) & POLLHUP) {
                replace_device(device);
                device->cut++;
            }
        }
        device->accesses += STEPS;
    }
}

/* A guest that runs on whatever its device does; the device is replaced whenever it was cut off. */
static void fuzz_device(void) {
    struct fuzzed_device device = {.channel = -1};
    long before;

    srand(1);
    vm_new(&device.vm);
    for (unsigned i = 0; i < REGIONS; i++) {
        struct kvm_ioregion *region = &device.regions[i];

        *region = region_at((i & 2 ? PORTS : VM_MMIO) + 0x100 * (i & 1), 0x100, i, -1, IOREGIONFD_REGION_HOLD);
        region->flags |= (i & 2 ? KVM_IOREGION_PIO : 0) | (i & 1 ? KVM_IOREGION_POSTED_WRITES : 0);
        region->timeout_usec = region->grace_usec = 10000;
    }
    replace_device(&device);
    fuzz_device_for(&device, WARM);
    before = kmalloc_objects("");
    fuzz_device_for(&device, msec_to_fuzz());
    printf("# %u accesses, cut off %u times\n", device.accesses, device.cut);
    CHECK(device.cut > 10);
    for (unsigned i = 0; i < REGIONS; i++) {
        struct ioregionfd_stats stats = region_stats(device.vm.handle, device.regions[i]);

        CHECK(stats.reads > 10 && stats.writes > 10);
        CHECK_EQ(stats.posted, i & 1 ? stats.writes : 0);
    }
    check_kmalloc_objects("", before, STRAY_OBJECTS);
    vm_free(&device.vm);
}

enum { CHANNELS = 5, CALLERS = 2 };

/* What callers and guests have in common, who do not know of one another. */
struct fuzzed_ioctls {
    struct vm vm, unbound;
    int channels[CHANNELS];
    uint64_t until;
    unsigned calls, good, served;
};

static int any_channel(struct fuzzed_ioctls *fuzzed) {
    return __atomic_load_n(&fuzzed->channels[rand() % CHANNELS], __ATOMIC_SEQ_CST);
}

static int any_fd(struct fuzzed_ioctls *fuzzed) {
    int fds[] = {ioregionfd_node, fuzzed->vm.handle, fuzzed->vm.fd, any_channel(fuzzed)};

    return fds[rand() % 4];
}

/* One that may well be there, or fit; mostly valid. */
static struct kvm_ioregion any_region(struct fuzzed_ioctls *fuzzed) {
    static const uint32_t flags[] = {0, KVM_IOREGION_POSTED_WRITES, IOREGIONFD_REGION_REMOVE, IOREGIONFD_REGION_HOLD};
    unsigned at = 16 * (rand() % 4), ports = rand() % 2;
    struct kvm_ioregion region = region_at((ports ? PORTS : VM_MMIO) + at, 8 << rand() % 3, at, any_channel(fuzzed),
                                           (ports ? KVM_IOREGION_PIO : 0) | flags[rand() % 4]);

    if (rand() % 3 == 0)
        region.fd = -1;
    region.timeout_usec = 2000;
    region.grace_usec = region.flags & IOREGIONFD_REGION_HOLD ? 2000 : 0;
    if (rand() % 8 == 0)
        ((uint8_t *) &region)[rand() % sizeof(region)] = (uint8_t) rand();
    return region;
}

/* A channel that has ended is of no more use. */
static int change_channel(struct fuzzed_ioctls *fuzzed) {
    int fd = ioctl(ioregionfd_node, KVM_CREATE_IOREGIONFD, rand() % 4 ? O_NONBLOCK : rand());

    if (fd >= 0)
        close(__atomic_exchange_n(&fuzzed->channels[rand() % CHANNELS], fd, __ATOMIC_SEQ_CST));
    return fd;
}

static int bind_any(struct fuzzed_ioctls *fuzzed) {
    struct ioregionfd_bind_vm bind = {.vm_fd = rand() % 2 ? fuzzed->unbound.fd : any_fd(fuzzed),
                                      .pid = rand() % 4 ? getpid() : rand() % 100};
    int fd = ioctl(ioregionfd_node, IOREGIONFD_BIND_VM, &bind);

    if (fd >= 0)
        close(fd);
    return fd;
}

static int call_any(struct fuzzed_ioctls *fuzzed) {
    int handle = rand() % 8 ? fuzzed->vm.handle : any_fd(fuzzed);
    struct kvm_ioregion region = any_region(fuzzed);
    struct ioregionfd_stats stats = {.guest_paddr = region.guest_paddr,
                                     .memory_size = region.memory_size,
                                     .flags = region.flags & KVM_IOREGION_PIO};
    uint8_t argument[256];

    randomize(argument, sizeof(argument));
    switch (rand() % 16) {
    case 0: return bind_any(fuzzed);
    case 1: return change_channel(fuzzed);
    case 2: return ioctl(any_channel(fuzzed), IOREGIONFD_SHUTDOWN, rand() % 3);
    case 3: return ioctl(handle, IOREGIONFD_CUT_REGION, &region);
    case 4: return ioctl(handle, IOREGIONFD_GET_STATS, &stats);
    case 5: return ioctl(any_fd(fuzzed), IOREGIONFD_GET_INFO, argument);
    case 6: return ioctl(any_fd(fuzzed), _IOWR(IOREGIONFD_IOC, rand() % 8, struct kvm_ioregion), argument);
    case 7: return ioctl(handle, KVM_SET_IOREGION, argument);
    default: return ioctl(handle, KVM_SET_IOREGION, &region);
    }
}

/* A device that answers as it should, when it comes to that. */
static bool serve(int fd) {
    struct ioregionfd_cmd command;

    return poll_for(fd, POLLIN, 0) & POLLIN && read(fd, &command, sizeof(command)) == sizeof(command) &&
           command.info & IOREGIONFD_CMD_RESP && answer(fd, 0) == 0;
}

static void *caller(void *argument) {
    struct fuzzed_ioctls *fuzzed = argument;

    while (now_msec() < fuzzed->until) {
        __atomic_fetch_add(&fuzzed->calls, 1, __ATOMIC_SEQ_CST);
        if (call_any(fuzzed) >= 0)
            __atomic_fetch_add(&fuzzed->good, 1, __ATOMIC_SEQ_CST);
        if (serve(any_channel(fuzzed)))
            __atomic_fetch_add(&fuzzed->served, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static void *guest(void *argument) {
    struct fuzzed_ioctls *fuzzed = argument;
    struct step steps[STEPS];

    while (now_msec() < fuzzed->until) {
        for (unsigned i = 0; i < STEPS; i++)
            steps[i] = any_access(0x60);
        vm_run(&fuzzed->vm, 0, steps, STEPS);
    }
    return NULL;
}

static void fuzz_ioctls_for(struct fuzzed_ioctls *fuzzed, unsigned msec) {
    int ours = module_references("ioregionfd");
    pthread_t callers[CALLERS], runner;

    fuzzed->vm.handle = vm_bind(fuzzed->vm.fd, getpid());
    REQUIRE(fuzzed->vm.handle >= 0);
    for (unsigned i = 0; i < CHANNELS; i++)
        fuzzed->channels[i] = channel_new(O_NONBLOCK);
    fuzzed->until = now_msec() + msec;
    REQUIRE(pthread_create(&runner, NULL, guest, fuzzed) == 0);
    for (unsigned i = 0; i < CALLERS; i++)
        REQUIRE(pthread_create(&callers[i], NULL, caller, fuzzed) == 0);
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(callers[i], NULL);
    close(fuzzed->vm.handle); /* whatever the guest waits for */
    pthread_join(runner, NULL);
    for (unsigned i = 0; i < CHANNELS; i++)
        close(fuzzed->channels[i]);
    CHECK_EQ(references_fall_to("ioregionfd", ours), ours);
}

/* 46: any ioctl with any argument on any of the descriptors by two at once, with a guest that uses what they make. */
static void fuzz_ioctls(void) {
    struct fuzzed_ioctls fuzzed = {0};
    long before;

    srand(2);
    vm_new(&fuzzed.vm);
    vm_new(&fuzzed.unbound);
    close(fuzzed.vm.handle);
    close(fuzzed.unbound.handle);
    references_fall_to("ioregionfd", 1);
    fuzz_ioctls_for(&fuzzed, WARM);
    before = kmalloc_objects("");
    fuzz_ioctls_for(&fuzzed, msec_to_fuzz());
    printf("# %u calls, %u of them successful, %u accesses answered\n", fuzzed.calls, fuzzed.good, fuzzed.served);
    CHECK(fuzzed.good > 100);
    CHECK(fuzzed.served > 10);
    check_kmalloc_objects("", before, STRAY_OBJECTS);
    fuzzed.vm.handle = fuzzed.unbound.handle = -1;
    vm_free(&fuzzed.unbound);
    vm_free(&fuzzed.vm);
}

const struct test tests_fuzz[] = {TEST(fuzz_device, 100), TEST(fuzz_ioctls, 100), {0}};
