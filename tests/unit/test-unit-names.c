/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Names of units as people type them, and the words for units that failed. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "internal/cleanup.h"
#include "unit.h"

static void test_names(void **state) {
    static const char *const names[][2] = {
        {"ioregion-uart@vm", "ioregion-uart@vm.service"},
        {"ioregion-uart@vm.service", "ioregion-uart@vm.service"},
        {"uart@a.b", "uart@a.b.service"}, /* a VM's name may have dots in it */
        {"uart@vm:target.1", "uart@vm:target.1.service"},
        {"x.service.service", "x.service.service"},
        {"", NULL},
        {".service", NULL},
        {"a.socket", NULL},
        {"multi-user.target", NULL},
        {"uart@vm.scope", NULL},
        {"/etc/systemd/system/a.service", NULL},
        {"a/b", NULL},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        _cleanup_(freep) char *name = unit_service_name(names[i][0]);

        if (names[i][1])
            assert_string_equal(name, names[i][1]);
        else
            assert_null(name);
    }
}

static void assert_text(const struct unit_state *unit, const char *expected) {
    _cleanup_(freep) char *text = unit_failure_text("a.service", unit);

    assert_string_equal(text, expected);
}

static void test_failures(void **state) {
    struct unit_state unit = {.job = "failed",
                              .active = "failed",
                              .sub = "failed",
                              .result = "exit-code",
                              .status = "there is no VM a",
                              .code = 0};

    assert_text(&unit, "unit a.service failed (Result=exit-code): there is no VM a");
    unit = (struct unit_state){"done", "failed", "failed", "exit-code", "", CLD_EXITED, 3};
    assert_text(&unit, "unit a.service failed (Result=exit-code, ExecMainStatus=3)");
    unit = (struct unit_state){"done", "activating", "auto-restart", "signal", "", CLD_KILLED, SIGKILL};
    assert_text(&unit, "unit a.service failed, and will be started again (Result=signal, ExecMainStatus=9/KILL)");
    unit = (struct unit_state){"done", "failed", "failed", "core-dump", "", CLD_DUMPED, 4711};
    assert_text(&unit, "unit a.service failed (Result=core-dump, ExecMainStatus=4711/?)");
    unit = (struct unit_state){"done", "inactive", "dead", "success", "bye", CLD_EXITED, 0};
    assert_text(&unit, "unit a.service ended before its device was attached (Result=success, ExecMainStatus=0): bye");
}

static void test_jobs(void **state) {
    static const struct unit_state unit = {"canceled", "inactive", "dead", "success", "", 0, 0};

    assert_text(&unit, "unit a.service was not started: the result of its job is 'canceled'");
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_jobs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
