/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DEVICES_SERVICE_H
#define DEVICES_SERVICE_H

/*
 * What every shipped device does around its registers: common options, attach, lockdown, orderly end, exit status.
 *
 * One service, one device, one region a process. Messages go to standard error, one line each.
 */

#include <getopt.h>
#include <stdbool.h>

#include <ioregion/device.h>

/* Exit status of every shipped device. */
enum service_exit {
    SERVICE_OK = 0,      /* stopped by a signal, by the VM's end or by an operator */
    SERVICE_FAILED = 1,  /* anything that the others are not */
    SERVICE_USAGE = 2,   /* the command line is wrong */
    SERVICE_REFUSED = 3, /* the broker said no: policy, overlap, no such VM, a missing feature, a limit */
    SERVICE_LOST = 4,    /* broker or dispatcher hung up: worth a restart, which resumes the device */
};

struct service {
    const char *program, *vm, *name;
    struct ioregion_region region;
    struct ioregion_device_options options;
    bool lockdown;
    bool fds;                       /* serve what the process was started with; @vm may be NULL then */
    struct ioregion_device *device; /* from service_attach() to the end of service_run() */
};

enum service_option {
    SERVICE_OPTION_VM = 0x100,
    SERVICE_OPTION_NAME,
    SERVICE_OPTION_SPACE,
    SERVICE_OPTION_BASE,
    SERVICE_OPTION_REQUIRE,
    SERVICE_OPTION_WANT,
    SERVICE_OPTION_ON_DISCONNECT,
    SERVICE_OPTION_TIMEOUT,
    SERVICE_OPTION_FDS,
    SERVICE_OPTION_LOCKDOWN,
    SERVICE_OPTION_NO_LOCKDOWN,
    SERVICE_OPTION_VERSION,
    SERVICE_OPTION_HELP,
    SERVICE_OPTION_OWN, /* a device's own options start here */
};

/* For a device's table of long options: the common ones. */
#define SERVICE_OPTIONS                                                                                                \
    {"vm", required_argument, NULL, SERVICE_OPTION_VM}, {"name", required_argument, NULL, SERVICE_OPTION_NAME},        \
        {"space", required_argument, NULL, SERVICE_OPTION_SPACE},                                                      \
        {"base", required_argument, NULL, SERVICE_OPTION_BASE},                                                        \
        {"require", required_argument, NULL, SERVICE_OPTION_REQUIRE},                                                  \
        {"want", required_argument, NULL, SERVICE_OPTION_WANT},                                                        \
        {"on-disconnect", required_argument, NULL, SERVICE_OPTION_ON_DISCONNECT},                                      \
        {"timeout-usec", required_argument, NULL, SERVICE_OPTION_TIMEOUT},                                             \
        {"fds", no_argument, NULL, SERVICE_OPTION_FDS}, {"lockdown", no_argument, NULL, SERVICE_OPTION_LOCKDOWN},      \
        {"no-lockdown", no_argument, NULL, SERVICE_OPTION_NO_LOCKDOWN},                                                \
        {"version", no_argument, NULL, SERVICE_OPTION_VERSION}, {                                                      \
        "help", no_argument, NULL, SERVICE_OPTION_HELP                                                                 \
    }

/* One line to standard error, after the name of program and device. */
void service_log(const struct service *service, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Log what is wrong with the command line; returns -EINVAL. */
int service_usage(const struct service *service, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Take a common option that getopt_long() returned. 0 to go on, 1 when --help (@help and the common part) or
 * --version was printed and the program is done, -EINVAL when the argument is wrong or the option unknown.
 */
int service_option(struct service *service, int option, const char *argument, const char *help);

/*
 * What is left of the command line behind its options: nothing may be; and where the device goes has to be said.
 * 0 or -EINVAL.
 */
int service_operands(const struct service *service, int n, char **operands);

/*
 * Attach the region with these registers, or serve what was attached before the start; let SIGTERM and SIGINT stop
 * the device. An enum service_exit.
 */
int service_attach(struct service *service, const struct ioregion_device_ops *ops, void *userdata);

/*
 * Lock the process down if so asked, serve until the end, let go of the device. @loop is the device's own loop around
 * ioregion_device_process(), returning what that ended with; NULL for ioregion_device_run(). An enum service_exit.
 */
int service_run(struct service *service, int (*loop)(void *userdata), void *userdata);

#endif
