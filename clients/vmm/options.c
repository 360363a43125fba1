/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "clients/devices/arguments.h"

static const char help[] =
    "ioregion-demo-vmm --vm NAME [OPTION...]\n"
    "\n"
    "Register a VM with ioregiond and run a small real-mode guest on KVM. The guest\n"
    "talks to a UART at port 0x3f8 and to a scratch device at 0xd0000, both of which\n"
    "devices attach through the broker, and tells on standard output what it wrote and\n"
    "read back. Its debug port 0xe9 and exit port 0xf4 are the VMM's own.\n"
    "\n"
    "  --vm NAME               register under this name\n"
    "  --reserve SPACE:BASE:SIZE\n"
    "                          keep a range for the VMM, as pio:0x60:8; may be repeated\n"
    "  --ceiling F,...         features that devices of this VM may get at most;\n"
    "                          '' allows none, without the option there is no ceiling\n"
    "  --dispatch HOW          kernel, vmm, or auto: kernel where it can be had (default)\n"
    "  --paused                start the guest when a line (or the end) comes on\n"
    "                          standard input, so that devices can attach first\n"
    "  --guest FILE            run this instead: flat real-mode code for 0:0x1000\n"
    "  --kvm-fd N              use descriptor N, opened from /dev/kvm by the parent\n"
    "  --no-kvm                make the demo guest's accesses without KVM; also what\n"
    "                          happens where /dev/kvm can't be opened\n"
    "  --timeout SECONDS       give up after so long, pause included (default 30)\n"
    "  --version, --help\n"
    "\n"
    "The system bus is the one of DBUS_SYSTEM_BUS_ADDRESS where that is set.\n"
    "Exit status: 0 the guest ended well, or a signal ended the run; 1 it reported a\n"
    "failure; 2 wrong command line; 3 refused by the broker; 4 time is up; 5 failed.\n";

enum {
    OPTION_VM = 0x100,
    OPTION_RESERVE,
    OPTION_CEILING,
    OPTION_DISPATCH,
    OPTION_PAUSED,
    OPTION_GUEST,
    OPTION_KVM_FD,
    OPTION_NO_KVM,
    OPTION_TIMEOUT,
    OPTION_VERSION,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"vm", required_argument, NULL, OPTION_VM},
    {"reserve", required_argument, NULL, OPTION_RESERVE},
    {"ceiling", required_argument, NULL, OPTION_CEILING},
    {"dispatch", required_argument, NULL, OPTION_DISPATCH},
    {"paused", no_argument, NULL, OPTION_PAUSED},
    {"guest", required_argument, NULL, OPTION_GUEST},
    {"kvm-fd", required_argument, NULL, OPTION_KVM_FD},
    {"no-kvm", no_argument, NULL, OPTION_NO_KVM},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static int usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int usage(const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    fputs("ioregion-demo-vmm: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\nTry 'ioregion-demo-vmm --help'.\n", stderr);
    va_end(arguments);
    return -EINVAL;
}

static int take_reserve(struct options *options, const char *argument) {
    size_t n = options->registration.n_reserve;

    if (n == RESERVE_MAX)
        return usage("at most %d ranges can be reserved here", RESERVE_MAX - BOARD_RANGES);
    if (argument_range(argument, &options->reserve[n]) < 0)
        return usage("'%s' is no range: it would be SPACE:BASE:SIZE, as pio:0x60:8", argument);
    options->registration.n_reserve++;
    return 0;
}

static int take_ceiling(struct options *options, const char *argument) {
    options->registration.has_ceiling = true;
    if (argument_features(argument, &options->registration.ceiling) < 0)
        return usage("'%s' are not features", argument);
    return 0;
}

static int take_number(const char *argument, uint64_t max, uint64_t *ret_value) {
    return argument_number(argument, 0, max, ret_value) < 0 ? usage("'%s' is not a number for that", argument) : 0;
}

static int take_option(struct options *options, int option, const char *argument) {
    uint64_t number;
    int r;

    switch (option) {
    case OPTION_VM:
        options->vm = argument;
        return 0;
    case OPTION_RESERVE:
        return take_reserve(options, argument);
    case OPTION_CEILING:
        return take_ceiling(options, argument);
    case OPTION_DISPATCH:
        options->registration.dispatch = argument;
        return 0;
    case OPTION_PAUSED:
        options->paused = true;
        return 0;
    case OPTION_GUEST:
        options->guest = argument;
        return 0;
    case OPTION_KVM_FD:
        r = take_number(argument, INT_MAX, &number);
        options->kvm = r < 0 ? -1 : (int) number;
        return r;
    case OPTION_NO_KVM:
        options->no_kvm = true;
        return 0;
    case OPTION_TIMEOUT:
        return take_number(argument, 86400, &options->timeout);
    case OPTION_VERSION:
        puts("ioregion-demo-vmm " PROJECT_VERSION);
        return 1;
    case OPTION_HELP:
        fputs(help, stdout);
        return 1;
    default:
        return usage("unknown option, or an argument is missing");
    }
}

int options_parse(int argc, char **argv, struct options *ret_options) {
    struct options *options = ret_options;
    int option, r;

    *options = (struct options){.kvm = -1, .timeout = 30};
    memcpy(options->reserve, board_ranges, sizeof(board_ranges));
    options->registration.struct_size = sizeof(options->registration);
    options->registration.reserve = options->reserve;
    options->registration.n_reserve = BOARD_RANGES;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
        if ((r = take_option(options, option, optarg)) != 0)
            return r;
    if (optind < argc)
        return usage("'%s' is too much", argv[optind]);
    if (!options->vm)
        return usage("--vm is missing");
    if (options->guest && options->no_kvm)
        return usage("--guest needs KVM");
    return 0;
}
