/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A vCPU of KVM whose accesses are dispatched: what happens to one that is under way when the VMM has other plans. */

#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "clients/vmm/kvm.h"
#include "played-broker.h"

#define ENTRY 0x1000
#define PORT 0x378

/* in al, dx; in al, dx; hlt: two reads of the port, then the end */
static const uint8_t two_reads[] = {0xba, PORT & 0xff, PORT >> 8, 0xec, 0x88, 0xc3, 0xec, 0xf4};

struct machine {
    struct played_vm broker;
    struct kvm_vm *kvm;
    int device; /* its end of the channel */
};

static void on_kick(int number) {}

/* False where there is no KVM: then the test is skipped. */
static bool start(struct machine *machine) {
    struct sigaction action = {.sa_handler = on_kick};
    struct ioregion_lease_region_add add = {.region = 1, .space = IOREGION_PIO, .base = PORT, .size = 1, .channel = 1};
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (kvm < 0) {
        print_message("# /dev/kvm: %s\n", strerror(errno));
        return false;
    }
    sigaction(SIGUSR1, &action, NULL);
    assert_int_equal(kvm_vm_new(&machine->kvm, kvm, two_reads, sizeof(two_reads), ENTRY), 0);
    assert_int_equal(kvm_vm_reset(machine->kvm, ENTRY, 0), 0);
    close(kvm);
    played_vm_start(&machine->broker);
    machine->device = played_device(&machine->broker, add);
    return true;
}

static void end(struct machine *machine) {
    played_vm_end(&machine->broker);
    close(machine->device);
    kvm_vm_free(machine->kvm);
}

/* One command of the guest's, which must be there or come; then @value for an answer. */
static void answer_next(struct machine *machine, uint8_t value) {
    struct ioregion_response response = {.data = value};
    struct ioregion_command command;

    played_await(machine->device);
    assert_int_equal(recv(machine->device, &command, sizeof(command), 0), sizeof(command));
    assert_int_equal(send(machine->device, &response, sizeof(response), MSG_NOSIGNAL), sizeof(response));
}

static void no_command(struct machine *machine) {
    char byte;

    assert_int_equal(recv(machine->device, &byte, 1, MSG_DONTWAIT), -1);
}

static struct kvm_regs registers(struct machine *machine) {
    struct kvm_regs result;

    assert_int_equal(ioctl(machine->kvm->vcpu, KVM_GET_REGS, &result), 0);
    return result;
}

/* KVM_RUN up to an exit that is ours, and the exit's dispatch, in a thread that can be kicked. */
static void *run_to_access(void *argument) {
    struct played_thread *thread = argument;
    struct machine *machine = thread->argument;

    if (kvm_vm_run(machine->kvm) != 0 || ioregion_vmm_handle_exit(machine->broker.vmm, machine->kvm->run) != 1)
        thread->fd = -2;
    return NULL;
}

/* A guest that waits for the device's answer is kicked; the answer comes all the same. */
static void kick_while_waiting(struct machine *machine, uint8_t value) {
    struct played_thread vcpu;

    played_thread_start(&vcpu, run_to_access, -1, machine);
    played_await(machine->device);
    pthread_kill(vcpu.thread, SIGUSR1);
    answer_next(machine, value);
    played_thread_end(&vcpu);
    assert_int_equal(vcpu.fd, -1);
}

/* 39: with immediate_exit set, KVM_RUN completes the access, and nothing else; no command is lost or sent twice. */
static void test_immediate_exit(void **state) {
    struct machine machine;

    if (!start(&machine))
        skip();
    kick_while_waiting(&machine, 0x11);
    machine.kvm->run->immediate_exit = 1;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(kvm_vm_run(machine.kvm), -EINTR);
    assert_int_equal(registers(&machine).rax & 0xff, 0x11);
    no_command(&machine);

    machine.kvm->run->immediate_exit = 0;
    kick_while_waiting(&machine, 0x22);
    assert_int_equal(kvm_vm_run(machine.kvm), 0);
    assert_int_equal(machine.kvm->run->exit_reason, KVM_EXIT_HLT);
    assert_int_equal(registers(&machine).rax & 0xff, 0x22);
    assert_int_equal(registers(&machine).rbx & 0xff, 0x11);
    no_command(&machine);
    end(&machine);
}

/* 40: reset between the answer and its completion: the guest begins anew, and reads what the device says then. */
static void test_reset(void **state) {
    struct machine machine;

    if (!start(&machine))
        skip();
    kick_while_waiting(&machine, 0x11);
    machine.kvm->run->immediate_exit = 1;
    assert_int_equal(kvm_vm_run(machine.kvm), -EINTR);
    machine.kvm->run->immediate_exit = 0;
    assert_int_equal(kvm_vm_reset(machine.kvm, ENTRY, 0), 0);

    kick_while_waiting(&machine, 0x33);
    kick_while_waiting(&machine, 0x44);
    assert_int_equal(kvm_vm_run(machine.kvm), 0);
    assert_int_equal(machine.kvm->run->exit_reason, KVM_EXIT_HLT);
    assert_int_equal(registers(&machine).rbx & 0xff, 0x33);
    assert_int_equal(registers(&machine).rax & 0xff, 0x44);
    no_command(&machine);
    end(&machine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_immediate_exit),
        cmocka_unit_test(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
