/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Exits as KVM hands them over (edges 25-28). */

#include <linux/kvm.h>
#include <stdlib.h>

#include "played-broker.h"

#define DATA_OFFSET 4096

/* Two regions: 16 bytes of memory at 0x1000, 8 ports at 0x378; and a device that answers for both. */
struct machine {
    struct played_vm vm;
    struct played_thread device;
    struct kvm_run *run;
    uint8_t *data;
};

/* Log the commands, answer reads with 0x10 times the offset, plus one for each. */
struct log {
    struct ioregion_command commands[64];
    unsigned n;
    unsigned hang_up_at; /* close instead of answering this command; 0: never */
};

static struct log log_of_device;

static void *serve_and_log(void *argument) {
    struct played_thread *thread = argument;
    struct log *log = thread->argument;
    struct ioregion_command command;

    while (recv(thread->fd, &command, sizeof(command), 0) == sizeof(command)) {
        struct ioregion_response response = {.data = 0};

        log->commands[log->n++ % 64] = command;
        if (log->n == log->hang_up_at)
            break;
        if (!ioregion_info_is_write(command.info))
            response.data = played_value(&command) ^ (log->n & 0xf);
        send(thread->fd, &response, sizeof(response), MSG_NOSIGNAL);
    }
    close(thread->fd);
    return NULL;
}

static void start(struct machine *machine, uint32_t on_disconnect) {
    struct ioregion_lease_region_add add = {.region = 1, .base = 0x1000, .size = 16, .user_data = 7, .channel = 1,
                                            .on_disconnect = on_disconnect};
    int fd;

    log_of_device = (struct log){.n = 0};
    played_vm_start(&machine->vm);
    fd = played_device(&machine->vm, add);
    add.space = IOREGION_PIO;
    add.region = 2;
    add.base = 0x378;
    add.size = 8;
    add.user_data = 9;
    assert_int_equal(played_add(&machine->vm, add, -1), 0);
    played_thread_start(&machine->device, serve_and_log, fd, &log_of_device);
    machine->run = calloc(1, 2 * DATA_OFFSET);
    machine->data = (uint8_t *) machine->run + DATA_OFFSET;
}

static void end(struct machine *machine) {
    free(machine->run);
    played_vm_end(&machine->vm);
    played_thread_end(&machine->device);
}

static int mmio(struct machine *machine, uint64_t address, uint32_t length, bool write, const void *data) {
    struct kvm_run *run = machine->run;

    run->exit_reason = KVM_EXIT_MMIO;
    run->mmio.phys_addr = address;
    run->mmio.len = length;
    run->mmio.is_write = write;
    memset(run->mmio.data, 0xee, 8);
    if (data)
        memcpy(run->mmio.data, data, length);
    return ioregion_vmm_handle_exit(machine->vm.vmm, run);
}

static int io(struct machine *machine, uint16_t port, uint8_t size, uint32_t count, uint8_t direction) {
    struct kvm_run *run = machine->run;

    run->exit_reason = KVM_EXIT_IO;
    run->io.port = port;
    run->io.size = size;
    run->io.count = count;
    run->io.direction = direction;
    run->io.data_offset = DATA_OFFSET;
    return ioregion_vmm_handle_exit(machine->vm.vmm, run);
}

/* 25: all sizes, both directions; bytes beyond the access are left alone, and zero on the wire. */
static void test_mmio_sizes(void **state) {
    static const uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct machine machine;

    start(&machine, 0);
    for (uint32_t size = 1; size <= 8; size *= 2) {
        const struct ioregion_command *command = log_of_device.commands + log_of_device.n;
        uint64_t value = 0, expected;

        assert_int_equal(mmio(&machine, 0x1008, size, true, bytes), 1);
        assert_int_equal(command->info, ioregion_info(true, size, true));
        assert_int_equal(command->padding, 0);
        assert_int_equal(command->user_data, 7);
        assert_int_equal(command->offset, 8);
        assert_true(command->data == (UINT64_C(0x0807060504030201) & ioregion_all_ones(size)));

        assert_int_equal(mmio(&machine, 0x1008, size, false, NULL), 1);
        command++;
        assert_int_equal(command->info, ioregion_info(false, size, true));
        assert_int_equal(command->data, 0);
        expected = played_value(command) ^ (log_of_device.n & 0xf);
        memcpy(&value, machine.run->mmio.data, size);
        assert_true(value == expected);
        for (uint32_t i = size; i < 8; i++)
            assert_int_equal(machine.run->mmio.data[i], 0xee);
    }
    end(&machine);
}

/* 28: sizes that no command has are cut into those that it has, lowest address first. */
static void test_odd_sizes(void **state) {
    static const struct {
        unsigned size, pieces[3];
    } cases[] = {{3, {2, 1}}, {5, {4, 1}}, {6, {4, 2}}, {7, {4, 2, 1}}};
    static const uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct machine machine;

    start(&machine, 0);
    for (size_t i = 0; i < 4; i++) {
        unsigned done = 0, first = log_of_device.n;

        assert_int_equal(mmio(&machine, 0x1001, cases[i].size, true, bytes), 1);
        for (unsigned j = 0; done < cases[i].size; j++) {
            const struct ioregion_command *command = log_of_device.commands + first + j;
            uint64_t data = 0;

            memcpy(&data, bytes + done, cases[i].pieces[j]);
            assert_int_equal(ioregion_info_size(command->info), cases[i].pieces[j]);
            assert_int_equal(command->offset, 1 + done);
            assert_true(command->data == data);
            done += cases[i].pieces[j];
        }
    }
    assert_int_equal(log_of_device.n, 9);
    end(&machine);
}

