/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions and verdicts. */

#include <ioregion/wire.h>

#include "policy-test.h"

static const char text[] =
    "{\"version\":1,"
    "\"vmms\":["
    " {\"name\":\"guests\",\"match\":{\"unit\":\"vm-${vm}.service\",\"user\":\"qemu\"},\"vms\":[\"${vm}\"],"
    "  \"dispatch\":[\"vmm\"],\"features\":[\"posted-writes\",\"replay\"]},"
    " {\"name\":\"lab\",\"match\":{\"group\":\"kvm\"},\"vms\":[\"lab-*\"]},"
    " {\"name\":\"kernel\",\"match\":{\"user\":\"root\"},\"vms\":[\"k\"],\"dispatch\":[\"kernel\"]},"
    " {\"name\":\"open\",\"match\":{\"unit\":\"open-${vm}.service\"},\"vms\":[\"*\"]},"
    " {\"name\":\"ghost\",\"match\":{\"user\":\"no-such-user\"},\"vms\":[\"*\"]}],"
    "\"devices\":["
    " {\"name\":\"uarts\",\"match\":{\"unit\":\"uart@*.service\"},\"vms\":[\"${vm}\"],"
    "  \"regions\":[{\"space\":\"pio\",\"base\":\"0x3f8\",\"size\":\"8\"},"
    "   {\"space\":\"mmio\",\"within\":[\"0xd0000000\",\"0xd0ffffff\"],\"align\":\"4K\",\"max-size\":\"64K\"}],"
    "  \"features\":[\"posted-writes\",\"interrupts\"],\"interrupts\":[4,7],\"limits\":{\"regions\":2,\"channels\":2},"
    "  \"timeout\":\"1s\",\"on-disconnect\":[\"hold\",\"ones\"],\"grace\":\"3s\"},"
    " {\"name\":\"second\",\"match\":{\"unit\":\"uart@*\"},\"vms\":[\"*\"],\"regions\":[{\"space\":\"pio\",\"base\":\"1\",\"size\":\"1\"}]},"
    " {\"name\":\"named\",\"match\":{\"unit\":\"dev@${vm}:${device}.service\"},\"vms\":[\"${vm}\"],"
    "  \"regions\":[{\"space\":\"mmio\",\"within\":[\"0xffffffffffff0000\",\"0xffffffffffffffff\"],\"align\":\"16\"}]},"
    " {\"name\":\"boss\",\"override\":true,\"match\":{\"user\":\"root\"},\"vms\":[\"*\"],"
    "  \"regions\":[{\"space\":\"pio\",\"within\":[\"0\",\"0xffff\"]}],\"on-disconnect\":[\"remove\"]},"
    " {\"name\":\"plain\",\"match\":{\"user\":\"uart\"},\"vms\":[\"*\"],"
    "  \"regions\":[{\"space\":\"pio\",\"base\":\"0x2f8\",\"size\":\"8\"}]}],"
    "\"reserved\":[{\"space\":\"pio\",\"base\":\"0x20\",\"size\":\"2\",\"why\":\"PIC\"}],"
    "\"operators\":[{\"name\":\"admin\",\"match\":{\"user\":\"qemu\",\"group\":\"sudo\"}},{\"name\":\"kvm\",\"match\":{\"group\":\"kvm\"}}]}";

static struct policy *policy;

static int set_up(void **state) {
    policy = load(text);
    return 0;
}

static int tear_down(void **state) {
    policy = policy_free(policy);
    return 0;
}

static const gid_t kvm[] = {5, 106};
static const struct policy_subject nobody = {.uid = 65534};
static const struct policy_subject root = {.uid = 0};

static void check_verdict(const struct policy_verdict *v, bool allowed, const char *rule, const char *part) {
    if (v->allowed != allowed || strcmp(v->rule, rule) || !strstr(v->reason, part))
        fail_msg("%d %s: %s\n not %d %s: %s", v->allowed, v->rule, v->reason, allowed, rule, part);
    if (!allowed)
        assert_true(!v->features && !v->timeout_usec && !v->grace_usec && !v->on_disconnect && !v->dispatch);
}

