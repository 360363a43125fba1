/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Attach and register, against a played system bus: a socket on which the test itself answers, with the bus driver's
 * Hello and with the broker's part. What the broker does is scripted, one step a call.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-id128.h>

#include "played-broker.h"
#include <ioregion/device.h>
#include "call.h"

enum step {
    GRANT,         /* challenge, grant, then the reply: all well */
    GRANT_ONLY,    /* the reply never comes */
    REPLY_ONLY,    /* the reply, but no grant */
    HANG_UP,       /* of the lease, then an error */
    ERROR,         /* at once */
    OLD_VERSION,   /* a challenge that we can't answer */
    WRONG_MESSAGE, /* on the lease, before the grant */
    LONG_MESSAGE,
    WRONG_GRANT, /* a channel too many */
    DISCONNECT,  /* the bus goes away */
};

struct bus {
    struct played_thread thread;
    char path[64];
    int listener;
    const enum step *script;
    const char *error; /* for the steps that send one */
    unsigned calls;
    uint32_t channels, regions; /* to grant */
    uint64_t features;
    int lease; /* of the last call */
    int channel;
    char seen[1024]; /* of the last call, flattened */
};

/* What a descriptor in a message is. */
static void flatten_fd(sd_bus_message *message, char *text, size_t size) {
    char path[32];
    ssize_t n;
    int fd;

    assert_true(sd_bus_message_read(message, "h", &fd) >= 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, text, size - 2);
    assert_true(n > 0);
    strcpy(text + n, " ");
}

/* All values of a message in their order, as text. */
static void flatten(sd_bus_message *message, char *text, size_t size) {
    const char *contents;
    char type;

    while (sd_bus_message_peek_type(message, &type, &contents) > 0) {
        size_t length = strlen(text);
        const char *string;
        uint64_t number = 0;

        if (strchr("a(v{re", type)) {
            assert_true(sd_bus_message_enter_container(message, type, contents) >= 0);
            flatten(message, text, size);
            assert_true(sd_bus_message_exit_container(message) >= 0);
        } else if (type == 's') {
            assert_true(sd_bus_message_read(message, "s", &string) >= 0);
            snprintf(text + length, size - length, "%s ", string);
        } else if (type == 'h' && strcmp(sd_bus_message_get_signature(message, false), "h") == 0) {
            flatten_fd(message, text + length, size - length);
        } else if (type == 'h') {
            return; /* the lease */
        } else {
            assert_true(sd_bus_message_read_basic(message, type, &number) >= 0);
            snprintf(text + length, size - length, "%llu ", (unsigned long long) number);
        }
    }
}

static void prove(int lease) {
    struct ioregion_lease_challenge challenge = {
        .header = {IOREGION_LEASE_CHALLENGE, sizeof(challenge)}, .min_version = 1, .max_version = 7, .nonce = "abc"};
    struct ioregion_lease_proof proof;

    played_send(lease, &challenge, sizeof(challenge), NULL, 0);
    played_await(lease);
    assert_int_equal(recv(lease, &proof, sizeof(proof), 0), sizeof(proof));
    assert_int_equal(proof.header.type, IOREGION_LEASE_PROOF);
    assert_int_equal(proof.version, 1);
    assert_memory_equal(proof.nonce, challenge.nonce, sizeof(proof.nonce));
}

static void grant(struct bus *bus, uint32_t surplus) {
    struct ioregion_lease_grant message = {
        .header = {IOREGION_LEASE_GRANT, sizeof(message)}, .features = bus->features, .timeout_usec = 1234,
        .channels = bus->channels + surplus, .regions = bus->regions};
    int fds[8], pair[2];

    for (uint32_t i = 0; i < message.channels; i++) {
        played_pair(pair);
        fds[i] = pair[1];
        close(bus->channel);
        bus->channel = pair[0];
    }
    played_send(bus->lease, &message, sizeof(message), fds, message.channels);
    for (uint32_t i = 0; i < message.channels; i++)
        close(fds[i]);
}

static int reply(sd_bus_message *call, const char *error) {
    if (error)
        return sd_bus_reply_method_errorf(call, error, "words of the broker");
    return sd_bus_reply_method_return(call, "s", "done");
}

