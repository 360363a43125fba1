/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/bus-error.h"
#include "daemon/bus-explain.h"
#include "daemon/bus-request.h"
#include "daemon/escape.h"
#include "internal/cleanup.h"

/* D-Bus arguments, as callers send them and as they should not. No bus is needed: messages are only built and read. */

static sd_bus *connection;
static int ends[2];

static int set_up(void **state) {
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    assert_return_code(sd_bus_new(&connection), 0);
    assert_return_code(sd_bus_set_fd(connection, ends[0], ends[0]), 0);
    assert_return_code(sd_bus_start(connection), 0);
    return bus_error_register() < 0;
}

static int tear_down(void **state) {
    connection = sd_bus_close_unref(connection);
    ends[1] = fd_close(ends[1]);
    return 0;
}

static sd_bus_message *call(const char *types, ...) {
    sd_bus_message *message;
    va_list arguments;

    assert_return_code(
        sd_bus_message_new_method_call(connection, &message, "a.b", "/", "a.b", "C"), 0);
    va_start(arguments, types);
    assert_return_code(sd_bus_message_appendv(message, types, arguments), 0);
    va_end(arguments);
    assert_return_code(sd_bus_message_seal(message, 1, 0), 0);
    return message;
}

/* The error's name and a part of its text; both requests leave nothing behind then. */
static void refused(int r, sd_bus_error *error, const char *name, const char *text) {
    assert_true(r < 0);
    assert_string_equal(error->name, name);
    if (!strstr(error->message, text))
        fail_msg("'%s' is not in '%s'", text, error->message);
    for (const char *p = error->message; *p; p++)
        assert_true(*p >= ' ' || (signed char) *p < 0);
    sd_bus_error_free(error);
}

static void refuse_attach(sd_bus_message *message, const char *name, const char *text) {
    sd_bus_error error = SD_BUS_ERROR_NULL;
    struct attach_request *request = NULL;
    int lease = -1;

    refused(parse_attach_device(message, &request, &lease, &error), &error, name, text);
    assert_null(request);
    assert_int_equal(lease, -1);
    sd_bus_message_unref(message);
}

static void refuse_register(sd_bus_message *message, const char *name, const char *text) {
    sd_bus_error error = SD_BUS_ERROR_NULL;
    struct register_request *request = NULL;
    int lease = -1;

    refused(parse_register_vm(message, &request, &lease, &error), &error, name, text);
    assert_null(request);
    assert_int_equal(lease, -1);
    sd_bus_message_unref(message);
}

#define INVALID SD_BUS_ERROR_INVALID_ARGS

static void test_register(void **state) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = call(
        "sa{sv}h", "guest-1.x", 5, "dispatch", "s", "kernel", "ceiling", "as", 2, "replay", "of-the-future", "reserve",
        "a(stt)", 1, "pio", UINT64_C(0x60), UINT64_C(5), "vm-fd", "h", ends[1], "process", "h", ends[0], ends[1]);
    _cleanup_(register_request_freep) struct register_request *request = NULL;
    _cleanup_(fd_closep) int lease = -1;
    sd_bus_error error = SD_BUS_ERROR_NULL;

    assert_return_code(parse_register_vm(message, &request, &lease, &error), 0);
    assert_string_equal(request->name, "guest-1.x");
    assert_int_equal(request->dispatch, POLICY_DISPATCH_KERNEL);
    assert_int_equal(request->ceiling, IOREGION_FEATURE_REPLAY);
    assert_int_equal(request->n_reserve, 1);
    assert_int_equal(request->reserve[0].space, IOREGION_PIO);
    assert_int_equal(request->reserve[0].base, 0x60);
    assert_int_equal(request->reserve[0].size, 5);
    assert_true(request->vm_fd >= 0 && request->vm_fd != ends[1]);
    assert_true(request->process >= 0 && request->process != ends[0]);
    assert_true(lease >= 0 && fcntl(lease, F_GETFD) == FD_CLOEXEC);
}

static void test_register_without_options(void **state) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = call("sa{sv}h", "a", 0, ends[1]);
    _cleanup_(register_request_freep) struct register_request *request = NULL;
    _cleanup_(fd_closep) int lease = -1;

    assert_return_code(parse_register_vm(message, &request, &lease, &(sd_bus_error){}), 0);
    assert_int_equal(request->dispatch, POLICY_DISPATCH_VMM | POLICY_DISPATCH_KERNEL);
    assert_true(request->ceiling == UINT64_MAX);
    assert_int_equal(request->vm_fd, -1);
    assert_int_equal(request->process, -1);
}