static void test_register(void **state) {
    static const struct {
        struct policy_subject who;
        const char *vm;
        unsigned dispatch;
        bool allowed;
        const char *rule, *part;
    } cases[] = {
        {{"vm-a.service", 64055}, "a", 3, true, "guests", "rule guests lets the caller register VM a"},
        {{"vm-a.service", 64055}, "b", 3, false, "default", "unit vm-a.service (uid 64055) and VM b"},
        {{"vm-a-b.service", 64055}, "b", 3, false, "default", ""},
        {{"vm-a\\x2db.service", 64055}, "a-b", 3, true, "guests", ""},
        {{"vm-a.service", 1}, "a", 3, false, "default", ""},
        {{NULL, 64055}, "a", 3, false, "default", "a caller without a unit (uid 64055) and VM a"},
        {{"vm-a.service", 64055}, "a", POLICY_DISPATCH_KERNEL, false, "guests", "the rule allows vmm"},
        {{"vm-a.service", 64055}, "a", 0, false, "guests", "dispatcher"},
        {{NULL, 0}, "k", POLICY_DISPATCH_VMM, false, "kernel", "the rule allows kernel"},
        {{NULL, 0}, "k", POLICY_DISPATCH_KERNEL, true, "kernel", ""},
        {{NULL, 9, kvm, 2}, "lab-1", POLICY_DISPATCH_KERNEL, true, "lab", ""},
        {{NULL, 9, kvm, 2}, "lab-1", 0, false, "lab", "the rule allows both"},
        {{"x.service", 9, kvm, 2}, "lab-1", 1, true, "lab", ""},
        {{NULL, 9, kvm, 1}, "lab-1", 1, false, "default", ""},
        {{NULL, 9, kvm, 2}, "prod-1", 1, false, "default", ""},
        {{NULL, 9, kvm, 2}, "lab-*\n", 1, false, "default", "\"lab-*?\" is no valid VM name"},
        {{"open-a.service", 1}, "a", 1, true, "open", ""},
        {{"open-a.service", 1}, "b", 1, false, "default", ""},
        /* A rule for an unknown account is for nobody, least of all for root. */
        {{NULL, 0}, "x", 3, false, "default", ""},
        {{NULL, 0}, "", 1, false, "default", "no valid VM name"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct policy_register question = {cases[i].vm, cases[i].dispatch};
        struct policy_verdict v;

        policy_check_register(policy, &cases[i].who, &question, &v);
        check_verdict(&v, cases[i].allowed, cases[i].rule, cases[i].part);
    }
}

static void test_register_verdict(void **state) {
    struct policy_subject qemu = {"vm-a.service", 64055}, lab = {NULL, 9, kvm, 2};
    struct policy_register question = {"a", 3}, other = {"lab-x", 3};
    struct policy_verdict v;

    policy_check_register(policy, &qemu, &question, &v);
    assert_int_equal(v.features, IOREGION_FEATURE_POSTED_WRITES | IOREGION_FEATURE_REPLAY);
    assert_int_equal(v.dispatch, POLICY_DISPATCH_VMM);
    policy_check_register(policy, &lab, &other, &v);
    assert_int_equal(v.features, 0);
    assert_int_equal(v.dispatch, POLICY_DISPATCH_VMM | POLICY_DISPATCH_KERNEL);
}

/* One region on the device rule of a subject. */
static void region(const struct policy_subject *who, uint32_t space, uint64_t base, uint64_t size, bool allowed,
                   const char *rule, const char *part) {
    struct ioregion_region r = {.space = space, .base = base, .size = size};
    struct policy_attach question = {.vm = "a", .device = "u", .regions = &r, .n_regions = 1, .channels = 1};
    struct policy_verdict v;

    if (!who->unit && who->uid == 0)
        question.on_disconnect = IOREGION_ON_DISCONNECT_REMOVE;
    policy_check_attach(policy, who, &question, &v);
    check_verdict(&v, allowed, rule, part);
}

static void test_regions(void **state) {
    struct policy_subject uart = {"uart@a.service", 1}, dev = {"dev@a:u.service", 1}, plain = {NULL, 990};

    region(&uart, IOREGION_PIO, 0x3f8, 8, true, "uarts", "attach device u to VM a");
    region(&uart, IOREGION_PIO, 0x3f8, 4, false, "uarts",
           "region pio 0x3f8-0x3fb is not allowed; the rule allows exactly pio 0x3f8-0x3ff, and others");
    region(&uart, IOREGION_PIO, 0x3f9, 7, false, "uarts", "exactly");
    region(&uart, IOREGION_PIO, 0x3f8, 9, false, "uarts", "exactly");
    region(&uart, IOREGION_MMIO, 0x3f8, 8, false, "uarts", "region mmio 0x3f8-0x3ff is not allowed");
    region(&uart, IOREGION_MMIO, 0xd0000000, 0x10000, true, "uarts", "");
    region(&uart, IOREGION_MMIO, 0xd0fff000, 0x1000, true, "uarts", "");
    region(&uart, IOREGION_MMIO, 0xd0fff000, 0x1001, false, "uarts",
           "within mmio 0xd0000000-0xd0ffffff, aligned to 0x1000, at most 0x10000 bytes, and others");
    region(&uart, IOREGION_MMIO, 0xd0000800, 8, false, "uarts", "aligned to 0x1000");
    region(&uart, IOREGION_MMIO, 0xd0000000, 0x10001, false, "uarts", "at most");
    region(&uart, IOREGION_MMIO, 0xcffff000, 0x2000, false, "uarts", "within");
    region(&uart, IOREGION_PIO, 0x3f8, 0, false, "uarts", "is no range");
    region(&uart, 2, 0x3f8, 8, false, "uarts", "is no range");
    region(&uart, IOREGION_MMIO, UINT64_MAX, 2, false, "uarts", "is no range");
    region(&uart, IOREGION_MMIO, 1, UINT64_MAX, false, "uarts", "is not allowed");
    /* Up to the very end of the address space. */
    region(&dev, IOREGION_MMIO, 0xffffffffffff0000, 0x10000, true, "named", "");
    region(&dev, IOREGION_MMIO, 0xfffffffffffffff0, 16, true, "named", "");
    region(&dev, IOREGION_MMIO, 0xfffffffffffffff8, 8, false, "named", "aligned to 0x10");
    region(&dev, IOREGION_MMIO, 0xffffffffffff0000, 0x10001, false, "named", "is no range");
    /* What is reserved stays so, but for a rule that says otherwise. */
    region(&plain, IOREGION_PIO, 0x20, 1, false, "reserved", "overlaps 0x20-0x21, which is reserved: PIC");
    region(&plain, IOREGION_PIO, 0x1f, 2, false, "reserved", "PIC");
    region(&plain, IOREGION_PIO, 0x1f, 1, false, "plain", "the rule allows exactly pio 0x2f8-0x2ff");
    region(&plain, IOREGION_MMIO, 0x20, 1, false, "plain", "");
    region(&root, IOREGION_PIO, 0x20, 1, true, "boss", "");
    region(&root, IOREGION_PIO, 0xffff, 2, false, "boss", "within pio 0x0-0xffff");
    region(&nobody, IOREGION_PIO, 0x20, 1, false, "default", "no rule of \"devices\"");
}

static void test_attach(void **state) {
    static const uint32_t interrupts[] = {7, 4}, others[] = {4, 5};
    static const struct ioregion_region serial[] = {
        {.space = IOREGION_PIO, .base = 0x3f8, .size = 8},
        {.space = IOREGION_MMIO, .base = 0xd0000000, .size = 8},
        {.space = IOREGION_MMIO, .base = 0xd0001000, .size = 8}};
    struct policy_subject uart = {"uart@a.service", 1};
    struct policy_attach q = {"a", "u", serial, 2, 2, 1000000, IOREGION_ON_DISCONNECT_HOLD, interrupts, 2};
    struct policy_attach asked;
    struct policy_verdict v;

#define CHECK(change, is_allowed, part)                 \
    do {                                                \
        asked = q;                                      \
        change;                                         \
        policy_check_attach(policy, &uart, &asked, &v); \
        check_verdict(&v, is_allowed, "uarts", part);   \
    } while (0)

    CHECK(, true, "");
    assert_int_equal(v.features, IOREGION_FEATURE_POSTED_WRITES | IOREGION_FEATURE_INTERRUPTS);
    assert_int_equal(v.timeout_usec, 1000000);
    assert_int_equal(v.grace_usec, 3000000);
    assert_int_equal(v.on_disconnect, 3);
    CHECK(asked.n_regions = 3, false, "3 regions are too many; the rule allows 2");
    CHECK(asked.channels = 3, false, "3 channels are too many; the rule allows 2");
    CHECK(asked.timeout_usec = 1000001, false, "1000001 us is too long; the rule allows 1000000 us");
    CHECK(asked.timeout_usec = 0, true, "");
    CHECK(asked.on_disconnect = IOREGION_ON_DISCONNECT_ONES, true, "");
    CHECK(asked.on_disconnect = IOREGION_ON_DISCONNECT_REMOVE, false,
          "on-disconnect remove is not allowed; the rule allows ones hold");
    CHECK(asked.on_disconnect = 3, false, "on-disconnect 3 is unknown");
    CHECK(asked.interrupts = others, false, "interrupt 5 is not allowed; the rule lists 2 others");
    CHECK(asked.n_interrupts = 0, true, "");
    CHECK(asked.regions = serial + 1, true, "");
}

/* The first selected rule decides alone: "second" would have allowed this. */
static void test_first_decides(void **state) {
    struct policy_subject uart = {"uart@a.service", 1};
    struct ioregion_region r = {.space = IOREGION_PIO, .base = 1, .size = 1};
    struct policy_attach q = {.vm = "a", .device = "u", .regions = &r, .n_regions = 1, .channels = 1};
    struct policy_verdict v;

    policy_check_attach(policy, &uart, &q, &v);
    check_verdict(&v, false, "uarts", "pio 0x1-0x1");
    q.vm = "b";
    policy_check_attach(policy, &uart, &q, &v);
    check_verdict(&v, true, "second", "");
    assert_int_equal(v.timeout_usec, 1000000);
    assert_int_equal(v.grace_usec, 5000000);
    assert_int_equal(v.on_disconnect, POLICY_ON_DISCONNECT(IOREGION_ON_DISCONNECT_ONES));
}

static void test_device_names(void **state) {
    struct policy_subject dev = {"dev@a:u.service", 1};
    struct policy_attach q = {.vm = "a", .device = "u", .channels = 1};
    struct policy_verdict v;

    policy_check_attach(policy, &dev, &q, &v);
    check_verdict(&v, true, "named", "");
    q.device = "w";
    policy_check_attach(policy, &dev, &q, &v);
    check_verdict(&v, false, "default", "dev@a:u.service");
    q = (struct policy_attach){.vm = "b", .device = "u", .channels = 1};
    policy_check_attach(policy, &dev, &q, &v);
    check_verdict(&v, false, "default", "VM b");
}

/* 61: names can't forge text: the reason is printable, and ends in time. */
static void test_61_names(void **state) {
    char name[400];
    struct policy_subject evil = {.unit = name};
    struct policy_attach q = {.vm = "a", .device = "u\x1b[31m", .channels = 1};
    struct policy_verdict v;

    memset(name, '\n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    policy_check_attach(policy, &nobody, &q, &v);
    check_verdict(&v, false, "default", "\"u?[31m\"");
    q.device = "u";
    evil.uid = 77;
    policy_check_attach(policy, &evil, &q, &v);
    check_verdict(&v, false, "default", "unit ????????");
    assert_null(strchr(v.reason, '\n'));
    q.device = name;
    policy_check_attach(policy, &evil, &q, &v);
    assert_true(strlen(v.reason) < sizeof(v.reason));
}

static void test_operators(void **state) {
    static const gid_t sudo[] = {27};
    _cleanup_(policy_freep) struct policy *none = load("{\"version\":1,\"operators\":[]}");
    struct policy_subject admin = {.uid = 64055, .gids = sudo, .n_gids = 1}, half = {.uid = 64055};
    struct policy_subject group = {.uid = 5, .gids = kvm, .n_gids = 2};

    assert_string_equal(policy_operator(policy, &admin), "admin");
    assert_null(policy_operator(policy, &half));
    assert_string_equal(policy_operator(policy, &group), "kvm");
    assert_null(policy_operator(policy, &root));
    assert_string_equal(policy_operator(none, &root), "default");
    assert_null(policy_operator(none, &admin));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_register),      cmocka_unit_test(test_register_verdict), cmocka_unit_test(test_regions),
        cmocka_unit_test(test_attach),        cmocka_unit_test(test_first_decides),    cmocka_unit_test(test_device_names),
        cmocka_unit_test(test_61_names),      cmocka_unit_test(test_operators),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
