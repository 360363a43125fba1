/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What ioregion-run puts before a VMM, linked into this test: its ioctl() and close() are the ones that the VMs here
 * are made and closed with. The broker is played.
 */

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "played-broker.h"
#include "clients/vmm/kvm.h"
#include "configuration.h"

#define LOAD 0x1000
#define PORT 0x3f8

static const uint8_t guest[] = {
    0xba, 0xf8, 0x03, /* 1: mov dx, PORT */
    0xec,             /*    in al, dx */
    0xe6, 0xf4,       /*    out 0xf4, al */
    0xeb, 0xf8,       /*    jmp 1b */
};

/* What was registered last. */
static struct {
    char name[128];
    int lease; /* the broker's end */
    int refuse;
} registered = {.lease = -1};

int __wrap_ioregion_vmm_register(struct ioregion_vmm **ret_vmm, const char *name,
                                 const struct ioregion_vmm_options *options);

int __wrap_ioregion_vmm_register(struct ioregion_vmm **ret_vmm, const char *name,
                                 const struct ioregion_vmm_options *options) {
    int pair[2], refuse = registered.refuse;

    assert_string_equal(options->dispatch, "auto");
    assert_true(options->has_vm_fd);
    assert_int_equal(options->n_reserve, 1);
    assert_true(options->vm_fd >= 0);
    registered.refuse = 0;
    if (refuse)
        return refuse;
    played_pair(pair);
    snprintf(registered.name, sizeof(registered.name), "%s", name);
    registered.lease = pair[0];
    return ioregion_vmm_from_lease(ret_vmm, pair[1]);
}

static int have_kvm(void **state) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (kvm < 0)
        return -1;
    close(kvm);
    return 0;
}

static void need_kvm(void) {
    if (have_kvm(NULL) < 0) {
        print_message("no /dev/kvm\n");
        skip();
    }
}

static struct kvm_vm *make_vm(void) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    struct kvm_vm *vm;

    assert_int_equal(kvm_vm_new(&vm, kvm, guest, sizeof(guest), LOAD), 0);
    assert_int_equal(kvm_vm_reset(vm, LOAD, 0), 0);
    close(kvm);
    return vm;
}

/* Tell the VM of a region at the port, and return the device's end. Its ACK is read by whoever looks next. */
static int attach(int lease) {
    struct ioregion_lease_region_add add = {.header = {IOREGION_LEASE_REGION_ADD, sizeof(add)},
                                            .serial = 1,
                                            .region = 1,
                                            .base = PORT,
                                            .size = 1,
                                            .space = IOREGION_PIO,
                                            .timeout_usec = PLAYED_TIMEOUT,
                                            .channel = 1};
    struct ioregion_lease_ack ack;
    int pair[2];

    played_pair(pair);
    played_send(lease, &add, sizeof(add), pair, 1);
    close(pair[0]);
    played_await(lease);
    assert_int_equal(recv(lease, &ack, sizeof(ack), 0), sizeof(ack));
    assert_int_equal(ack.error, 0);
    return pair[1];
}

/* The VM's last word is RELEASE. */
static void assert_released(int lease) {
    struct ioregion_lease_header header = {0};

    do
        played_await(lease);
    while (recv(lease, &header, sizeof(header), 0) > 0 && header.type != IOREGION_LEASE_RELEASE);
    assert_int_equal(header.type, IOREGION_LEASE_RELEASE);
    played_await(lease);
    assert_int_equal(recv(lease, &header, sizeof(header), 0), 0);
    close(lease);
}

static void test_served(void **state) {
    struct played_thread device;
    struct kvm_vm *vm;
    int lease;

    need_kvm();
    vm = make_vm();
    lease = registered.lease;
    assert_string_equal(registered.name, "vm");
    assert_int_equal(kvm_vm_run(vm), 0);
    assert_int_equal(vm->run->io.direction, KVM_EXIT_IO_IN); /* nobody there: the VMM's own */
    assert_int_equal(kvm_vm_run(vm), 0);
    played_thread_start(&device, played_serve, attach(lease), NULL);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(kvm_vm_run(vm), 0);
        assert_int_equal(vm->run->io.port, 0xf4);
        assert_int_equal(*((uint8_t *) vm->run + vm->run->io.data_offset), 0xef); /* the last byte of played_value() */
    }
    kvm_vm_free(vm);
    assert_released(lease);
    played_thread_end(&device);
    close(device.fd);
}

