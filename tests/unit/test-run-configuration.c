/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the launcher tells the library that it puts before a VMM: as options, and as the text between them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "configuration.h"

static void test_nothing(void **state) {
    struct configuration configuration;

    configuration_init(&configuration);
    assert_int_equal(configuration.options.struct_size, sizeof(configuration.options));
    assert_string_equal(configuration.options.dispatch, "auto");
    assert_false(configuration.options.has_ceiling);
    assert_int_equal(configuration.options.n_reserve, 0);
    assert_string_equal(configuration.vm, "");
}

static void test_all(void **state) {
    struct configuration configuration;

    configuration_init(&configuration);
    assert_int_equal(configuration_parse(&configuration, "dispatch=kernel\nvm=alpha.1\nceiling=replay\n"
                                                         "reserve=pio:0x60:8\nreserve=mmio:0xd0000:4K\n"),
                     0);
    assert_string_equal(configuration.vm, "alpha.1");
    assert_string_equal(configuration.options.dispatch, "kernel");
    assert_true(configuration.options.has_ceiling);
    assert_int_equal(configuration.options.ceiling, IOREGION_FEATURE_REPLAY);
    assert_int_equal(configuration.options.n_reserve, 2);
    assert_int_equal(configuration.options.reserve[0].space, IOREGION_PIO);
    assert_int_equal(configuration.options.reserve[0].base, 0x60);
    assert_int_equal(configuration.options.reserve[0].size, 8);
    assert_int_equal(configuration.options.reserve[1].base, 0xd0000);
    assert_int_equal(configuration.options.reserve[1].size, 4096);
}

static void test_no_features(void **state) {
    struct configuration configuration;

    configuration_init(&configuration);
    assert_int_equal(configuration_parse(&configuration, "vm=a\nceiling="), 0);
    assert_true(configuration.options.has_ceiling);
    assert_int_equal(configuration.options.ceiling, 0);
}

static void test_bad(void **state) {
    static const struct {
        const char *text;
        int error;
    } texts[] = {
        {"", -EINVAL},
        {"vm=", -EINVAL},
        {"vm=a/b", -EINVAL},
        {"vm=.a", -EINVAL},
        {"vm", -EINVAL},
        {"vm=a\nother=1", -ENOENT},
        {"vm=a\ndispatch=", -EINVAL},
        {"vm=a\ndispatch=Auto", -EINVAL},
        {"ceiling=", -EINVAL},
        {"ceiling=all", -EINVAL},
        {"reserve=pio:1", -EINVAL},
        {"vm=a\n=", -ENOENT},
        {"vm=12345678901234567890123456789012345678901234567890123456789012345", -EINVAL},
    };
    struct configuration configuration;

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        configuration_init(&configuration);
        assert_int_equal(configuration_parse(&configuration, texts[i].text), texts[i].error);
    }
    configuration_init(&configuration);
    for (int i = 0; i < RESERVE_MAX; i++)
        assert_int_equal(configuration_set(&configuration, "reserve", "pio:1:1"), 0);
    assert_int_equal(configuration_set(&configuration, "reserve", "pio:1:1"), -E2BIG);
    assert_int_equal(configuration.options.n_reserve, RESERVE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_no_features),
        cmocka_unit_test(test_bad),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
