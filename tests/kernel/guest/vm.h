/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GUEST_VM_H
#define GUEST_VM_H

/*
 * A VM that does the accesses it is told, and the descriptors of the module. For tests: whatever goes wrong that is
 * not what is tested ends the test.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ioregion/ioregionfd.h>

/* Where the guest's addresses lie: RAM ends where the MMIO tests begin. Steps tell offsets from MMIO. */
#define VM_RAM     0x8000
#define VM_MMIO    UINT64_C(0xd0000)
#define VM_BUFFER  0x6000 /* of INSB and OUTSB */
#define VM_VCPUS   2

/* What a VMM without devices gives; a value that no test's device gives. */
#define VMM_ANSWER 0x5a

enum op {
    END, READ8, READ16, READ32, READ64, READ128, WRITE8, WRITE16, WRITE32, WRITE64, WRITE128,
    IN8, IN16, IN32, OUT8, OUT16, OUT32, INSB, OUTSB,
};

struct step {
    uint16_t op;
    uint16_t address; /* offset from VM_MMIO, or port */
    uint32_t zero;
    uint64_t value[2]; /* written; or read, once the step is done */
};

#define STEP(op, address, ...) ((struct step){(op), (address), 0, {__VA_ARGS__}})

struct kvm_run;

struct vm {
    int fd, vcpus[VM_VCPUS];
    struct kvm_run *runs[VM_VCPUS];
    uint8_t *memory;
    int handle;           /* -1: not bound */
    unsigned exits;       /* that went to the VMM */
    unsigned interrupted; /* KVM_RUN that a signal ended */
    bool paused;          /* such a one is left as it is, for vm_resume() */
    /* Answers MMIO exits in place of the VMM that has nothing there; may be NULL. */
    void (*on_mmio)(struct vm *vm, struct kvm_run *run);
    int userdata;
};

void vm_new(struct vm *vm);   /* bound */
void vm_free(struct vm *vm);
int vm_bind(int vm_fd, int pid); /* a handle, or a negative errno */

/*
 * Run these steps (END is added) on a vCPU, from its reset on; what was read is put into them. False when it was
 * paused: vm_resume() goes on where it stands.
 */
bool vm_run(struct vm *vm, unsigned vcpu, struct step *steps, size_t n);
bool vm_resume(struct vm *vm, unsigned vcpu, struct step *steps, size_t n);
uint64_t vm_read(struct vm *vm, uint16_t op, uint16_t address);
void vm_write(struct vm *vm, uint16_t op, uint16_t address, uint64_t value);

/* The same in a thread. */
struct running {
    pthread_t thread;
    struct vm *vm;
    unsigned vcpu;
    struct step *steps;
    size_t n;
    bool finished; /* not paused */
};
void vm_start(struct running *running, struct vm *vm, unsigned vcpu, struct step *steps, size_t n);
void vm_start_again(struct running *running); /* where it was paused */
void vm_join(struct running *running);        /* within 10 s */

extern int ioregionfd_node; /* /dev/ioregionfd */

#define LONG UINT64_C(20000000) /* microseconds: a deadline or grace that no test waits for */

int channel_new(int flags);
struct kvm_ioregion region_at(uint64_t address, uint64_t size, uint64_t user_data, int fd, uint32_t flags);
/* At the beginning of VM_MMIO, under hold; and a region as it is but for its channel. */
struct kvm_ioregion region_holding(int channel, uint64_t grace_usec, uint32_t flags);
struct kvm_ioregion region_on(struct kvm_ioregion region, int channel);
int region_set(int handle, struct kvm_ioregion region);  /* 0 or a negative errno */
int region_del(int handle, struct kvm_ioregion region);
struct ioregionfd_stats region_stats(int handle, struct kvm_ioregion region);

/* What the handle tells next, which must come within 10 s. */
struct ioregionfd_event next_event(const struct vm *vm);
uint32_t next_loss(const struct vm *vm);

/* A device by hand: the next command, which must come within 10 s; an answer. */
struct ioregionfd_cmd next_command(int fd);
int answer(int fd, uint64_t data); /* 0 or a negative errno */
/* poll() for these events, for at most so long; those that were there, POLLHUP and POLLERR too. */
int poll_for(int fd, int events, int msec);

/* A device by itself: bytes that are written are read again, whatever the region; until end of file. */
void device_start(pthread_t *thread, int fd);
void device_loop(int fd);

uint64_t now_msec(void);

#endif