static void test_register_refused(void **state) {
    refuse_register(call("sa{sv}h", "a", 1, "process", "h", ends[1], ends[1]), INVALID, "'process' needs 'vm-fd'");
    refuse_register(call("sa{sv}h", "a", 2, "vm-fd", "h", ends[1], "process", "u", 1, ends[1]), INVALID, "must be 'h'");
    refuse_register(call("sa{sv}h", "a", 2, "vm-fd", "h", ends[1], "dispatch", "s", "vmm", ends[1]), INVALID,
                    "of no use to the vmm dispatcher");
    refuse_register(call("sa{sv}h", "a", 1, "manifest", "s", "{}", ends[1]), INVALID, "there is no 'manifest'");
    refuse_register(call("sa{sv}h", "a", 1, "dispatch", "s", "magic", ends[1]), INVALID, "not 'magic'");
    refuse_register(call("sa{sv}h", "a", 1, "dispatch", "u", 1, ends[1]), INVALID, "must be 's'");
    refuse_register(call("sa{sv}h", "a", 2, "dispatch", "s", "vmm", "dispatch", "s", "vmm", ends[1]), INVALID, "twice");
    refuse_register(call("sa{sv}h", "a", 1, "reserve", "a(stt)", 1, "io", UINT64_C(0), UINT64_C(1), ends[1]),
                    "org.ioregion1.Error.InvalidRegion", "mmio or pio");
    refuse_register(call("sa{sv}h", "a", 2, "vm-fd", "h", ends[1], "x\n", "s", "", ends[1]), INVALID, "x\\x0a");
}

/* 61: names are what gets into logs, messages and paths */
static void test_61_names(void **state) {
    static const char *const names[] = {
        "",    ".",        "-a",       "a/b",   "a b",
        "a\n", "\x1b[31m", "\xc3\xa9", "a\x7f", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        refuse_register(call("sa{sv}h", names[i], 0, ends[1]), INVALID, "no name for a VM");
        refuse_attach(call("ssa(sttta{sv})a{sv}h", names[i], "a", 0, 0, ends[1]), INVALID, "no name for a VM");
        refuse_attach(call("ssa(sttta{sv})a{sv}h", "a", names[i], 0, 0, ends[1]), INVALID, "no name for a device");
    }
}

static void test_attach(void **state) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message =
        call("ssa(sttta{sv})a{sv}h", "vm", "dev", 2, "mmio", UINT64_MAX, UINT64_C(1), UINT64_C(7), 2, "posted", "b", 1,
             "channel", "u", 1, "pio", UINT64_C(0x3f8), UINT64_C(8), UINT64_C(8), 0, 6, "require", "as", 1,
             "posted-writes", "want", "as", 2, "replay", "of-the-future", "channels", "u", 2, "timeout-usec", "t",
             UINT64_C(5000), "on-disconnect", "s", "hold", "interrupts", "au", 2, 4, 5, ends[1]);
    _cleanup_(attach_request_freep) struct attach_request *request = NULL;
    _cleanup_(fd_closep) int lease = -1;

    assert_return_code(parse_attach_device(message, &request, &lease, &(sd_bus_error){}), 0);
    assert_string_equal(request->vm, "vm");
    assert_string_equal(request->device, "dev");
    assert_int_equal(request->n_regions, 2);
    assert_true(request->regions[0].base == UINT64_MAX);
    assert_int_equal(request->regions[0].user_data, 7);
    assert_int_equal(request->regions[0].flags, IOREGION_REGION_POSTED);
    assert_int_equal(request->regions[0].channel, 1);
    assert_int_equal(request->regions[1].space, IOREGION_PIO);
    assert_int_equal(request->regions[1].flags, 0);
    assert_int_equal(request->require, IOREGION_FEATURE_POSTED_WRITES);
    assert_int_equal(request->want, IOREGION_FEATURE_REPLAY);
    assert_int_equal(request->channels, 2);
    assert_int_equal(request->timeout_usec, 5000);
    assert_int_equal(request->on_disconnect, IOREGION_ON_DISCONNECT_HOLD);
    assert_int_equal(request->n_interrupts, 2);
    assert_int_equal(request->interrupts[1], 5);
    assert_true(lease >= 0);
}

static void test_attach_refused(void **state) {
    const char *types = "ssa(sttta{sv})a{sv}h";

    refuse_attach(
        call(types, "v", "d", 1, "mmio", UINT64_C(0), UINT64_C(1), UINT64_C(0), 1, "post", "b", 1, 0, ends[1]), INVALID,
        "there are: posted, channel");
    refuse_attach(call(types, "v", "d", 1, "", UINT64_C(0), UINT64_C(1), UINT64_C(0), 0, 0, ends[1]),
                  "org.ioregion1.Error.InvalidRegion", "address space");
    refuse_attach(call(types, "v", "d", 0, 1, "channels", "u", 0, ends[1]), INVALID, "1 to 64");
    refuse_attach(call(types, "v", "d", 0, 1, "channels", "u", 65, ends[1]), INVALID, "1 to 64");
    refuse_attach(call(types, "v", "d", 0, 1, "on-disconnect", "s", "panic", ends[1]), INVALID, "not 'panic'");
    /* 62: never a downgrade */
    refuse_attach(call(types, "v", "d", 0, 1, "require", "as", 1, "time-travel", ends[1]),
                  "org.ioregion1.Error.FeatureUnavailable", "'time-travel' is required");
}

