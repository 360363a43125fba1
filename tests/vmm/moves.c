/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A VMM for tests of ioregion-run that makes one move for each line of its standard input, and answers with a line. It
 * knows nothing of ioregiond. Its guests read port 0x3f8 and write what they got to port 0xf4, for ever.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "clients/vmm/kvm.h"

#define LOAD 0x1000
#define VMS 8

static const uint8_t guest[] = {
    0xba, 0xf8, 0x03, /* 1: mov dx, 0x3f8 */
    0xec,             /*    in al, dx */
    0xe6, 0xf4,       /*    out 0xf4, al */
    0xeb, 0xf8,       /*    jmp 1b */
};

static struct kvm_vm *vms[VMS];

static void make(struct kvm_vm **vm) {
    _cleanup_(fd_closep) int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int r = kvm < 0 ? -errno : kvm_vm_new(vm, kvm, guest, sizeof(guest), LOAD);

    if (r >= 0)
        r = kvm_vm_reset(*vm, LOAD, 0);
    if (r < 0)
        printf("failed %s\n", strerrorname_np(-r));
    else
        puts("made");
}

/* Each exit of the VMM's own is told; what nobody serves reads 0xee. A success must not touch errno. */
static void *run(void *argument) {
    struct kvm_vm *vm = argument;
    uint8_t *data = (uint8_t *) vm->run + vm->run->io.data_offset;
    int r;

    errno = ELNRNG;
    r = kvm_vm_run(vm);
    data = (uint8_t *) vm->run + vm->run->io.data_offset;
    if (r < 0)
        printf("failed %s\n", strerrorname_np(-r));
    else if (errno != ELNRNG)
        printf("errno lost: %s\n", strerrorname_np(errno));
    else if (vm->run->exit_reason != KVM_EXIT_IO)
        printf("exit %u\n", vm->run->exit_reason);
    else if (vm->run->io.direction == KVM_EXIT_IO_OUT)
        printf("out %#x %#x\n", vm->run->io.port, *data);
    else
        printf("in %#x\n", vm->run->io.port);
    if (r >= 0 && vm->run->exit_reason == KVM_EXIT_IO && vm->run->io.direction == KVM_EXIT_IO_IN)
        *data = 0xee;
    return NULL;
}

static pthread_t thread; /* the last one */

/* As VMMs do that kick a vCPU by a signal which is let through by KVM_RUN alone. */
static void *run_masked(void *argument) {
    struct {
        struct kvm_signal_mask mask;
        uint8_t signals[8];
    } none = {.mask.len = sizeof(none.signals)};
    struct kvm_vm *vm = argument;
    sigset_t kick;

    sigemptyset(&kick);
    sigaddset(&kick, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &kick, NULL);
    if (ioctl(vm->vcpu, KVM_SET_SIGNAL_MASK, &none) < 0)
        puts(strerrorname_np(errno));
    return run(vm);
}

static void on_kick(int number) {
}

static void kick(void) {
    signal(SIGUSR1, on_kick);
    pthread_kill(thread, SIGUSR1);
    puts("kicked");
}

static void run_in_thread(struct kvm_vm *vm, void *(*how)(void *argument), bool wait) {
    pthread_create(&thread, NULL, how, vm);
    if (wait)
        pthread_join(thread, NULL);
    else
        pthread_detach(thread);
}

static void close_all(void) {
    for (int fd = 3; fd < 256; fd++)
        close(fd);
}

static void fork_and_close(void) {
    pid_t child = fork();

    if (child == 0) {
        close_all();
        exit(0); /* with its exit handlers */
    }
    waitpid(child, NULL, 0);
    puts("forked");
}

