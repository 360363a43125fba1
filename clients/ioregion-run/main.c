/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * ioregion-run: start an unmodified VMM as a client of the broker. It puts a library before it and becomes it; what
 * would go wrong silently is found out first.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "configuration.h"
#include "internal/cleanup.h"
#include "program.h"

static const char help[] =
    "ioregion-run --vm NAME [OPTION...] -- VMM [ARGUMENT...]\n"
    "\n"
    "Run a VMM that knows nothing of ioregiond, QEMU with KVM above all, so that\n"
    "devices attached through ioregiond serve its guest.\n"
    "\n"
    "  --vm NAME           register the VM under this name\n"
    "  --dispatch WAY      auto (default): by the kernel where it can, else in the\n"
    "                      VMM; or insist on kernel or vmm\n"
    "  --reserve SPACE:BASE:SIZE\n"
    "                      a range of the VMM's own devices that none is granted, as\n"
    "                      pio:0x60:8; may be repeated\n"
    "  --ceiling F,...     features that devices of this VM may get at most; ''\n"
    "                      allows none, without the option there is no ceiling\n"
    "  --version, --help\n"
    "\n"
    "Exit status: that of the VMM; or 125 it could not become a client of the\n"
    "broker, 126 the program can't be run like this, 127 there is no such program.\n";

enum { OPTION_VERSION = 1, OPTION_HELP };

static const struct option long_options[] = {
    {"vm", required_argument, NULL, 0},
    {"dispatch", required_argument, NULL, 0},
    {"reserve", required_argument, NULL, 0},
    {"ceiling", required_argument, NULL, 0},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

/* Say why, and be the exit status. */
static int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(int status, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    fputs("ioregion-run: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return status;
}

/* Check one option, and append it to what the library is told. */
static int take_option(struct configuration *configuration, FILE *text, const char *key, const char *value) {
    int r = strchr(value, '\n') ? -EINVAL : configuration_set(configuration, key, value);

    if (r == -E2BIG)
        return fail(STATUS_FAILED, "at most %d ranges can be reserved", RESERVE_MAX);
    if (r < 0)
        return fail(STATUS_FAILED, "'%s' is not a value for --%s: try --help", value, key);
    fprintf(text, "%s=%s\n", key, value);
    return 0;
}

/* 0 to go on; else the exit status, and *ret_done if that is all that was asked for. */
static int parse(int argc, char **argv, FILE *text, bool *ret_done) {
    struct configuration configuration;
    int option, index, r = 0;

    configuration_init(&configuration);
    while (r == 0 && (option = getopt_long(argc, argv, "+", long_options, &index)) >= 0) {
        *ret_done = option == OPTION_VERSION || option == OPTION_HELP;
        if (*ret_done)
            fputs(option == OPTION_HELP ? help : "ioregion-run " PROJECT_VERSION "\n", stdout);
        if (option != 0)
            return *ret_done ? 0 : fail(STATUS_FAILED, "unknown option, or an argument is missing: try --help");
        r = take_option(&configuration, text, long_options[index].name, optarg);
    }
    if (r != 0)
        return r;
    if (!configuration.vm[0])
        return fail(STATUS_FAILED, "--vm is missing: try --help");
    if (optind == argc)
        return fail(STATUS_FAILED, "which VMM? Try --help");
    return 0;
}

static int check_program(const char *name, char path[PATH_MAX]) {
    char why[256];
    int r = program_find(name, path);

    if (getuid() != geteuid() || getgid() != getegid())
        return fail(STATUS_UNFIT, "real and effective ids differ, and no loader takes a library from us then");
    if (r == -ENOENT)
        return fail(STATUS_NOT_FOUND, "%s: no such program", name);
    if (r < 0)
        return fail(STATUS_UNFIT, "%s: %s", name, strerror(-r));
    r = program_check(path, why, sizeof(why));
    if (r == -ENOEXEC)
        return fail(STATUS_UNFIT, "%s: %s", path, why);
    if (r < 0)
        return fail(STATUS_UNFIT, "%s: %s", path, strerror(-r));
    return 0;
}

static int check_kvm(void) {
    _cleanup_(fd_closep) int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (kvm < 0)
        return fail(STATUS_FAILED, "no KVM, and without it no access can be seen: /dev/kvm: %s", strerror(errno));
    return 0;
}

#define THE_BUS "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"

/* Is there one, or is the bus able to start one? Asked of the bus itself, which lets everybody. */
static int check_broker(void) {
    _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
    _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    int r = sd_bus_open_system(&bus), there = false;

    if (r < 0)
        return fail(STATUS_FAILED, "no broker: system bus: %s", strerror(-r));
    r = sd_bus_call_method(bus, THE_BUS, "NameHasOwner", &error, &reply, "s", "org.ioregion1");
    if (r >= 0)
        r = sd_bus_message_read(reply, "b", &there);
    if (r >= 0 && !there)
        r = sd_bus_call_method(bus, THE_BUS, "StartServiceByName", &error, NULL, "su", "org.ioregion1", 0);
    if (r < 0)
        return fail(STATUS_FAILED, "no broker: %s", error.message ?: strerror(-r));
    return 0;
}

/* The library: beside this program where it was built, else where it is installed. */
static int find_library(char path[PATH_MAX]) {
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n > 0) {
        self[n] = '\0';
        if (snprintf(path, PATH_MAX, "%s/" LIBRARY_NAME, dirname(self)) < PATH_MAX && access(path, R_OK) == 0)
            return 0;
    }
    strcpy(path, LIBRARY_FOLDER "/" LIBRARY_NAME);
    return access(path, R_OK) < 0 ? -errno : 0;
}

/* The library comes first, takes itself out of the list again, and leaves what was there. */
static int set_environment(const char *text) {
    const char *others = getenv("LD_PRELOAD");
    _cleanup_(freep) char *list = NULL;
    char library[PATH_MAX];
    int r = find_library(library);

    if (r < 0)
        return fail(STATUS_FAILED, "%s: %s", library, strerror(-r));
    if (strpbrk(library, " :"))
        return fail(STATUS_FAILED, "%s: the loader takes no path with a blank or colon", library);
    if (asprintf(&list, "%s%s%s", library, others && *others ? ":" : "", others ?: "") < 0 ||
        setenv("LD_PRELOAD", list, true) < 0 || setenv(CONFIGURATION_VARIABLE, text, true) < 0)
        return fail(STATUS_FAILED, "%s", strerror(ENOMEM));
    return 0;
}

int main(int argc, char **argv) {
    _cleanup_(freep) char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    char path[PATH_MAX];
    bool done = false;
    int r;

    if (!stream)
        return fail(STATUS_FAILED, "%s", strerror(errno));
    r = parse(argc, argv, stream, &done);
    if (fclose(stream) != 0)
        return fail(STATUS_FAILED, "%s", strerror(ENOMEM));
    if (r != 0 || done)
        return r;
    argv += optind;
    if ((r = check_program(argv[0], path)) != 0 || (r = check_kvm()) != 0 || (r = check_broker()) != 0 ||
        (r = set_environment(text)) != 0)
        return r;
    execv(path, argv);
    return fail(STATUS_UNFIT, "%s: %s", path, strerror(errno));
}