static int broker(struct bus *bus, sd_bus_message *call) {
    struct ioregion_lease_challenge old = {{IOREGION_LEASE_CHALLENGE, sizeof(old)}, .min_version = 2, .max_version = 3};
    struct ioregion_lease_region_remove wrong = {.header = {IOREGION_LEASE_REGION_REMOVE, sizeof(wrong)}};
    enum step step = bus->script[bus->calls++];
    int lease;

    bus->seen[0] = '\0';
    flatten(call, bus->seen, sizeof(bus->seen));
    assert_true(sd_bus_message_read(call, "h", &lease) > 0);
    close(bus->lease);
    bus->lease = dup(lease);

    switch (step) {
    case GRANT:
    case GRANT_ONLY:
    case WRONG_GRANT:
        prove(bus->lease);
        grant(bus, step == WRONG_GRANT);
        return step == GRANT ? reply(call, NULL) : 0;
    case OLD_VERSION:
        played_send(bus->lease, &old, sizeof(old), NULL, 0);
        return 0;
    case WRONG_MESSAGE:
        played_send(bus->lease, &wrong, sizeof(wrong), NULL, 0);
        return 0;
    case LONG_MESSAGE:
        played_send(bus->lease, &old, sizeof(old) - 1, NULL, 0);
        return 0;
    case HANG_UP:
        shutdown(bus->lease, SHUT_RDWR);
        return reply(call, bus->error);
    case DISCONNECT:
        return -ECONNRESET;
    default:
        return reply(call, step == ERROR ? bus->error : NULL);
    }
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
    if (sd_bus_message_is_method_call(message, "org.freedesktop.DBus", "Hello"))
        return sd_bus_reply_method_return(message, "s", ":1.1") < 0 ? -EIO : 1;
    if (sd_bus_message_is_method_call(message, "org.ioregion1.Manager", NULL))
        return broker(userdata, message) < 0 ? -ECONNRESET : 1;
    return 0;
}

/* One connection, until the client leaves. */
static void *bus_run(void *argument) {
    struct bus *bus = ((struct played_thread *) argument)->argument;
    sd_id128_t id = SD_ID128_NULL;
    sd_bus *server;
    int fd, r;

    fd = accept4(bus->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(sd_bus_new(&server) >= 0 && sd_bus_set_fd(server, fd, fd) >= 0);
    assert_true(sd_bus_set_server(server, 1, id) >= 0 && sd_bus_negotiate_fds(server, 1) >= 0);
    assert_true(sd_bus_add_filter(server, NULL, on_message, bus) >= 0 && sd_bus_start(server) >= 0);
    do
        r = sd_bus_process(server, NULL);
    while (r > 0 || (r == 0 && sd_bus_wait(server, 10000000) > 0));
    sd_bus_flush_close_unref(server);
    return NULL;
}

static void bus_start(struct bus *bus, const enum step *script) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char variable[96];

    *bus = (struct bus){.script = script, .regions = 1, .channels = 1, .lease = -1, .channel = -1};
    snprintf(bus->path, sizeof(bus->path), "/tmp/ioregion-test-call-%d", getpid());
    snprintf(variable, sizeof(variable), "unix:path=%s", bus->path);
    setenv("DBUS_SYSTEM_BUS_ADDRESS", variable, 1);
    strcpy(address.sun_path, bus->path);
    bus->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(bus->listener, (struct sockaddr *) &address, sizeof(address)), 0);
    assert_int_equal(listen(bus->listener, 1), 0);
    played_thread_start(&bus->thread, bus_run, -1, bus);
}

static void bus_end(struct bus *bus) {
    played_thread_end(&bus->thread);
    unlink(bus->path);
    close(bus->listener);
    close(bus->lease);
    close(bus->channel);
}

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    return 0x42;
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
}

static void on_resumed(void *userdata) {
    ++*(int *) userdata;
}

static const struct ioregion_device_ops ops = {sizeof(ops), on_read, on_write, on_resumed, NULL};
static const struct ioregion_region region = {.space = IOREGION_PIO, .base = 0x378, .size = 8, .user_data = 5};

