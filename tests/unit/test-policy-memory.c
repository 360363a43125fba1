/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Memory that runs out at any allocation of any load: -ENOMEM, nothing leaked, nothing half done. */

#include <dirent.h>
#include <grp.h>
#include <json-c/json.h>
#include <pwd.h>

#include "policy-test.h"
#include "policy/accounts.h"
#include "policy/explain.h"

static bool counting;
static unsigned long calls, fail_at_call;

static bool fails(void) {
    return counting && ++calls == fail_at_call;
}

/* The linker sends the library's calls here (--wrap). */
#define WRAP(type, name, failure, parameters, arguments) \
    type __real_##name parameters;                       \
    type __wrap_##name parameters;                       \
    type __wrap_##name parameters {                      \
        return fails() ? (failure) : __real_##name arguments; \
    }

WRAP(void *, malloc, NULL, (size_t size), (size))
WRAP(void *, calloc, NULL, (size_t n, size_t size), (n, size))
WRAP(void *, reallocarray, NULL, (void *p, size_t n, size_t size), (p, n, size))
WRAP(char *, strdup, NULL, (const char *text), (text))
WRAP(int, vasprintf, -1, (char **ret, const char *format, va_list arguments), (ret, format, arguments))
WRAP(struct json_tokener *, json_tokener_new, NULL, (void), ())
WRAP(struct json_object *, json_tokener_parse_ex, NULL, (struct json_tokener *t, const char *text, int size),
     (t, text, size))
WRAP(struct passwd *, getpwnam, (errno = ENOMEM, NULL), (const char *name), (name))
WRAP(struct group *, getgrnam, (errno = ENOMEM, NULL), (const char *name), (name))

int __wrap_asprintf(char **ret, const char *format, ...) __attribute__((format(printf, 2, 3)));

int __wrap_asprintf(char **ret, const char *format, ...) {
    va_list arguments;
    int r;

    if (fails())
        return -1;
    va_start(arguments, format);
    r = __real_vasprintf(ret, format, arguments);
    va_end(arguments);
    return r;
}

int __real_scandir(const char *, struct dirent ***, int (*)(const struct dirent *),
                   int (*)(const struct dirent **, const struct dirent **));
int __wrap_scandir(const char *, struct dirent ***, int (*)(const struct dirent *),
                   int (*)(const struct dirent **, const struct dirent **));

int __wrap_scandir(const char *directory, struct dirent ***ret, int (*filter)(const struct dirent *),
                   int (*compare)(const struct dirent **, const struct dirent **)) {
    if (fails()) {
        errno = ENOMEM;
        return -1;
    }
    return __real_scandir(directory, ret, filter, compare);
}

static const char *text;

static int load_text(struct policy **ret_policy, char **ret_error) {
    return policy_load_text("p", text, strlen(text), &test_accounts, ret_policy, ret_error);
}

static int load_shipped(struct policy **ret_policy, char **ret_error) {
    static const char *const files[] = {SOURCE_ROOT "/policy/default.json", SOURCE_ROOT "/policy/examples/fleet.json"};

    return policy_load_files(files, 2, NULL, ret_policy, ret_error);
}

static int load_directory(struct policy **ret_policy, char **ret_error) {
    return policy_load_directory(SOURCE_ROOT "/policy/examples", &test_accounts, ret_policy, ret_error);
}

/* Fail each allocation in turn, until none is left to fail: then the load must say @result. */
static void every_allocation(int (*load_it)(struct policy **, char **), int result) {
    int r;

    fail_at_call = 0;
    do {
        struct policy *policy = NULL;
        char *error = (char *) "unset";

        calls = 0;
        fail_at_call++;
        counting = true;
        r = load_it(&policy, &error);
        counting = false;
        if (calls < fail_at_call) {
            assert_int_equal(r, result);
            policy_free(policy);
            free(error);
            break;
        }
        /* Of an error that was found first, only the words may be missing. */
        assert_int_equal(r, -ENOMEM);
        assert_null(policy);
        if (error && strcmp(error, "unset"))
            free(error);
    } while (fail_at_call < 100000);
    assert_in_range(fail_at_call, 4, 5000);
}

static void test_shipped(void **state) {
    every_allocation(load_shipped, 0);
}

/* The examples share a rule name or set a limit twice: not for one folder. */
static void test_directory(void **state) {
    every_allocation(load_directory, -EBADMSG);
}

static void test_texts(void **state) {
    static const struct {
        const char *text;
        int result;
    } texts[] = {
        {"{\"version\":1,\"vmms\":[{\"name\":\"v\",\"match\":{\"user\":\"nobody-here\"},\"vms\":[\"*\"]}]}", 0},
        {"{\"version\":1,\"vmms\":[{\"name\":\"v\",\"match\":{\"unit\":\"a*\"},\"vms\":[\"*\"]}]}", 0},
        {"{\"version\":1,\"devices\":[{\"name\":\"d\",\"match\":{\"unit\":\"d@${vm}:${device}.service\"},"
         "\"vms\":[\"${vm}\"],\"regions\":[{\"space\":\"pio\",\"within\":[\"1\",\"2\"],\"align\":\"1\",\"max-size\":\"1\"}],"
         "\"interrupts\":[1]}]}", 0},
        {"{\"version\":1,\"vmm\":[]}", -EBADMSG},
        {"{\"version\":1,\"vmms\":[{\"name\":\"v\",\"match\":{\"unit\":\"${x}\"},\"vms\":[\"*\"]}]}", -EBADMSG},
        {"{\"version\":1} x", -EBADMSG},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        text = texts[i].text;
        every_allocation(load_text, texts[i].result);
    }
}

static void test_explain(void **state) {
    static const char *const groups[] = {"root"};
    _cleanup_(policy_freep) struct policy *policy = NULL;
    struct explain_question q = {.vm = "a", .user = "root", .groups = groups, .n_groups = 1};
    struct explain_answer answer;
    const char *unknown;
    char *error;

    text = "{\"version\":1}";
    assert_int_equal(load_text(&policy, &error), 0);
    for (int round = 0; round < 2; round++, q.n_groups = 0)
        for (fail_at_call = 1, calls = 1; calls >= fail_at_call; fail_at_call++) {
            int r;

            calls = 0;
            counting = true;
            r = policy_explain(policy, NULL, &q, &answer, &unknown);
            counting = false;
            assert_int_equal(r, calls < fail_at_call ? 0 : -ENOMEM);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_explain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
