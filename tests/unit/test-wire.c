/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The golden vectors (edges 25, 26, 30, 33), against wire.h; and that info is put together as it is taken apart. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <ioregion/wire.h>

#define TOKEN UINT64_C(0x1122334455667788)

struct vector {
    char name[64];
    uint8_t bytes[64];
    size_t size;
};

static struct vector commands[64];
static size_t n_commands;

/* The rest of the line: hex digits and spaces. */
static void parse_hex(struct vector *vector, const char *hex) {
    unsigned byte;

    vector->size = 0;
    while (sscanf(hex, " %2x", &byte) == 1) {
        assert_true(vector->size < sizeof(vector->bytes));
        vector->bytes[vector->size++] = (uint8_t) byte;
        hex += strspn(hex, " ") + 2;
    }
}

static uint64_t features_of(const char *names) {
    return !strcmp(names, "posted-writes") ? IOREGION_FEATURE_POSTED_WRITES
           : !strcmp(names, "out-of-order") ? IOREGION_FEATURE_OUT_OF_ORDER
                                            : 0;
}

static bool command_accepted(const struct vector *vector, uint64_t region_size, uint64_t features) {
    struct ioregion_command command;

    if (vector->size != sizeof(command))
        return false;
    memcpy(&command, vector->bytes, sizeof(command));
    return command.user_data == TOKEN && ioregion_command_valid(&command, region_size, features);
}

static bool response_accepted(const struct vector *vector, const char *command_name) {
    struct ioregion_response response;
    struct ioregion_command command;

    for (size_t i = 0; i < n_commands; i++)
        if (!strcmp(commands[i].name, command_name)) {
            memcpy(&command, commands[i].bytes, sizeof(command));
            memcpy(&response, vector->bytes, sizeof(response));
            return vector->size == sizeof(response) && ioregion_response_valid(&response, &command);
        }
    fail_msg("no command %s", command_name);
    return false;
}

static void test_vectors(void **state) {
    FILE *file = fopen(VECTORS "/wire.txt", "r");
    unsigned n = 0, n_valid = 0;
    char line[512];

    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        char kind[16], verdict[16], argument[64], features[64];
        struct vector vector = {.size = 0};
        unsigned long long region_size;
        bool accepted;
        int at = 0;

        if (sscanf(line, "command %63s %15s %llu %63s %n", vector.name, verdict, &region_size, features, &at) == 4) {
            parse_hex(&vector, line + at);
            accepted = command_accepted(&vector, region_size, features_of(features));
            commands[n_commands++] = vector;
        } else if (sscanf(line, "response %63s %15s %63s %n", vector.name, verdict, argument, &at) == 3) {
            parse_hex(&vector, line + at);
            accepted = response_accepted(&vector, argument);
        } else {
            assert_true(line[0] == '#' || line[0] == '\n');
            continue;
        }
        sscanf(line, "%15s", kind);
        if (accepted != !strcmp(verdict, "valid"))
            fail_msg("%s %s is taken for %s", kind, vector.name, accepted ? "valid" : "invalid");
        n++;
        n_valid += accepted;
    }
    fclose(file);
    assert_int_equal(n, 45);
    assert_int_equal(n_valid, 17);
}

static void test_info(void **state) {
    assert_int_equal(ioregion_info(true, 8, true), 0x71);
    for (unsigned size = 1; size <= 8; size *= 2)
        for (int bits = 0; bits < 4; bits++) {
            uint32_t info = ioregion_info(bits & 1, size, bits & 2);

            assert_int_equal(ioregion_info_size(info), size);
            assert_int_equal(ioregion_info_is_write(info), bits & 1);
            assert_int_equal(ioregion_info_wants_response(info), !!(bits & 2));
            assert_int_equal(info & IOREGION_INFO_RESERVED, 0);
        }
    assert_true(ioregion_all_ones(1) == 0xff && ioregion_all_ones(8) == UINT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors), cmocka_unit_test(test_info)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
