/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* 64: a VM as text, and back. What it says is what it was; what no VM says is refused, wherever it is cut or spoilt. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/device.h"
#include "daemon/removal.h"
#include "daemon/state.h"
#include "daemon/vm.h"
#include "internal/cleanup.h"

#define OWNER(pid) "{\"pid\":" pid ",\"uid\":1000,\"gids\":[4,1000],\"unit\":\"vm@a\\\\x2db.service\"}"
#define DEVICE(name, rest)                                                                                             \
    "{\"name\":\"" name "\",\"kept\":7,\"lease\":18446744073709551615,\"owner\":" OWNER("12") ",\"rule\":\"r\"," rest  \
                                                                                              "}"
#define HELD                                                                                                           \
    "\"state\":\"held\",\"on-disconnect\":\"hold\",\"features\":3,\"timeout\":1000000,\"grace\":60000000,"             \
    "\"grace-ends\":123456789,\"error\":\"the device hung up\",\"disconnected\":1,\"first-region\":2,"                 \
    "\"regions\":[[0,4096,8191,5,1,0],[1,1016,1023,18446744073709551615,0,1]],\"channels\":[[1,0,0],[2,77,1]]"
#define ATTACHED                                                                                                       \
    "\"state\":\"attached\",\"on-disconnect\":\"ones\",\"features\":0,\"timeout\":1,\"grace\":0,\"grace-ends\":0,"     \
    "\"error\":\"\",\"disconnected\":0,\"first-region\":4,\"regions\":[[0,65536,18446744073709551615,0,0,0]],"         \
    "\"channels\":[[3,78,1]]"
#define HEAD(version)                                                                                                  \
    "{\"version\":" version                                                                                            \
    ",\"name\":\"vm-1\",\"kept\":4294967295,\"dispatcher\":\"vmm\",\"lease\":5,\"owner\":" OWNER(                      \
        "11") ",\"rule\":\"guests\",\"ceiling\":18446744073709551615,\"features\":3,\"next-region\":9,"                \
              "\"next-channel\":4,\"reserved\":[[1,96,100]],"
#define UNDO "\"undo\":[[1,0,0,15],[8,1,0,0]],"
#define DEVICES "\"devices\":[" DEVICE("a", HELD) "," DEVICE("b", ATTACHED) "]}"

static const char text[] = HEAD("1") UNDO DEVICES;

static int read_text(const char *what, size_t size, struct vm **ret_vm, char **ret_error) {
    return state_read("vm-1.json", what, size, ret_vm, ret_error);
}

static void round_trip(void **state) {
    _cleanup_(freep) char *error = NULL, *again = NULL;
    const struct device *device;
    struct vm *vm;
    size_t size;

    if (read_text(text, strlen(text), &vm, &error) < 0)
        fail_msg("%s", error);
    assert_int_equal(state_write(vm, &again, &size), 0);
    assert_int_equal(size, strlen(text));
    assert_string_equal(again, text);

    assert_string_equal(vm->owner->unit, "vm@a\\x2db.service");
    device = vm_find_device(vm, "a");
    assert_int_equal(device->state, DEVICE_HELD);
    assert_int_equal(device->regions[1].id, 3);
    assert_int_equal(device->n_added, 2);
    assert_ptr_equal(region_map_find(&vm->map, IOREGION_PIO, 1020)->owner, &device->regions[1]);
    assert_null(region_map_find(&vm->map, IOREGION_PIO, 97)->owner);
    assert_int_equal(TAILQ_FIRST(&vm->removals)->first, 1);
    vm_free(vm);
}

/* What an attach that is under way has in the dispatcher is to be undone by who takes over. */
static void attaching(void **state) {
    _cleanup_(freep) char *error = NULL, *again = NULL;
    struct vm *vm;
    size_t size;

    assert_int_equal(read_text(text, strlen(text), &vm, &error), 0);
    vm_find_any_device(vm, "a")->state = DEVICE_ATTACHING;
    assert_int_equal(state_write(vm, &again, &size), 0);
    assert_string_equal(
        again, HEAD("1") "\"undo\":[[1,0,0,15],[8,1,0,0],[2,0,4096,8191],[3,1,1016,1023]],\"devices\":[" DEVICE(
                   "b", ATTACHED) "]}");
    vm_free(vm);
}

static void expect_refused(const char *what, size_t size, const char *why) {
    _cleanup_(freep) char *error = NULL;
    struct vm *vm;

    assert_int_equal(read_text(what, size, &vm, &error), -EBADMSG);
    assert_non_null(error);
    if (!strstr(error, why))
        fail_msg("'%s' is not in '%s'", why, error);
}