static int attach(struct ioregion_device **ret_device) {
    return ioregion_device_attach(ret_device, "vm0", "dev0", &region, 1, NULL, &ops, NULL);
}

static void test_attach(void **state) {
    static const enum step steps[] = {GRANT_ONLY, GRANT};

    for (int i = 0; i < 2; i++) {
        static const struct ioregion_device_options options = {.struct_size = sizeof(options),
                                                               .want = IOREGION_FEATURE_REPLAY};
        struct ioregion_device *device;
        struct bus bus;

        bus_start(&bus, steps + i);
        bus.features = IOREGION_FEATURE_REPLAY;
        assert_int_equal(ioregion_device_attach(&device, "vm0", "dev0", &region, 1, &options, &ops, NULL), 0);
        bus_end(&bus);
        assert_string_equal(bus.seen, "vm0 dev0 pio 888 8 5 want replay ");
        assert_true(ioregion_device_features(device) == IOREGION_FEATURE_REPLAY);
        assert_int_equal(ioregion_device_timeout_usec(device), 1234);
        assert_null(ioregion_device_free(device));
    }
}

/* Everything that can be asked for is sent, by name. */
static void test_options(void **state) {
    static const struct ioregion_region regions[] = {
        {.space = IOREGION_MMIO, .base = 0x1000, .size = 16, .user_data = 1, .flags = IOREGION_REGION_POSTED},
        {.space = IOREGION_PIO, .base = 0x10, .size = 1, .user_data = 2, .channel = 1}};
    static const struct ioregion_device_options options = {
        .struct_size = sizeof(options), .require = IOREGION_FEATURE_POSTED_WRITES,
        .want = IOREGION_FEATURE_REPLAY | IOREGION_FEATURE_STATE, .timeout_usec = 5000, .on_disconnect = "hold",
        .channels = 2};
    static const enum step step = GRANT;
    struct ioregion_device *device;
    struct bus bus;
    int lease, channels[2];

    bus_start(&bus, &step);
    bus.features = IOREGION_FEATURE_POSTED_WRITES;
    bus.channels = bus.regions = 2;
    assert_int_equal(ioregion_device_attach(&device, "v", "d", regions, 2, &options, &ops, NULL), 0);
    bus_end(&bus);
    assert_string_equal(bus.seen, "v d mmio 4096 16 1 posted 1 pio 16 1 2 channel 1 require posted-writes "
                                  "want replay state channels 2 timeout-usec 5000 on-disconnect hold ");
    assert_int_equal(ioregion_device_take_fds(device, &lease, channels, 1), -EINVAL);
    assert_int_equal(ioregion_device_take_fds(device, &lease, channels, 2), 0);
    assert_int_equal(ioregion_device_run(device), -ECONNRESET);
    ioregion_device_free(device);
    assert_true(write(lease, "x", 1) < 0 && errno == EPIPE); /* still open, though the bus end is closed */
    close(lease);
    close(channels[0]);
    close(channels[1]);
}

static void test_resume(void **state) {
    static const enum step script = GRANT;
    struct ioregion_device *device;
    int resumed = 0;
    struct bus bus;

    bus_start(&bus, &script);
    assert_int_equal(ioregion_device_attach(&device, "vm0", "dev0", &region, 1, NULL, &ops, &resumed), 0);
    bus_end(&bus);
    assert_int_equal(ioregion_device_run(device), -ECONNRESET);
    for (int i = 1; i <= 2; i++) {
        struct ioregion_response response = {.data = 0};

        bus_start(&bus, &script);
        assert_int_equal(ioregion_device_resume(device), 0);
        assert_int_equal(resumed, i);
        assert_int_equal(send(bus.channel, &(struct ioregion_command){.info = 0x40, .user_data = 5}, 32, 0), 32);
        assert_int_equal(ioregion_device_process(device), 0);
        assert_int_equal(recv(bus.channel, &response, sizeof(response), MSG_DONTWAIT), 32);
        assert_int_equal(response.data, 0x42);
        bus_end(&bus);
        assert_int_equal(ioregion_device_run(device), -ECONNRESET);
    }
    ioregion_device_free(device);
}

