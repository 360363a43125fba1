/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/bus-units.h"

/* What a unit's states mean for the devices that it owns. */

static const struct {
    const char *active, *sub;
    uint32_t job;
    enum unit_fate expected;
} table[] = {
    {"active", "running", 0, UNIT_LIVES},
    {"active", "exited", 0, UNIT_LIVES},
    {"active", "abandoned", 0, UNIT_LIVES}, /* a scope without its session */
    {"reloading", "reload", 0, UNIT_LIVES},
    {"maintenance", "running", 0, UNIT_LIVES},
    {"activating", "start-pre", 7, UNIT_LIVES}, /* a helper may attach for the device */
    {"activating", "start", 0, UNIT_LIVES},
    {"deactivating", "stop-sigterm", 8, UNIT_LIVES}, /* the process may still have something to do */
    {"activating", "auto-restart", 0, UNIT_RESTARTS},
    {"activating", "auto-restart", 7, UNIT_RESTARTS},
    {"activating", "auto-restart-queued", 7, UNIT_RESTARTS},
    {"inactive", "dead", 7, UNIT_LIVES}, /* in the middle of a restart */
    {"failed", "failed", 7, UNIT_LIVES},
    {"inactive", "dead", 0, UNIT_ENDED},
    {"failed", "failed", 0, UNIT_ENDED},
};

static void every_state(void **state) {
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (unit_fate(table[i].active, table[i].sub, table[i].job) != table[i].expected)
            fail_msg("%s (%s), job %u", table[i].active, table[i].sub, table[i].job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