static void truncated(void **state) {
    for (size_t size = 0; size < strlen(text); size++)
        expect_refused(text, size, "vm-1.json:1:");
}

/* Any byte that is another one is refused, or makes another VM that can be written down again. */
static void spoilt(void **state) {
    static const char others[] = "\"0a]},:-\\\x80";
    unsigned refused = 0, read = 0;

    for (size_t i = 0; i < strlen(text); i++)
        for (const char *other = others; *other; other++) {
            _cleanup_(freep) char *copy = strdup(text), *error = NULL, *again = NULL;
            struct vm *vm;
            size_t size;

            copy[i] = *other;
            if (read_text(copy, strlen(copy), &vm, &error) < 0) {
                assert_non_null(error);
                refused++;
                continue;
            }
            read++;
            assert_int_equal(state_write(vm, &again, &size), 0);
            vm_free(vm);
        }
    assert_true(refused > 5000 && read > 100);
}

/* What differs is the part of the text, and the part of the error. */
static void impossible(void **state) {
    static const struct {
        const char *from, *to, *why;
    } cases[] = {
        {"\"version\":1", "\"version\":2", "version 2 is not known; this program reads version 1"},
        {"\"version\":1", "\"more\":1", "no state of a VM"},
        {"\"kept\":7", "\"kept\":4294967296", "too large"},
        {"\"features\":3,\"next", "\"features\":\"3\",\"next", "must be a number"},
        {"\"vm-1\"", "\"-vm\"", "is no name"},
        {"\"vmm\"", "\"vmx\"", "unknown \"vmx\""},
        {"\"pid\":11", "\"pid\":2147483648", "too large"},
        {"[[1,96,100]]", "[[2,96,100]]", "too large"},
        {"[[1,96,100]]", "[[1,100,96]]", "no range"},
        {"[[1,96,100]]", "[[1,96,65536]]", "no range"},
        {"[[1,96,100]]", "[[0,0,18446744073709551615]]", "no range"},
        {"[[1,96,100]]", "[[1,96,1016]]", "overlaps"},
        {"[[1,96,100]]", "[[1,96]]", "array of 3"},
        {"[[1,96,100]]", "[[1,96,-1]]", "vm-1.json:1:"},
        {"[8,1,0,0]", "[9,1,0,0]", "too large"},
        {"[8,1,0,0]", "[3,1,0,0]", "two regions have the id 3"},
        {"\"first-region\":4", "\"first-region\":3", "two regions have the id 3"},
        {"\"first-region\":4", "\"first-region\":9", "never were"},
        {"\"first-region\":4", "\"first-region\":0", "never were"},
        {"\"first-region\":4", "\"first-region\":18446744073709551615", "never were"},
        {"[[3,78,1]]", "[[2,78,1]]", "two channels have the id 2"},
        {"[1,0,0],[2", "[2,0,0],[2", "two channels have the id 2"},
        {"\"next-region\":9", "\"next-region\":0", "ids begin with 1"},
        {"\"next-channel\":4", "\"next-channel\":3", "too large"},
        {"\"held\"", "\"attaching\"", "unknown \"attaching\""},
        {"\"name\":\"b\"", "\"name\":\"a\"", "two devices a"},
        {"\"features\":3,\"timeout\"", "\"features\":32,\"timeout\"", "too large"},
        {"5,1,0]", "5,1,2]", "too large"},
        {"5,1,0]", "5,2,0]", "too large"},
        {"[[3,78,1]]", "[]", "1 to 64 channels"},
        {"[[3,78,1]]", "[[3,78,2]]", "too large"},
        {"[[0,65536,18446744073709551615,0,0,0]]", "[]", "never were"},
        {"[[0,65536,18446744073709551615,0,0,0]]", "[[0,8191,9000,0,0,0]]", "overlaps"},
        {"\"disconnected\":1", "\"disconnected\":true", "must be a number"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *place = strstr(text, cases[i].from);
        char copy[sizeof(text) + 64];

        assert_non_null(place);
        snprintf(copy, sizeof(copy), "%.*s%s%s", (int) (place - text), text, cases[i].to,
                 place + strlen(cases[i].from));
        expect_refused(copy, strlen(copy), cases[i].why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(attaching),  cmocka_unit_test(truncated),
        cmocka_unit_test(spoilt),     cmocka_unit_test(impossible),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