static void test_names(void **state) {
    struct kvm_vm *vms[3];
    int leases[3];

    need_kvm();
    for (int i = 0; i < 3; i++) {
        vms[i] = make_vm();
        leases[i] = registered.lease;
    }
    assert_string_equal(registered.name, "vm.3");
    kvm_vm_free(vms[1]);
    assert_released(leases[1]);
    vms[1] = make_vm();
    assert_string_equal(registered.name, "vm.2");
    leases[1] = registered.lease;
    for (int i = 0; i < 3; i++) {
        kvm_vm_free(vms[i]);
        assert_released(leases[i]);
    }
}

static void test_refused(void **state) {
    int kvm, vm;

    need_kvm();
    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    registered.refuse = -EACCES;
    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    assert_int_equal(vm, -1);
    assert_int_equal(errno, EACCES);
    assert_int_equal(ioctl(kvm, KVM_CREATE_VM, 12345), -1); /* the kernel's own refusal */
    assert_int_equal(errno, EINVAL);
    close(kvm);
}

static void test_full(void **state) {
    int kvm, vms[64], leases[64];

    need_kvm();
    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 64; i++) {
        vms[i] = ioctl(kvm, KVM_CREATE_VM, 0);
        assert_true(vms[i] >= 0);
        leases[i] = registered.lease;
    }
    assert_string_equal(registered.name, "vm.64");
    assert_int_equal(ioctl(kvm, KVM_CREATE_VM, 0), -1);
    assert_int_equal(errno, ENFILE);
    for (int i = 0; i < 64; i++) {
        close(vms[i]);
        assert_released(leases[i]);
    }
    close(kvm);
}

struct runner {
    struct kvm_vm *vm;
    atomic_bool running;
};

static void *run_until_closed(void *argument) {
    struct runner *runner = argument;
    int r;

    do {
        r = kvm_vm_run(runner->vm);
        runner->running = true;
    } while (r == 0);
    assert_int_equal(r, -EBADF);
    return NULL;
}

/* Again and again: the mapping and the registration go only when nobody uses them. */
static void test_closed_while_it_runs(void **state) {
    need_kvm();
    for (int i = 0; i < 50; i++) {
        struct runner runner = {.vm = make_vm()};
        int lease = registered.lease, vcpu = runner.vm->vcpu;
        struct played_thread device;
        pthread_t thread;

        if (i % 2)
            played_thread_start(&device, played_serve, attach(lease), NULL);
        assert_int_equal(pthread_create(&thread, NULL, run_until_closed, &runner), 0);
        while (!runner.running)
            sched_yield();
        close(runner.vm->vm);
        close(vcpu);
        pthread_join(thread, NULL);
        assert_released(lease);
        if (i % 2) {
            played_thread_end(&device);
            close(device.fd);
        }
        runner.vm->vm = runner.vm->vcpu = -1;
        kvm_vm_free(runner.vm);
    }
}

static void test_fork(void **state) {
    struct ioregion_lease_header header;
    struct kvm_vm *vm;
    int lease, status;
    pid_t child;

    need_kvm();
    vm = make_vm();
    lease = registered.lease;
    child = fork();
    if (child == 0) {
        close(vm->vcpu);
        close(vm->vm);
        _exit(ioctl(vm->vm, KVM_RUN, 0) == -1 && errno == EBADF ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(recv(lease, &header, sizeof(header), MSG_DONTWAIT), -1); /* nothing was said, nor hung up */
    assert_int_equal(errno, EAGAIN);
    kvm_vm_free(vm);
    assert_released(lease);
}

static void test_memory(void **state) {
    struct kvm_userspace_memory_region slot = {.slot = 1, .guest_phys_addr = 0x100001, .memory_size = 0x1000};
    struct kvm_vm *vm;

    need_kvm();
    vm = make_vm();
    assert_int_equal(ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION, &slot), -1); /* not on a page */
    assert_int_equal(errno, EINVAL);
    kvm_vm_free(vm);
    assert_released(registered.lease);
}

static void test_other_requests(void **state) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    assert_int_equal(ioctl(fd, KVM_RUN, 0), -1);
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(ioctl(fd, KVM_CREATE_VCPU, 0), -1);
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(ioctl(-1, KVM_CREATE_VM, 0), -1);
    assert_int_equal(errno, EBADF);
    close(fd);
    assert_int_equal(close(fd), -1);
    assert_int_equal(errno, EBADF);
}

static void test_environment(void **state) {
    assert_null(getenv(CONFIGURATION_VARIABLE));
}

/* The library begins when the program is loaded: once more, with what the launcher would set. */
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment), cmocka_unit_test(test_served),
        cmocka_unit_test(test_names),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_full),        cmocka_unit_test(test_closed_while_it_runs),
        cmocka_unit_test(test_fork),        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_other_requests),
    };

    if (argc == 1) {
        setenv(CONFIGURATION_VARIABLE, "vm=vm\nreserve=pio:0x60:8\n", true);
        execl("/proc/self/exe", argv[0], "again", NULL);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