/* 27: string instructions, one command an element, all to one port. */
static void test_string_io(void **state) {
    struct machine machine;

    start(&machine, 0);
    assert_int_equal(io(&machine, 0x37a, 2, 5, KVM_EXIT_IO_IN), 1);
    assert_int_equal(log_of_device.n, 5);
    for (int i = 0; i < 5; i++) {
        uint16_t value;

        memcpy(&value, machine.data + 2 * i, 2);
        assert_int_equal(log_of_device.commands[i].user_data, 9);
        assert_int_equal(log_of_device.commands[i].offset, 2);
        assert_int_equal(value, played_value(log_of_device.commands + i) ^ (i + 1));
    }
    memcpy(machine.data, "abcdefgh", 8);
    assert_int_equal(io(&machine, 0x37c, 4, 2, KVM_EXIT_IO_OUT), 1);
    assert_int_equal(log_of_device.commands[5].data, 0x64636261);
    assert_int_equal(log_of_device.commands[6].data, 0x68676665);
    end(&machine);
}

/* 27: the device goes away between two elements: what is left reads all ones, or is dropped. */
static void test_string_cut_short(void **state) {
    for (uint32_t mode = IOREGION_ON_DISCONNECT_ONES; mode <= IOREGION_ON_DISCONNECT_REMOVE; mode += 2) {
        struct machine machine;

        start(&machine, mode);
        log_of_device.hang_up_at = 3;
        assert_int_equal(io(&machine, 0x378, 1, 5, KVM_EXIT_IO_IN), 1);
        assert_int_equal(machine.data[1], (played_value(log_of_device.commands + 1) ^ 2) & 0xff);
        assert_memory_equal(machine.data + 2, "\xff\xff\xff\0", 4);
        end(&machine);
    }
}

/* An access in pieces, of which the second finds nobody. */
static void test_pieces_cut_short(void **state) {
    static const uint8_t ones[4] = {0xff, 0xff, 0xff, 0xee};
    struct machine machine;

    start(&machine, IOREGION_ON_DISCONNECT_REMOVE);
    log_of_device.hang_up_at = 2;
    assert_int_equal(mmio(&machine, 0x1000, 7, false, NULL), 1);
    assert_memory_equal(machine.run->mmio.data + 4, ones, 4);
    assert_int_equal(mmio(&machine, 0x1000, 7, false, NULL), 0);
    assert_int_equal(machine.run->mmio.data[0], 0xee);
    end(&machine);
}

/* Whatever else is in kvm_run is not ours, and not touched. */
static void test_nonsense(void **state) {
    static const struct {
        uint16_t port;
        uint8_t size, direction;
        uint32_t count;
        uint64_t offset;
    } cases[] = {
        {0x378, 0, 0, 1, DATA_OFFSET}, {0x378, 3, 0, 1, DATA_OFFSET},    {0x378, 8, 0, 1, DATA_OFFSET},
        {0x378, 1, 0, 0, DATA_OFFSET}, {0x378, 4, 0, 1025, DATA_OFFSET}, {0x378, 1, 0, UINT32_MAX, DATA_OFFSET},
        {0x378, 1, 2, 1, DATA_OFFSET}, {0x378, 1, 0, 1, 0},              {0x37f, 2, 0, 1, DATA_OFFSET},
        {0x377, 1, 0, 1, DATA_OFFSET}, {0x378, 1, 0, 2, 8191},           {0x378, 1, 0, 1, 8192},
        {0x378, 4, 0, 1024, 4100},     {0x378, 1, 0, 1, UINT64_MAX},     {0x378, 4, 0, 1, UINT64_MAX - 1},
    };
    struct machine machine;

    start(&machine, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct kvm_run *run = machine.run;

        run->exit_reason = KVM_EXIT_IO;
        run->io.port = cases[i].port;
        run->io.size = cases[i].size;
        run->io.direction = cases[i].direction;
        run->io.count = cases[i].count;
        run->io.data_offset = cases[i].offset;
        assert_int_equal(ioregion_vmm_handle_exit(machine.vm.vmm, run), 0);
    }
    assert_int_equal(mmio(&machine, 0x1000, 0, false, NULL), 0);
    assert_int_equal(mmio(&machine, 0x1000, 9, false, NULL), 0);
    assert_int_equal(mmio(&machine, 0x100f, 2, false, NULL), 0); /* 26 */
    machine.run->exit_reason = KVM_EXIT_HLT;
    assert_int_equal(ioregion_vmm_handle_exit(machine.vm.vmm, machine.run), 0);
    assert_int_equal(log_of_device.n, 0);
    end(&machine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mmio_sizes),       cmocka_unit_test(test_odd_sizes),
        cmocka_unit_test(test_string_io),        cmocka_unit_test(test_string_cut_short),
        cmocka_unit_test(test_pieces_cut_short), cmocka_unit_test(test_nonsense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
