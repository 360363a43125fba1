/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The audit trail comes first: who looks for the record of what the bus was told, or who asked for it, finds it. */

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker-rig.h"

static unsigned heard;

/* What is told now has its record already, the last one that there is in the log. */
static void expect_record(const char *beginning) {
    static char log[65536];
    ssize_t size = pread(STDERR_FILENO, log, sizeof(log) - 1, 0);
    char *line;

    assert_true(size > 0 && log[size - 1] == '\n');
    log[size - 1] = 0;
    line = strrchr(log, '\n');
    line = line ? line + 1 : log;
    if (strncmp(line, beginning, strlen(beginning)) != 0)
        fail_msg("the last record is '%s', and '%s' is told", line, beginning);
    heard++;
}

static void on_vm_added(void *userdata, struct vm *vm) {
    expect_record("ioregiond: register: vm vm ");
}

static void on_vm_removed(void *userdata, struct vm *vm) {
    expect_record("ioregiond: unregister: vm vm ");
}

static void on_device_added(void *userdata, struct device *device) {
    expect_record("ioregiond: attach: device d on vm vm ");
}

static void on_device_removed(void *userdata, struct device *device) {
    expect_record("ioregiond: detach: device d on vm vm ");
}

static void on_device_changed(void *userdata, struct device *device) {
    expect_record(device->state == DEVICE_ATTACHED ? "ioregiond: resume: device d on vm vm "
                                                   : "ioregiond: failure: device d on vm vm ");
}

static const struct broker_watcher watcher = {
    .vm_added = on_vm_added,
    .vm_removed = on_vm_removed,
    .device_added = on_device_added,
    .device_removed = on_device_removed,
    .device_changed = on_device_changed,
};

static const char *granted; /* the record of what is answered next */

static void on_granted(void) {
    expect_record(granted);
}

static void be_granted(struct rig *rig, struct client *client, const char *record) {
    granted = record;
    client->answered = on_granted;
    client_prove(rig, client);
}

static void attach(struct rig *rig, struct client *vmm, struct client *device, const char *record) {
    struct attach_request *request = attach_request_new("vm", "d", 0x2000, 16);

    request->on_disconnect = IOREGION_ON_DISCONNECT_HOLD;
    client_attach(rig, device, request);
    be_granted(rig, device, record);
    vmm_answer(rig, vmm, 0);
    assert_int_equal(device->outcome.error, 0);
    take_grant(device);
}

static void records_come_first(void **state) {
    struct rig *rig = rig_new(NULL);
    struct client vmm, device;

    rig->broker->watcher = &watcher;
    client_register(rig, &vmm, "vm");
    be_granted(rig, &vmm, "ioregiond: register: vm vm ");
    take_grant(&vmm);
    attach(rig, &vmm, &device, "ioregiond: attach: device d on vm vm ");
    client_close(&device);
    rig_pump(rig);
    attach(rig, &vmm, &device, "ioregiond: resume: device d on vm vm ");
    client_close(&vmm);
    rig_pump(rig);
    assert_int_equal(heard, 9);
    client_close(&device);
    rig_free(rig);
}

/* The log, where no journal is connected. */
static int log_to_memory(void **state) {
    static int others;
    int fd = memfd_create("log", MFD_CLOEXEC);

    others = dup(STDERR_FILENO);
    *state = &others;
    return fd >= 0 && others >= 0 && dup2(fd, STDERR_FILENO) >= 0 && close(fd) == 0 ? 0 : -1;
}

static int log_as_before(void **state) {
    const int *others = *state;

    return dup2(*others, STDERR_FILENO) >= 0 && close(*others) == 0 ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_come_first, log_to_memory, log_as_before),
    };

    unsetenv("JOURNAL_STREAM");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