static void become(const char *program) {
    char *const arguments[] = {(char *) program, NULL};

    execvp(program, arguments);
    puts(strerrorname_np(errno));
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void vfork_and_close(void) {
    pid_t child = vfork();

    if (child == 0) {
        close_all();
        _exit(0);
    }
    waitpid(child, NULL, 0);
    puts("forked");
}
#pragma GCC diagnostic pop

static void set_slot(struct kvm_vm *vm, const char *arguments) {
    struct kvm_userspace_memory_region slot = {.slot = 7};
    unsigned long long base, size;

    sscanf(arguments, "%lli %lli", (long long *) &base, (long long *) &size);
    slot.guest_phys_addr = base;
    slot.memory_size = size;
    slot.userspace_addr =
        (uintptr_t) mmap(NULL, size ?: 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    puts(ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? strerrorname_np(errno) : "set");
}

/* Of a duplicate: what has a vCPU is the same VM, by another number. */
static void make_vcpu_of_duplicate(const struct kvm_vm *vm) {
    _cleanup_(fd_closep) int duplicate = fcntl(vm->vm, F_DUPFD_CLOEXEC, 0);
    _cleanup_(fd_closep) int vcpu = ioctl(duplicate, KVM_CREATE_VCPU, 1);

    puts(vcpu < 0 ? strerrorname_np(errno) : "made");
}

static void duplicate_vcpu(struct kvm_vm *vm) {
    int duplicate = fcntl(vm->vcpu, F_DUPFD_CLOEXEC, 0);

    fd_close(vm->vcpu);
    vm->vcpu = duplicate;
    puts("duplicated");
}

static void close_fd(int *fd) {
    *fd = fd_close(*fd);
    puts("closed");
}

/* Without our close(): the library can't see it. */
static void lose_fd(int *fd) {
    close_range(*fd, *fd, 0);
    *fd = -1;
    puts("lost");
}

static void emulate(void) {
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    puts(mprotect(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) < 0 ? strerrorname_np(errno) : "code");
}

static void show_children(void) {
    if (system("env; for fd in /proc/self/fd/*; do echo \"descriptor ${fd##*/}\"; done") != 0)
        puts("no shell");
    puts("end");
}

static void move(const char *name, struct kvm_vm **vm, const char *arguments) {
    if (strcmp(name, "make") == 0)
        make(vm);
    else if (strcmp(name, "run") == 0)
        run(*vm);
    else if (strcmp(name, "thread") == 0)
        run_in_thread(*vm, run, true);
    else if (strcmp(name, "background") == 0)
        run_in_thread(*vm, run, false);
    else if (strcmp(name, "masked") == 0)
        run_in_thread(*vm, run_masked, false);
    else if (strcmp(name, "kick") == 0)
        kick();
    else if (strcmp(name, "immediate-exit") == 0)
        printf("%d\n", (*vm)->run->immediate_exit = !(*vm)->run->immediate_exit);
    else if (strcmp(name, "slot") == 0)
        set_slot(*vm, arguments);
    else if (strcmp(name, "duplicate-vm") == 0)
        make_vcpu_of_duplicate(*vm);
    else if (strcmp(name, "duplicate-vcpu") == 0)
        duplicate_vcpu(*vm);
    else if (strcmp(name, "close-vm") == 0)
        close_fd(&(*vm)->vm);
    else if (strcmp(name, "close-vcpu") == 0)
        close_fd(&(*vm)->vcpu);
    else if (strcmp(name, "lose-vm") == 0)
        lose_fd(&(*vm)->vm);
    else if (strcmp(name, "lose-vcpu") == 0)
        lose_fd(&(*vm)->vcpu);
    else if (strcmp(name, "free") == 0)
        puts((*vm = kvm_vm_free(*vm)) ? "" : "freed");
    else if (strcmp(name, "fork") == 0)
        fork_and_close();
    else if (strcmp(name, "become") == 0)
        become("true");
    else if (strcmp(name, "vfork") == 0)
        vfork_and_close();
    else if (strcmp(name, "emulate") == 0)
        emulate();
    else if (strcmp(name, "children") == 0)
        show_children();
    else
        puts("what?");
}

/* MOVE [VM [ARGUMENTS]], until the end of the input. */
int main(void) {
    char line[128], name[32];
    unsigned vm;
    int length;

    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    while (fgets(line, sizeof(line), stdin)) {
        vm = 0;
        length = 0;
        if (sscanf(line, "%31s%n %u%n", name, &length, &vm, &length) >= 1 && vm < VMS)
            move(name, &vms[vm], line + length);
    }
    return 0;
}