/* stop() is once and for all: whoever polls after a resume is woken all the same. */
static void test_stop_and_resume(void **state) {
    static const enum step script = GRANT;
    struct ioregion_device *device;
    int resumed = 0;
    struct bus bus;

    bus_start(&bus, &script);
    assert_int_equal(ioregion_device_attach(&device, "vm0", "dev0", &region, 1, NULL, &ops, &resumed), 0);
    bus_end(&bus);
    ioregion_device_stop(device);
    bus_start(&bus, &script);
    assert_int_equal(ioregion_device_resume(device), 0);
    played_await(ioregion_device_fd(device));
    assert_int_equal(ioregion_device_process(device), -EINTR);
    bus_end(&bus);
    ioregion_device_free(device);
}

/* No feature comes uninvited, and none that is required stays away. */
static void test_uninvited_features(void **state) {
    static const struct ioregion_device_options options = {
        .struct_size = sizeof(options), .require = IOREGION_FEATURE_REPLAY, .want = IOREGION_FEATURE_STATE};
    static const struct {
        uint64_t granted;
        int result;
    } cases[] = {{IOREGION_FEATURE_REPLAY, 0},
                 {IOREGION_FEATURE_REPLAY | IOREGION_FEATURE_STATE, 0},
                 {IOREGION_FEATURE_STATE, -EPROTO},
                 {IOREGION_FEATURE_REPLAY | IOREGION_FEATURE_POSTED_WRITES, -EPROTO},
                 {IOREGION_FEATURE_REPLAY | UINT64_C(1) << 63, -EPROTO}};
    static const enum step script = GRANT;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ioregion_device *device = NULL;
        struct bus bus;

        bus_start(&bus, &script);
        bus.features = cases[i].granted;
        assert_int_equal(ioregion_device_attach(&device, "v", "d", &region, 1, &options, &ops, NULL), cases[i].result);
        bus_end(&bus);
        ioregion_device_free(device);
    }
}

/* What each refusal becomes, with the broker's words. */
static void test_errors(void **state) {
    static const struct {
        const char *name;
        int error;
    } cases[] = {
        {"org.ioregion1.Error.PolicyDenied", -EACCES},
        {"org.ioregion1.Error.IdentityUnproven", -EACCES},
        {"org.ioregion1.Error.NoSuchVM", -ENOENT},
        {"org.ioregion1.Error.RegionOverlap", -EEXIST},
        {"org.ioregion1.Error.DeviceExists", -EEXIST},
        {"org.ioregion1.Error.VMExists", -EEXIST},
        {"org.ioregion1.Error.InvalidRegion", -EINVAL},
        {"org.ioregion1.Error.FeatureUnavailable", -EOPNOTSUPP},
        {"org.ioregion1.Error.QuotaExceeded", -EDQUOT},
        {"org.ioregion1.Error.VMGone", -ESRCH},
        {"org.ioregion1.Error.NotAVM", -EBADF},
        {"org.ioregion1.Error.NoDispatcher", -ENODEV},
        {"org.freedesktop.DBus.Error.AccessDenied", -EACCES},
        {"org.freedesktop.DBus.Error.ServiceUnknown", -EHOSTUNREACH},
        {"org.freedesktop.DBus.Error.Spawn.Failed", -EHOSTUNREACH},
        {"org.example.Surprise", -EIO},
    };
    static const enum step steps[] = {ERROR, HANG_UP};

    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
        struct ioregion_device *device = (void *) 1;
        char words[128];
        struct bus bus;

        bus_start(&bus, steps + i % 2);
        bus.error = cases[i / 2].name;
        assert_int_equal(attach(&device), cases[i / 2].error);
        assert_ptr_equal(device, (void *) 1);
        snprintf(words, sizeof(words), "%s: words of the broker", bus.error);
        assert_string_equal(ioregion_last_error(), words);
        bus_end(&bus);
        assert_int_equal(bus.calls, 1);
    }
}

