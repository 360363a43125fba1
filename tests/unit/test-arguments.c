/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What people type on the command lines of devices and VMMs. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "clients/devices/arguments.h"

static void test_numbers(void **state) {
    static const struct {
        const char *text;
        uint64_t value;
    } good[] = {{"0", 0}, {"0x3f8", 0x3f8}, {"4K", 4096}, {"1M", 1 << 20}, {"2G", UINT64_C(1) << 31},
                {"0xffffffffffffffff", UINT64_MAX}, {"0x10K", 16384}};
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "4k", "4KK", "x", "0x", "18446744073709551616",
                                      "17179869184G", "1T", "K"};
    uint64_t value = 77;

    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(argument_number(bad[i], 0, UINT64_MAX, &value), -EINVAL);
    assert_int_equal(value, 77);
    for (unsigned i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(argument_number(good[i].text, 0, UINT64_MAX, &value), 0);
        assert_int_equal(value, good[i].value);
    }
    assert_int_equal(argument_number("4", 5, 10, &value), -EINVAL);
    assert_int_equal(argument_number("11", 5, 10, &value), -EINVAL);
    assert_int_equal(argument_number("10", 5, 10, &value), 0);
}

static void test_ranges(void **state) {
    static const char *const bad[] = {"", "pio", "pio:1", "pio:1:", "pio:1:0", "pio:1:1:1", "pio::1", "dma:1:1",
                                      "pio:1:1x", "pio:0x1111111111111111111111111:1"};
    struct ioregion_range range = {.base = 77};

    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(argument_range(bad[i], &range), -EINVAL);
    assert_int_equal(range.base, 77);
    assert_int_equal(argument_range("mmio:0xd0000000:64K", &range), 0);
    assert_int_equal(range.space, IOREGION_MMIO);
    assert_int_equal(range.base, 0xd0000000);
    assert_int_equal(range.size, 65536);
    assert_int_equal(argument_range("pio:0xe9:1", &range), 0);
    assert_int_equal(range.space, IOREGION_PIO);
}

static void test_features(void **state) {
    static const char *const bad[] = {"x", "replay,", ",replay", "replay,,state", "Replay", "replays", "repla"};
    uint64_t features = 77;

    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(argument_features(bad[i], &features), -EINVAL);
    assert_int_equal(features, 77);
    assert_int_equal(argument_features("", &features), 0);
    assert_int_equal(features, 0);
    assert_string_equal(features_text(features), "none");
    assert_int_equal(argument_features("replay,posted-writes", &features), 0);
    assert_int_equal(features, IOREGION_FEATURE_REPLAY | IOREGION_FEATURE_POSTED_WRITES);
    assert_string_equal(features_text(features), "posted-writes,replay");
    assert_int_equal(argument_features(features_text(IOREGION_FEATURES_ALL), &features), 0);
    assert_int_equal(features, IOREGION_FEATURES_ALL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_features),
    };

    return cmocka_run_group_tests_name("arguments", tests, NULL, NULL);
}
