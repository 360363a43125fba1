/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What ioregion-run puts before a VMM: it stands between the VMM and these functions of the C library.
 *
 *   ioctl           KVM_RUN returns only with exits that are the VMM's own; other requests tell what VMs there are
 *   close           a VM ends with its descriptors
 *   mprotect, mmap  who writes code before there is a VM will run the guest without KVM, where nothing can be seen
 *   exec...         who becomes another program before there is a VM is not the VMM, and that would go without us
 *
 * The environment that got it here is taken back at once, so that children of the VMM know nothing of it.
 */

#include <dlfcn.h>
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "internal/cleanup.h"
#include "machines.h"
#include "say.h"

#ifndef KVM_SET_USER_MEMORY_REGION2
#define KVM_SET_USER_MEMORY_REGION2 _IOC(_IOC_WRITE, KVMIO, 0x49, 160)
#endif

#define PUBLIC __attribute__((visibility("default")))

int __close(int fd); /* the C library's own name for it */
PUBLIC int ioctl(int fd, unsigned long request, ...);

/* Set while the library is loaded, and never after. */
static bool active;
static volatile bool forked;
static pid_t owner;
static int (*next_execvpe)(const char *name, char *const arguments[], char *const environment[]);

PUBLIC int ioctl(int fd, unsigned long request, ...) {
    unsigned long argument;
    va_list arguments;

    va_start(arguments, request);
    argument = va_arg(arguments, unsigned long);
    va_end(arguments);
    if (active && _IOC_TYPE(request) == KVMIO)
        switch ((unsigned) request) { /* as the kernel does: some VMMs keep it in an int */
        case KVM_RUN:
            return machines_run(fd, argument);
        case KVM_CREATE_VM:
            return machines_create_vm(fd, argument);
        case KVM_CREATE_VCPU:
            return machines_create_vcpu(fd, argument);
        case KVM_SET_USER_MEMORY_REGION:
        case KVM_SET_USER_MEMORY_REGION2:
            return machines_set_memory(fd, request, (const struct kvm_userspace_memory_region *) argument);
        }
    return (int) syscall(SYS_ioctl, fd, request, argument);
}

PUBLIC int close(int fd) {
    if (active)
        machines_closing(fd);
    return __close(fd);
}

/* Memory to write code to and execute it from. */
static void check_code(void) {
    if (!active || machines_any())
        return;
    say("the VMM is about to emulate its guest's CPUs, without KVM: no device would see an access. "
        "With QEMU, ask for -accel kvm");
    _exit(STATUS_FAILED);
}

PUBLIC int mprotect(void *address, size_t size, int protection) {
    if (protection & PROT_WRITE && protection & PROT_EXEC)
        check_code();
    return (int) syscall(SYS_mprotect, address, size, protection);
}

/* Shared: it can be written to elsewhere. Programs and libraries are mapped privately. */
PUBLIC void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset) {
    if (protection & PROT_EXEC && flags & MAP_SHARED)
        check_code();
    return (void *) syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}

/* Its other name, which the headers replace. */
PUBLIC void *plain_mmap(void *address, size_t size, int protection, int flags, int fd,
                        off64_t offset) __asm__("mmap") __THROW __attribute__((alias("mmap64")));

/* Children are free to: they are helpers. */
static void check_exec(const char *program) {
    if (!active || machines_any() || getpid() != owner)
        return;
    say("what was started is not the VMM but becomes '%s', where it is not: put it before ioregion-run", program);
    _exit(STATUS_UNFIT);
}

PUBLIC int execve(const char *path, char *const arguments[], char *const environment[]) {
    check_exec(path);
    return (int) syscall(SYS_execve, path, arguments, environment);
}

PUBLIC int execv(const char *path, char *const arguments[]) {
    return execve(path, arguments, environ);
}

PUBLIC int execvpe(const char *name, char *const arguments[], char *const environment[]) {
    check_exec(name);
    return next_execvpe(name, arguments, environment);
}

PUBLIC int execvp(const char *name, char *const arguments[]) {
    return execvpe(name, arguments, environ);
}

/* A VMM that did well without ever having a VM did something else than was asked for; or it left that to a child. */
static void on_end(int status, void *userdata) {
    if (status != 0 || forked || machines_any())
        return;
    fflush(NULL);
    say("the VMM ended without ever making a VM with KVM");
    _exit(STATUS_FAILED);
}

static void on_fork_parent(void) {
    machines_fork_parent();
    forked = true;
}

static void on_fork_child(void) {
    machines_fork_child();
    forked = true;
}

/* The launcher has put the library first. */
static void take_back_environment(void) {
    const char *list = getenv("LD_PRELOAD"), *others = list ? strpbrk(list, ": ") : NULL;

    unsetenv(CONFIGURATION_VARIABLE);
    if (others)
        setenv("LD_PRELOAD", others + 1, true);
    else
        unsetenv("LD_PRELOAD");
}

__attribute__((constructor)) static void start(void) {
    static struct configuration configuration;
    const char *text = getenv(CONFIGURATION_VARIABLE);

    next_execvpe = (__typeof__(next_execvpe)) dlsym(RTLD_NEXT, "execvpe"); /* a child may be unable to look it up */
    if (!text)
        return; /* put here by others: it changes nothing */
    configuration_init(&configuration);
    if (configuration_parse(&configuration, text) < 0) {
        say("the environment is not what ioregion-run has set: are the program and the library of one version?");
        _exit(STATUS_FAILED);
    }
    take_back_environment();
    machines_init(&configuration);
    owner = getpid();
    if (on_exit(on_end, NULL) != 0 || pthread_atfork(machines_fork_prepare, on_fork_parent, on_fork_child) != 0) {
        say("%s", strerror(ENOMEM));
        _exit(STATUS_FAILED);
    }
    active = true;
}