static void test_broken_promises(void **state) {
    static const struct {
        enum step step;
        int error;
    } cases[] = {{REPLY_ONLY, -EPROTO},  {OLD_VERSION, -EPROTONOSUPPORT}, {WRONG_MESSAGE, -EPROTO},
                 {LONG_MESSAGE, -EPROTO}, {WRONG_GRANT, -EPROTO},         {DISCONNECT, -EHOSTUNREACH}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ioregion_device *device;
        struct bus bus;

        bus_start(&bus, &cases[i].step);
        assert_int_equal(attach(&device), cases[i].error);
        assert_string_not_equal(ioregion_last_error(), "");
        bus_end(&bus);
    }
}

/* Busy and LimitsExceeded are tried again, for a while. */
static void test_retry(void **state) {
    static const enum step three[] = {ERROR, ERROR, GRANT};
    enum step always[32];
    struct ioregion_device *device;
    struct bus bus;

    bus_start(&bus, three);
    bus.error = "org.ioregion1.Error.Busy";
    assert_int_equal(attach(&device), 0);
    bus_end(&bus);
    assert_int_equal(bus.calls, 3);
    ioregion_device_free(device);

    for (int i = 0; i < 32; i++)
        always[i] = ERROR;
    bus_start(&bus, always);
    bus.error = SD_BUS_ERROR_LIMITS_EXCEEDED;
    assert_int_equal(attach(&device), -EDQUOT);
    bus_end(&bus);
    assert_in_range(bus.calls, 4, 20);
}

static void test_register(void **state) {
    static const enum step step = GRANT, wrong = WRONG_GRANT;
    static const struct ioregion_range reserve = {.space = IOREGION_PIO, .base = 0x3f8, .size = 8};
    struct ioregion_vmm_options options = {
        .struct_size = sizeof(options), .has_ceiling = 1, .ceiling = IOREGION_FEATURE_REPLAY, .reserve = &reserve,
        .n_reserve = 1};
    struct ioregion_vmm *vmm;
    struct bus bus;
    char seen[64];

    bus_start(&bus, &step);
    bus.channels = bus.regions = 0;
    assert_int_equal(ioregion_vmm_register(&vmm, "vm0", NULL), 0);
    bus_end(&bus);
    assert_string_equal(bus.seen, "vm0 dispatch vmm ");
    ioregion_vmm_free(vmm);

    bus_start(&bus, &step);
    bus.channels = bus.regions = 0;
    assert_int_equal(ioregion_vmm_register(&vmm, "vm0", &options), 0);
    bus_end(&bus);
    assert_string_equal(bus.seen, "vm0 dispatch vmm ceiling replay reserve pio 1016 8 ");
    ioregion_vmm_free(vmm);

    options = (struct ioregion_vmm_options){.struct_size = sizeof(options), .dispatch = "auto", .has_vm_fd = 1};
    options.vm_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    bus_start(&bus, &step);
    bus.channels = bus.regions = 0;
    assert_int_equal(ioregion_vmm_register(&vmm, "vm0", &options), 0);
    bus_end(&bus);
    assert_string_equal(bus.seen, "vm0 dispatch auto vm-fd /dev/null ");
    ioregion_vmm_free(vmm);

    options.pid = (uint32_t) getpid();
    snprintf(seen, sizeof(seen), "vm0 dispatch auto vm-fd /dev/null process /proc/%u ", options.pid);
    bus_start(&bus, &step);
    bus.channels = bus.regions = 0;
    assert_int_equal(ioregion_vmm_register(&vmm, "vm0", &options), 0);
    bus_end(&bus);
    assert_string_equal(bus.seen, seen);
    ioregion_vmm_free(vmm);
    options.pid = 1U << 22; /* the kernel has none as high as this */
    assert_int_equal(ioregion_vmm_register(&vmm, "vm0", &options), -ENOENT);
    close(options.vm_fd);

    options = (struct ioregion_vmm_options){.struct_size = sizeof(options), .n_reserve = 1};

    bus_start(&bus, &wrong);
    assert_int_equal(ioregion_vmm_register(&vmm, "vm0", NULL), -EPROTO);
    bus_end(&bus);

    options.has_ceiling = 1;
    options.ceiling = 0x20;
    assert_int_equal(ioregion_vmm_register(&vmm, "vm0", &options), -EINVAL);
    options.ceiling = 0;
    options.reserve = &(struct ioregion_range){.space = IOREGION_PIO, .base = 0xffff, .size = 2};
    assert_int_equal(ioregion_vmm_register(&vmm, "vm0", &options), -EINVAL);
    options.struct_size = 0;
    assert_int_equal(ioregion_vmm_register(&vmm, "vm0", &options), -EINVAL);
}

