/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What loads, what does not and in which words, and how files come together. Edge case 66. */

#include <sys/stat.h>

#include "policy-test.h"

#define MATCH "\"match\":{\"user\":\"root\"}"
#define VMS "\"vms\":[\"*\"]"
#define REGION "{\"space\":\"pio\",\"base\":\"0x3f8\",\"size\":\"8\"}"
#define DEVICE(more) "{\"version\":1,\"devices\":[{\"name\":\"d\"," MATCH "," VMS "," more "}]}"
#define DEVICE_REGION(region) DEVICE("\"regions\":[" region "]")
#define RULE(more) "{\"version\":1,\"vmms\":[{\"name\":\"v\"," more "}]}"
#define RESERVED(more) "{\"version\":1,\"reserved\":[{\"space\":\"pio\",\"why\":\"w\"," more "}]}"

static void test_refused(void **state) {
    static const struct {
        const char *text, *place, *part;
    } cases[] = {
        {"", "1:1", "ends early"},
        {"[]", "1:1", "expected an object"},
        {"{}", "1:1", "\"version\" is missing"},
        {"{\"version\":2}", "1:12", "this program knows 1"},
        {"{\"version\":\"1\"}", "1:12", "\"version\" must be a number"},
        {"{\"version\":1,\n \"vmm\":[]}", "2:2", "did you mean \"vmms\"?"},
        {"{\"version\":1,\"vmms\":{}}", "1:21", "must be a list"},
        {"{\"version\":1,\"vmms\":[7]}", "1:22", "expected an object"},
        {"{\"version\":1,\"devices\":[7]}", "1:25", "expected an object"},
        {"{\"version\":1,\"operators\":[7]}", "1:27", "expected an object"},
        {"{\"version\":1,\"reserved\":[7]}", "1:26", "expected an object"},
        {RULE(MATCH), "1:22", "\"vms\" is missing"},
        {RULE(VMS), "1:22", "\"match\" is missing"},
        {RULE("\"match\":{}," VMS), "1:42", "would match everyone"},
        {RULE("\"match\":{\"units\":\"a\"}," VMS), "1:43", "did you mean \"unit\"?"},
        {RULE("\"match\":{\"unit\":\"\"}," VMS), "1:50", "empty pattern"},
        {RULE("\"match\":{\"unit\":\"*-${vm}.service\"}," VMS), "1:50", "another VM's"},
        {RULE(MATCH ",\"vms\":[]"), "1:64", "no VM is named"},
        {RULE(MATCH ",\"vms\":[1]"), "1:65", "expected a string"},
        {RULE(MATCH ",\"vms\":[\"${x}\"]"), "1:65", "unknown placeholder"},
        {RULE(MATCH ",\"vms\":[\"a\",\"${vm}\"]"), "1:69", "\"match\" must give \"unit\""},
        {RULE(MATCH "," VMS ",\"dispatch\":[]"), "1:81", "no dispatcher is left"},
        {RULE(MATCH "," VMS ",\"dispatch\":[\"kvm\"]"), "1:82", "known: kernel, vmm"},
        {RULE(MATCH "," VMS ",\"features\":[\"replays\"]"), "1:82", "did you mean \"replay\"?"},
        {"{\"version\":1,\"vmms\":[{\"name\":\"default\"," MATCH "," VMS "}]}", "1:30", "choose another name"},
        {"{\"version\":1,\"vmms\":[{\"name\":\"a b\"," MATCH "," VMS "}]}", "1:30", "is no name"},
        {"{\"version\":1,\"operators\":[{\"name\":\"reserved\"," MATCH "}]}", "1:35", "choose another name"},
        {"{\"version\":1,\"operators\":[{\"name\":\"o\",\"match\":{\"unit\":\"a\"}}]}", "1:55", "prove no unit"},
        {"{\"version\":1,\"operators\":[{\"name\":\"o\",\"match\":{}}]}", "1:47", "give \"user\" or \"group\""},
        {DEVICE("\"regions\":[]"), "1:83", "without regions"},
        {DEVICE("\"region\":[]"), "1:73", "did you mean \"regions\"?"},
        {DEVICE("\"timeout\":\"1s\""), "1:25", "\"regions\" is missing"},
        {DEVICE_REGION("{}"), "1:84", "\"space\" is missing"},
        {DEVICE_REGION("{\"space\":\"ram\"}"), "1:93", "known: mmio, pio"},
        {DEVICE_REGION("{\"space\":\"pio\"}"), "1:84", "either \"base\" and \"size\", or \"within\""},
        {DEVICE_REGION("{\"space\":\"pio\",\"base\":\"0\"}"), "1:84", "either"},
        {DEVICE_REGION("{\"space\":\"pio\",\"base\":\"0\",\"size\":\"1\",\"align\":\"1\"}"), "1:84", "either"},
        {DEVICE_REGION("{\"space\":\"pio\",\"base\":\"0\",\"within\":[\"0\",\"1\"]}"), "1:84", "either"},
        {DEVICE_REGION("{\"space\":\"pio\",\"base\":\"0\",\"size\":\"0\"}"), "1:117", "at least one byte"},
        {DEVICE_REGION("{\"space\":\"pio\",\"base\":0,\"size\":\"1\"}"), "1:106", "\"base\" must be a string"},
        {DEVICE_REGION("{\"space\":\"pio\",\"base\":\"0xffff\",\"size\":\"2\"}"), "1:84", "ports end at 0xffff"},
        {DEVICE_REGION("{\"space\":\"mmio\",\"base\":\"0xffffffffffffffff\",\"size\":\"2\"}"), "1:135",
         "past the end"},
        {DEVICE_REGION("{\"space\":\"pio\",\"within\":[\"0\",\"64K\"]}"), "1:84", "ports end at 0xffff"},
        {DEVICE_REGION("{\"space\":\"pio\",\"within\":[\"1\",\"0\"]}"), "1:108", "ends before it begins"},
        {DEVICE_REGION("{\"space\":\"mmio\",\"within\":[\"0\",\"9\"],\"align\":\"0\"}"), "1:127", "power of two"},
        {DEVICE_REGION("{\"space\":\"mmio\",\"within\":[\"0\",\"9\"],\"align\":\"3\"}"), "1:127", "power of two"},
        {DEVICE_REGION("{\"space\":\"mmio\",\"within\":[\"0\",\"9\"],\"align\":\"x\"}"), "1:127", "not understood"},
        {DEVICE_REGION("{\"space\":\"mmio\",\"within\":[\"0\",\"9\"],\"max-size\":\"0\"}"), "1:130", "one byte"},
        {DEVICE("\"regions\":[" REGION "],\"interrupts\":[4096]"), "1:141", "4095 is the most"},
        {DEVICE("\"regions\":[" REGION "],\"limits\":{\"region\":1}"), "1:137", "did you mean \"regions\"?"},
        {DEVICE("\"regions\":[" REGION "],\"limits\":{\"channels\":65}"), "1:148", "64 is the most"},
        {DEVICE("\"regions\":[" REGION "],\"timeout\":\"0s\""), "1:137", "can't be met"},
        {DEVICE("\"regions\":[" REGION "],\"timeout\":\"1\""), "1:137", "such as \"500ms\""},
        {DEVICE("\"regions\":[" REGION "],\"on-disconnect\":[]"), "1:143", "nothing is left"},
        {DEVICE("\"regions\":[" REGION "],\"on-disconnect\":[\"one\"]"), "1:144", "did you mean \"ones\"?"},
        {DEVICE("\"regions\":[" REGION "],\"grace\":\"1 s\""), "1:135", "not understood"},
        {DEVICE("\"regions\":[" REGION "],\"override\":1"), "1:138", "must be true or false"},
        {RESERVED("\"align\":\"1\""), "1:51", "known: space, base, size, within, why"},
        {RESERVED("\"base\":\"1\""), "1:26", "either"},
        {"{\"version\":1,\"reserved\":[{\"space\":\"pio\",\"base\":\"1\",\"size\":\"1\"}]}", "1:26", "\"why\" is missing"},
        {"{\"version\":1,\"limits\":{\"vm\":1}}", "1:24", "did you mean \"vms\"?"},
        {"{\"version\":1,\"limits\":{\"attach-rate\":\"9\"}}", "1:38", "\"100/s\""},
        {"{\"version\":1,\"limits\":{\"attach-rate\":9}}", "1:38", "must be a string"},
        {"{\"version\":1,\"limits\":{\"list-rate\":\"1/min\"}}", "1:36", "\"100/s\""},
        /* What only shows when all is in. */
        {"{\"version\":1,\"vmms\":[{\"name\":\"a\"," MATCH "," VMS "},\n{\"name\":\"b\"," MATCH "," VMS "},\n"
         "{\"name\":\"a\"," MATCH "," VMS "}]}", "3:1", "a second rule called \"a\"; the first is at p.json:1"},
        {"{\"version\":1,\"operators\":[{\"name\":\"a\"," MATCH "},{\"name\":\"a\"," MATCH "}]}", "1:64", "second rule"},
        {"{\"version\":1,\"devices\":[{\"name\":\"d\"," MATCH "," VMS ",\"regions\":[" REGION "]}],\n"
         "\"reserved\":[{\"space\":\"pio\",\"within\":[\"0x3ff\",\"0x400\"],\"why\":\"mine\"}]}", "1:84",
         "overlaps 0x3ff-0x400, which p.json:2 reserves (mine)"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        load_fails(cases[i].text, strlen(cases[i].text), cases[i].place, cases[i].part);
}

static void test_loaded(void **state) {
    static const char *const texts[] = {
        "{\"version\":1}",
        "{\"$schema\":\"x\",\"version\":1,\"vmms\":[],\"devices\":[],\"reserved\":[],\"operators\":[],\"limits\":{}}",
        DEVICE_REGION("{\"space\":\"mmio\",\"base\":\"0xffffffffffffffff\",\"size\":\"1\"}"),
        DEVICE_REGION("{\"space\":\"mmio\",\"within\":[\"0\",\"0xffffffffffffffff\"]}"),
        DEVICE_REGION("{\"space\":\"pio\",\"base\":\"0\",\"size\":\"64K\"}"),
        /* A rule and a reserved range: side by side, of different spaces, or allowed to overlap. */
        "{\"version\":1,\"devices\":[{\"name\":\"d\"," MATCH "," VMS ",\"regions\":[" REGION "]}],\"reserved\":["
        "{\"space\":\"pio\",\"base\":\"0x3f0\",\"size\":\"8\",\"why\":\"w\"},"
        "{\"space\":\"pio\",\"base\":\"0x400\",\"size\":\"1\",\"why\":\"w\"},"
        "{\"space\":\"mmio\",\"base\":\"0x3f8\",\"size\":\"8\",\"why\":\"w\"}]}",
        "{\"version\":1,\"devices\":[{\"name\":\"d\",\"override\":true," MATCH "," VMS ",\"regions\":[" REGION "]}],"
        "\"reserved\":[{\"space\":\"pio\",\"base\":\"0x3ff\",\"size\":\"1\",\"why\":\"w\"}]}",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        _cleanup_(policy_freep) struct policy *policy = load(texts[i]);

        assert_null(policy_warning(policy, 0));
    }
    assert_null(policy_free(NULL));
}

static void test_limits(void **state) {
    _cleanup_(policy_freep) struct policy *defaults = load("{\"version\":1}");
    _cleanup_(policy_freep) struct policy *set = load(
        "{\"version\":1,\"limits\":{\"vms\":1,\"regions-per-vm\":2,\"devices-per-unit\":0,\"vms-per-user\":4,"
        "\"register-rate\":\"6/s\",\"attach-rate\":\"5/s\",\"list-rate\":\"7/s\"}}");
    const struct policy_limits *l = policy_limits(defaults);

    assert_int_equal(l->vms, 1024);
    assert_int_equal(l->regions_per_vm, 256);
    assert_int_equal(l->devices_per_unit, 16);
    assert_int_equal(l->vms_per_user, 64);
    assert_int_equal(l->register_rate, 2);
    assert_int_equal(l->attach_rate, 2);
    assert_int_equal(l->list_rate, 5000);
    l = policy_limits(set);
    assert_int_equal(l->vms, 1);
    assert_int_equal(l->regions_per_vm, 2);
    assert_int_equal(l->devices_per_unit, 0);
    assert_int_equal(l->vms_per_user, 4);
    assert_int_equal(l->register_rate, 6);
    assert_int_equal(l->attach_rate, 5);
    assert_int_equal(l->list_rate, 7);
}

static void warns(const char *text, const char *warning) {
    _cleanup_(policy_freep) struct policy *policy = load(text);

    assert_string_equal(policy_warning(policy, 0) ?: "", warning);
    if (*warning)
        assert_null(policy_warning(policy, 1));
}

static void test_warnings(void **state) {
    char text[4096] = "{\"version\":1,\"vmms\":[";
    size_t size = strlen(text);

    warns(RULE("\"match\":{\"user\":\"nobody-here\"}," VMS), "p.json:1:50: no user is called \"nobody-here\"; "
          "the rule can't match until there is one, and a reload");
    warns(RULE("\"match\":{\"group\":\"a\\nb\"}," VMS), "p.json:1:51: no group is called \"a?b\"; "
          "the rule can't match until there is one, and a reload");
    warns(RULE("\"match\":{\"unit\":\"vm@*.service\"}," VMS), "p.json:1:22: rule \"v\": every unit that matches "
          "reaches every VM; \"vms\": [\"${vm}\"] would tie each unit to its own");
    warns(RULE("\"match\":{\"unit\":\"vm@*.service\"},\"vms\":[\"web-*\",\"${vm}\"]"), "");
    warns(RULE("\"match\":{\"unit\":\"vm@${vm}.service\"}," VMS), "");
    warns(RULE("\"match\":{\"unit\":\"vm.service\"}," VMS), "");
    warns(DEVICE("\"regions\":[" REGION "],\"interrupts\":[4]"), "p.json:1:25: rule \"d\": interrupts are listed, "
          "but the feature \"interrupts\" is not");
    for (int i = 0; i < 17; i++)
        size += (size_t) sprintf(text + size, "%s{\"name\":\"r%d\"," MATCH "," VMS "}", i ? ",\n" : "", i);
    strcpy(text + size, "]}");
    warns(text, "p.json:17:1: 17 rules of \"vmms\" have no unit, or a unit that begins with a wildcard; "
          "these are asked one after the other");
}

/* A folder for one test. */
struct folder {
    char path[32], file[64];
};

static const char *in(struct folder *f, const char *name) {
    snprintf(f->file, sizeof(f->file), "%s/%s", f->path, name);
    return f->file;
}

static void put(struct folder *f, const char *name, const char *text) {
    FILE *file = fopen(in(f, name), "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int set_up(void **state) {
    static struct folder f;

    strcpy(f.path, "/tmp/test-policy-XXXXXX");
    *state = &f;
    return mkdtemp(f.path) ? 0 : -1;
}

static int tear_down(void **state) {
    static const char *const names[] = {"a.json", "b.json", "c.json", ".d.json", "e.txt", ".json"};
    struct folder *f = *state;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        remove(in(f, names[i]));
    return rmdir(f->path);
}

static void folder_fails(struct folder *f, int error, const char *name, const char *part) {
    struct policy *policy = NULL;
    char *message = NULL;

    assert_int_equal(policy_load_directory(f->path, &test_accounts, &policy, &message), error);
    assert_null(policy);
    assert_memory_equal(message, in(f, name), strlen(f->file));
    if (!strstr(message, part))
        fail_msg("%s", message);
    free(message);
}

static void test_directory(void **state) {
    struct folder *f = *state;
    struct policy_subject root = {.unit = "a.service"};
    struct policy_register question = {.vm = "x", .dispatch = POLICY_DISPATCH_VMM};
    struct policy_verdict verdict;
    struct policy *policy = NULL;
    char *error = NULL;

    assert_int_equal(policy_load_directory(f->path, &test_accounts, &policy, &error), 0);
    policy_check_register(policy, &root, &question, &verdict);
    assert_false(verdict.allowed);
    policy = policy_free(policy);
    put(f, "b.json", "{\"version\":1,\"vmms\":[{\"name\":\"b\"," MATCH "," VMS "}],\"limits\":{\"vms\":7}}");
    put(f, "a.json", "{\"version\":1,\"vmms\":[{\"name\":\"a\"," MATCH ",\"vms\":[\"x\"]}],"
        "\"limits\":{\"vms-per-user\":3}}");
    put(f, ".d.json", "not read");
    put(f, ".json", "not read");
    put(f, "e.txt", "not read");
    assert_int_equal(policy_load_directory(f->path, &test_accounts, &policy, &error), 0);
    policy_check_register(policy, &root, &question, &verdict);
    assert_string_equal(verdict.rule, "a");
    question.vm = "y";
    policy_check_register(policy, &root, &question, &verdict);
    assert_string_equal(verdict.rule, "b");
    assert_int_equal(policy_limits(policy)->vms, 7);
    assert_int_equal(policy_limits(policy)->vms_per_user, 3);
    policy_free(policy);
}

static void test_conflicts_of_files(void **state) {
    struct folder *f = *state;

    put(f, "a.json", "{\"version\":1,\"vmms\":[{\"name\":\"a\"," MATCH "," VMS "}],\"limits\":{\"vms\":7}}");
    put(f, "b.json", "{\"version\":1,\n\"limits\":{\"vms\":7}}");
    folder_fails(f, -EBADMSG, "b.json", ":2:17: the limit \"vms\" is set twice; ");
    put(f, "b.json", "{\"version\":1,\n\"vmms\":[{\"name\":\"a\"," MATCH "," VMS "}]}");
    folder_fails(f, -EBADMSG, "b.json", ":2:9: a second rule called \"a\"; the first is at ");
}

static void test_66_files(void **state) {
    struct folder *f = *state;
    _cleanup_(freep) char *big = malloc((1 << 20) + 3);
    const char *path;
    struct policy *policy = NULL;
    char *error = NULL;

    assert_non_null(big);
    memset(big, ' ', (1 << 20) + 2);
    big[(1 << 20) + 2] = '\0';
    put(f, "a.json", big);
    folder_fails(f, -EBADMSG, "a.json", ":1:1: the text has 1048577 bytes");
    remove(in(f, "a.json"));
    assert_int_equal(symlink("nowhere", in(f, "a.json")), 0);
    folder_fails(f, -ENOENT, "a.json", ":1:1: can't be read: No such file");
    remove(in(f, "a.json"));
    assert_int_equal(mkfifo(in(f, "a.json"), 0600), 0);
    folder_fails(f, -EINVAL, "a.json", "regular file");
    remove(in(f, "a.json"));
    assert_int_equal(mkdir(in(f, "a.json"), 0700), 0);
    folder_fails(f, -EISDIR, "a.json", "Is a directory");
    remove(in(f, "a.json"));
    assert_int_equal(symlink("/proc/self/mem", in(f, "a.json")), 0);
    folder_fails(f, -EIO, "a.json", "Input/output error");
    remove(in(f, "a.json"));
    put(f, "a.json", "{\"version\":1,\"vm");
    folder_fails(f, -EBADMSG, "a.json", ":1:17: the string has no end");
    assert_int_equal(policy_load_directory(in(f, "a.json"), &test_accounts, &policy, &error), -ENOTDIR);
    free(error);
    assert_int_equal(policy_load_directory("/nonexistent", &test_accounts, &policy, &error), 0);
    policy_free(policy);
    path = in(f, "a.json");
    put(f, "a.json", "{\"version\":1}");
    assert_int_equal(policy_load_files(&path, 1, NULL, &policy, &error), 0);
    policy_free(policy);
}

/* 66: a text of the largest size costs time in proportion; a quadratic step would run into the test's time limit. */
static void test_66_large_texts(void **state) {
    static const struct {
        const char *begin, *item, *end, *place;
    } cases[] = {
        {"{\"version\":1,\"vmms\":[", "{},", "{}]}", "1:22"},
        {"{\"version\":1,\"reserved\":[", "{\"space\":\"pio\",\"base\":\"1\",\"size\":\"1\",\"why\":\"\"},", "{}]}", NULL},
        {"{\"version\":1,\"devices\":[{\"name\":\"d\"," MATCH "," VMS ",\"regions\":[", REGION ",", REGION "]}]}", NULL},
        {"{\"version\":1,\"devices\":[{\"name\":\"d\"," MATCH ",\"vms\":[", "\"a\",", "\"a\"],\"regions\":[" REGION "]}]}",
         NULL},
        {"[", "[],", "[]]", "1:1"},
        {"{\"version\":1,\"x\":\"", "\\u0041", "\"}", "1:14"},
    };
    _cleanup_(freep) char *text = malloc(1 << 20);

    assert_non_null(text);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size = (size_t) sprintf(text, "%s", cases[i].begin);
        struct policy *policy = NULL;
        char *error = NULL;

        while (size + strlen(cases[i].item) + strlen(cases[i].end) < 1 << 20)
            size += (size_t) sprintf(text + size, "%s", cases[i].item);
        size += (size_t) sprintf(text + size, "%s", cases[i].end);
        if (cases[i].place)
            load_fails(text, size, cases[i].place, "");
        else if (policy_load_text("p", text, size, &test_accounts, &policy, &error) < 0)
            assert_non_null(error);
        free(error);
        policy_free(policy);
    }
}

static void test_shipped(void **state) {
    static const char *const folders[] = {SOURCE_ROOT "/policy/default.json", SOURCE_ROOT "/policy/examples/single-host.json",
                                          SOURCE_ROOT "/policy/examples/fleet.json",
                                          SOURCE_ROOT "/policy/examples/locked-down.json"};

    for (size_t i = 0; i < 4; i++) {
        const char *files[] = {folders[0], folders[i]};
        struct policy *policy = NULL;
        char *error = NULL;

        /* Each example alone, and beside the default. */
        if (policy_load_files(files + 1, 1, &test_accounts, &policy, &error) < 0)
            fail_msg("%s", error);
        policy_free(policy);
        if (i && policy_load_files(files, 2, &test_accounts, &policy, &error) < 0)
            fail_msg("%s", error);
        if (i)
            policy_free(policy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_loaded),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test_setup_teardown(test_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_conflicts_of_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_66_files, set_up, tear_down),
        cmocka_unit_test(test_66_large_texts),
        cmocka_unit_test(test_shipped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