static void test_too_many_regions(void **state) {
    sd_bus_message *message;

    assert_return_code(sd_bus_message_new_method_call(connection, &message, "a.b", "/", "a.b", "C"), 0);
    assert_return_code(sd_bus_message_append(message, "ss", "v", "d"), 0);
    assert_return_code(sd_bus_message_open_container(message, 'a', "(sttta{sv})"), 0);
    for (uint64_t i = 0; i < 257; i++)
        assert_return_code(sd_bus_message_append(message, "(sttta{sv})", "mmio", i, UINT64_C(1), i, 0), 0);
    assert_return_code(sd_bus_message_close_container(message), 0);
    assert_return_code(sd_bus_message_append(message, "a{sv}h", 0, ends[1]), 0);
    assert_return_code(sd_bus_message_seal(message, 1, 0), 0);
    refuse_attach(message, INVALID, "more than 256 regions");
}

static void refuse_question(sd_bus_message *message, const char *text) {
    _cleanup_(question_done) struct question question = {};
    sd_bus_error error = SD_BUS_ERROR_NULL;

    refused(parse_question(message, &question, &error), &error, INVALID, text);
    sd_bus_message_unref(message);
}

static void test_question(void **state) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message =
        call("a{sv}", 6, "action", "s", "attach", "unit", "s", "a.service", "group", "s", "kvm", "vm", "s", "v",
             "device", "s", "d", "regions", "a(sttta{sv})", 1, "pio", UINT64_C(1), UINT64_C(2), UINT64_C(3), 0);
    _cleanup_(question_done) struct question question = {};

    assert_return_code(parse_question(message, &question, &(sd_bus_error){}), 0);
    assert_string_equal(question.explain.unit, "a.service");
    assert_string_equal(question.explain.groups[0], "kvm");
    assert_int_equal(question.explain.n_regions, 1);
    assert_int_equal(question.explain.regions[0].size, 2);
    refuse_question(call("a{sv}", 0), "needs 'action' and 'vm'");
    refuse_question(call("a{sv}", 2, "action", "s", "eat", "vm", "s", "v"), "'register' or 'attach'");
    refuse_question(call("a{sv}", 2, "action", "s", "attach", "vm", "s", "v"), "needs a 'device'");
    refuse_question(call("a{sv}", 3, "action", "s", "register", "vm", "s", "v", "device", "s", "d"), "no 'device'");
    refuse_question(call("a{sv}", 1, "who", "s", "me"), "there is no 'who'");
}

static void test_errors_have_their_errno(void **state) {
    for (int kind = REFUSAL_NONE + 1; kind < REFUSAL_KINDS; kind++) {
        sd_bus_error error = SD_BUS_ERROR_NULL;

        assert_int_equal(bus_error_refuse(&error, kind, "%s", "x"), refusal_errno(kind));
        assert_int_equal(sd_bus_error_get_errno(&error), -refusal_errno(kind));
        sd_bus_error_free(&error);
    }
}

static void test_61_escape(void **state) {
    char text[64], tiny[6];

    assert_string_equal(escape(text, sizeof(text), "a\\x2db \xc3\xa9 \xf0\x9f\x98\x80"),
                        "a\\x2db \xc3\xa9 \xf0\x9f\x98\x80");
    assert_string_equal(escape(text, sizeof(text), "a\nb\t\x1b\x7f"), "a\\x0ab\\x09\\x1b\\x7f");
    assert_string_equal(escape(text, sizeof(text), "\xff\xc3"), "\\xff\\xc3");
    assert_string_equal(escape(text, sizeof(text), "\xc0\xaf\xed\xa0\x80"), "\\xc0\\xaf\\xed\\xa0\\x80");
    assert_string_equal(escape(text, sizeof(text), "\xc2\x9b\xe2\x80\xae"), "\\xc2\\x9b\\xe2\\x80\\xae");
    assert_string_equal(escape(text, sizeof(text), "\xf4\x90\x80\x80\xf8"), "\\xf4\\x90\\x80\\x80\\xf8");
    assert_string_equal(escape(tiny, sizeof(tiny), "abcd\n"), "abcd");
    assert_string_equal(escape(tiny, sizeof(tiny), "abcd\xc3\xa9"), "abcd");
    assert_string_equal(escape(tiny, sizeof(tiny), NULL), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_register),
        cmocka_unit_test(test_register_without_options),
        cmocka_unit_test(test_register_refused),
        cmocka_unit_test(test_61_names),
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_attach_refused),
        cmocka_unit_test(test_too_many_regions),
        cmocka_unit_test(test_question),
        cmocka_unit_test(test_errors_have_their_errno),
        cmocka_unit_test(test_61_escape),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