static void test_no_bus(void **state) {
    struct ioregion_device *device;
    struct ioregion_vmm *vmm;

    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
    assert_int_equal(attach(&device), -EHOSTUNREACH);
    assert_int_equal(ioregion_vmm_register(&vmm, "vm0", NULL), -EHOSTUNREACH);
    setenv("DBUS_SYSTEM_BUS_ADDRESS", "nonsense", 1);
    assert_int_equal(attach(&device), -EHOSTUNREACH);
}

static void test_bad_arguments(void **state) {
    static const struct {
        struct ioregion_region regions[2];
        size_t n;
        struct ioregion_device_options options;
    } cases[] = {
        {.n = 0},
        {.n = 1, .regions = {{.size = 0}}},
        {.n = 1, .regions = {{.size = 1, .space = 2}}},
        {.n = 1, .regions = {{.size = 1, .flags = 2}}},
        {.n = 1, .regions = {{.size = 1, .reserved = 1}}},
        {.n = 1, .regions = {{.size = 1, .channel = 1}}},
        {.n = 1, .regions = {{.size = 2, .base = UINT64_MAX}}},
        {.n = 2, .regions = {{.size = 1, .user_data = 7}, {.size = 1, .base = 1, .user_data = 7}}},
        {.n = 1, .regions = {{.size = 1}}, .options = {.require = 0x20}},
        {.n = 1, .regions = {{.size = 1}}, .options = {.reserved = 1}},
        {.n = 1, .regions = {{.size = 1}}, .options = {.channels = 65}},
    };
    struct ioregion_device_options options = {.struct_size = 0};
    struct ioregion_device_ops bad = ops;
    struct ioregion_device *device;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        options = cases[i].options;
        options.struct_size = sizeof(options);
        assert_int_equal(
            ioregion_device_attach(&device, "v", "d", cases[i].regions, cases[i].n, &options, &ops, NULL), -EINVAL);
        assert_string_not_equal(ioregion_last_error(), "");
    }
    options.struct_size = 0;
    assert_int_equal(ioregion_device_attach(&device, "v", "d", &region, 1, &options, &ops, NULL), -EINVAL);
    bad.struct_size = 0;
    assert_int_equal(ioregion_device_attach(&device, "v", "d", &region, 1, NULL, &bad, NULL), -EINVAL);
    bad = ops;
    bad.read = NULL;
    assert_int_equal(ioregion_device_attach(&device, "v", "d", &region, 1, NULL, &bad, NULL), -EINVAL);
}

/* A caller of a later version: what we don't know must not be asked for, since we would not do it. */
static void test_later_callers(void **state) {
    struct {
        struct ioregion_device_options known;
        uint64_t unknown;
    } device_options = {.known.struct_size = sizeof(device_options)};
    struct {
        struct ioregion_vmm_options known;
        uint64_t unknown;
    } vmm_options = {.known.struct_size = sizeof(vmm_options)};
    static const int results[] = {-EHOSTUNREACH, -EINVAL};

    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
    for (int i = 0; i < 2; i++) {
        struct ioregion_device *device;
        struct ioregion_vmm *vmm;

        device_options.unknown = vmm_options.unknown = (uint64_t) i << 63;
        assert_int_equal(ioregion_device_attach(&device, "v", "d", &region, 1, &device_options.known, &ops, NULL),
                         results[i]);
        assert_int_equal(ioregion_vmm_register(&vmm, "v", &vmm_options.known), results[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attach),          cmocka_unit_test(test_options), cmocka_unit_test(test_resume),
        cmocka_unit_test(test_stop_and_resume), cmocka_unit_test(test_uninvited_features),
        cmocka_unit_test(test_errors),          cmocka_unit_test(test_retry),   cmocka_unit_test(test_broken_promises),
        cmocka_unit_test(test_register),        cmocka_unit_test(test_no_bus),  cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_later_callers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
