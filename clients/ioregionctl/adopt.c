/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Register a VM that runs already, on behalf of a VMM that knows nothing of the broker: take the VM's descriptor out
 * of the process, and hand it to the broker for the kernel dispatcher. This needs the privilege to trace the process;
 * the broker needs none.
 */

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include <ioregion/vmm.h>
#include "ctl.h"

static DIR *dir_free(DIR *dir) {
    closedir(dir);
    return NULL;
}
DEFINE_CLEANUP(dir_free, DIR *);

/* The number of the one VM descriptor in a folder of descriptors: -ENOENT none, -EEXIST more than one. */
static int find_vm(DIR *descriptors) {
    const struct dirent *entry;
    int found = -ENOENT;

    while ((entry = readdir(descriptors))) {
        char target[64];
        ssize_t n = readlinkat(dirfd(descriptors), entry->d_name, target, sizeof(target) - 1);

        if (n < 0)
            continue;
        target[n] = '\0';
        if (strcmp(target, "anon_inode:kvm-vm") != 0)
            continue;
        if (found >= 0)
            return -EEXIST;
        found = atoi(entry->d_name);
    }
    return found;
}

static int find_vm_of(int pid) {
    _cleanup_(dir_freep) DIR *descriptors = NULL;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    descriptors = opendir(path);
    return descriptors ? find_vm(descriptors) : -errno;
}

/* A process that ended meanwhile gave no descriptor, or one that the broker will not take for another's. */
static enum status take_vm(int pid, const char *descriptor, int *ret_fd) {
    _cleanup_(fd_closep) int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
    int number, fd;

    if (pidfd < 0) {
        complain("process %d: %s", pid, strerror(errno));
        return STATUS_FAILED;
    }
    number = descriptor ? atoi(descriptor) : find_vm_of(pid);
    if (number == -ENOENT) {
        complain("process %d has no VM of KVM", pid);
        return STATUS_FAILED;
    }
    if (number == -EEXIST) {
        complain("process %d has several VMs, or several descriptors of one: choose with --fd; ls -l /proc/%d/fd", pid,
                 pid);
        return STATUS_FAILED;
    }
    fd = number < 0 ? -1 : (int) syscall(SYS_pidfd_getfd, pidfd, number, 0);
    if (fd < 0) {
        complain("can't take the VM's descriptor out of process %d: %s", pid, strerror(number < 0 ? -number : errno));
        return STATUS_FAILED;
    }
    *ret_fd = fd;
    return STATUS_OK;
}

static bool is_number(const char *text) {
    return *text && strlen(text) < 10 && strspn(text, "0123456789") == strlen(text);
}

static enum status run(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    struct ioregion_vmm_options options = {.struct_size = sizeof(options), .dispatch = "kernel", .has_vm_fd = true};
    _cleanup_(fd_closep) int vm_fd = -1;
    struct ioregion_vmm *vmm;
    enum status status;
    int pid, r;

    if (!ctl->pid || !ctl->vm) {
        complain("adopt needs --pid PID and --vm NAME");
        return STATUS_USAGE;
    }
    if (!is_number(ctl->pid) || !(pid = atoi(ctl->pid)) || (ctl->fd && !is_number(ctl->fd))) {
        complain("--pid and --fd take a number");
        return STATUS_USAGE;
    }
    status = take_vm(pid, ctl->fd, &vm_fd);
    if (status)
        return status;
    options.vm_fd = vm_fd;
    options.pid = (uint32_t) pid;
    r = ioregion_vmm_register(&vmm, ctl->vm, &options);
    if (r < 0)
        return ctl_library_failed(r);
    ioregion_vmm_free(vmm);
    return STATUS_OK;
}

const struct command command_adopt = {
    .name = "adopt",
    .arguments = "--pid PID --vm NAME [--fd N]",
    .summary = "register a VM that runs already, as it is",
    .help =
        "Registers the VM of a running process that knows nothing of the broker, for the kernel dispatcher. Devices\n"
        "can then attach to it; it is not restarted, and does not notice. It is registered until it ends. The\n"
        "policy is asked as if the process had registered by itself. For operators, who may trace the process.\n"
        "\n"
        "  ioregionctl adopt --pid $(pidof qemu-system-x86_64) --vm alpha\n"
        "  systemctl start ioregion-uart@alpha\n",
    .options = OPTION_ADOPT,
    .run = run,
};
