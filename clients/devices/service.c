/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "arguments.h"
#include "internal/cleanup.h"
#include "internal/names.h"

static const char common_help[] = "Where it goes:\n"
                                  "  --vm NAME             the VM to attach to, as it was registered\n"
                                  "  --name NAME           the device's name there\n"
                                  "  --space mmio|pio      address space of the registers\n"
                                  "  --base ADDRESS        guest physical address or port of the first one\n"
                                  "What is asked for:\n"
                                  "  --require F,...       features without which the attach is to fail\n"
                                  "  --want F,...          features that are welcome: posted-writes, replay\n"
                                  "  --timeout-usec N      time to answer an access in; 0 takes the policy's\n"
                                  "  --on-disconnect WHAT  what the guest finds when this process goes away:\n"
                                  "                        ones (reads give all ones), hold (it waits for the\n"
                                  "                        next start), remove (accesses go back to the VMM)\n"
                                  "The process:\n"
                                  "  --fds                 attach nothing: serve what ioregionctl attach left in\n"
                                  "                        the unit's descriptor store; of the above, only size\n"
                                  "                        and features of the description are to be told again\n"
                                  "  --no-lockdown         don't narrow the system calls down to the data path\n"
                                  "  --version, --help\n"
                                  "\n"
                                  "The system bus is the one of DBUS_SYSTEM_BUS_ADDRESS where that is set.\n"
                                  "Exit status: 0 stopped by a signal, the VM's end or an operator; 1 failed;\n"
                                  "2 wrong command line; 3 refused by the broker; 4 broker or VMM hung up: start\n"
                                  "it again, which resumes the device.\n";

/* What a signal stops, and whose end is logged; one device a process. */
static const struct service *volatile running;

static void on_signal(int number) {
    if (running)
        ioregion_device_stop(running->device);
}

static void log_line(const struct service *service, const char *format, va_list arguments) {
    char text[512];

    vsnprintf(text, sizeof(text), format, arguments);
    fprintf(stderr, "%s[%s]: %s\n", service->program, service->name, text);
}

void service_log(const struct service *service, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    log_line(service, format, arguments);
    va_end(arguments);
}

int service_usage(const struct service *service, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    log_line(service, format, arguments);
    va_end(arguments);
    fprintf(stderr, "Try '%s --help'.\n", service->program);
    return -EINVAL;
}

static int take_value(struct service *service, int option, const char *argument) {
    switch (option) {
    case SERVICE_OPTION_SPACE:
        return argument_space(argument, &service->region.space);
    case SERVICE_OPTION_BASE:
        return argument_number(argument, 0, UINT64_MAX, &service->region.base);
    case SERVICE_OPTION_REQUIRE:
        return argument_features(argument, &service->options.require);
    case SERVICE_OPTION_WANT:
        return argument_features(argument, &service->options.want);
    case SERVICE_OPTION_TIMEOUT:
        return argument_number(argument, 0, UINT64_MAX, &service->options.timeout_usec);
    default:
        return -EINVAL;
    }
}

int service_option(struct service *service, int option, const char *argument, const char *help) {
    switch (option) {
    case SERVICE_OPTION_VM:
        service->vm = argument;
        return 0;
    case SERVICE_OPTION_NAME:
        service->name = argument;
        return 0;
    case SERVICE_OPTION_ON_DISCONNECT: /* the broker knows which there are */
        service->options.on_disconnect = argument;
        return 0;
    case SERVICE_OPTION_FDS:
        service->fds = true;
        return 0;
    case SERVICE_OPTION_LOCKDOWN:
    case SERVICE_OPTION_NO_LOCKDOWN:
        service->lockdown = option == SERVICE_OPTION_LOCKDOWN;
        return 0;
    case SERVICE_OPTION_VERSION:
        printf("%s %s\n", service->program, PROJECT_VERSION);
        return 1;
    case SERVICE_OPTION_HELP:
        printf("%s\n%s", help, common_help);
        return 1;
    }
    if (!argument) /* getopt_long() has said what is wrong */
        return service_usage(service, "unknown option, or an argument is missing");
    if (take_value(service, option, argument) < 0)
        return service_usage(service, "'%s' is no argument for its option", argument);
    return 0;
}

int service_operands(const struct service *service, int n, char **operands) {
    if (n > 0)
        return service_usage(service, "'%s' is too much", operands[0]);
    if (!service->vm && !service->fds)
        return service_usage(service, "--vm is missing");
    return 0;
}

/* Why the hold ended, for people. */
static const char *reason_text(unsigned reason) {
    switch (reason) {
    case IOREGION_REVOKE_OPERATOR:
        return "an operator took it away";
    case IOREGION_REVOKE_VM_GONE:
        return "the VM ended";
    case IOREGION_REVOKE_RESUMED:
        return "a later start took over";
    case IOREGION_REVOKE_POLICY:
        return "the policy no longer allows it";
    case IOREGION_REVOKE_FAILED:
        return "it missed a deadline or broke the protocol";
    default:
        return "broker or VMM hung up";
    }
}

static void on_ended(void *userdata, unsigned reason) {
    service_log(running, "over: %s", reason_text(reason));
}

static void stop_on_signals(const struct service *service) {
    struct sigaction action = {.sa_handler = on_signal};

    running = service;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

static void log_grant(const struct service *service) {
    const struct ioregion_region *region = &service->region;

    service_log(service, "attached to VM %s at %s 0x%" PRIx64 "-0x%" PRIx64 ", features %s, deadline %" PRIu64 " ms",
                service->vm, space_name(region->space), region->base, region->base + region->size - 1,
                features_text(ioregion_device_features(service->device)),
                ioregion_device_timeout_usec(service->device) / 1000);
}

/* The descriptor of that name among those that the process was started with, or -ENOENT. */
static int started_with(const char *name, char **names, int n_names) {
    for (int i = 0; i < n_names; i++)
        if (strcmp(names[i], name) == 0)
            return SD_LISTEN_FDS_START + i;
    return -ENOENT;
}

/* Which of the wanted features were granted nobody tells: be ready for all of them. */
static int serve_fds(struct service *service, const struct ioregion_device_ops *ops, void *userdata) {
    char **names = NULL;
    int n_names = sd_listen_fds_with_names(true, &names);
    int lease = started_with("lease", names, n_names), channel = started_with("channel-0", names, n_names);
    int r = SERVICE_FAILED;

    if (lease < 0 || channel < 0)
        service_log(service, "not started with lease and channel-0; ExecStartPre=+ioregionctl attach provides them");
    else if (ioregion_device_from_fds(&service->device, &channel, 1, lease,
                                      service->options.require | service->options.want, &service->region, 1, ops,
                                      userdata) < 0)
        service_log(service, "can't serve: %s", ioregion_last_error());
    else
        r = SERVICE_OK;
    for (int i = 0; i < n_names; i++)
        free(names[i]);
    free(names);
    return r;
}

static int attach(struct service *service, const struct ioregion_device_ops *ops, void *userdata) {
    int r;

    service->options.struct_size = sizeof(service->options);
    r = ioregion_device_attach(&service->device, service->vm, service->name, &service->region, 1, &service->options,
                               ops, userdata);
    if (r == -EHOSTUNREACH) {
        service_log(service, "no broker: %s", ioregion_last_error());
        return SERVICE_FAILED;
    }
    if (r < 0) {
        service_log(service, "refused: %s", ioregion_last_error());
        return r == -ENOMEM ? SERVICE_FAILED : SERVICE_REFUSED;
    }
    return SERVICE_OK;
}

int service_attach(struct service *service, const struct ioregion_device_ops *ops, void *userdata) {
    struct ioregion_device_ops all = *ops;
    int r;

    all.ended = on_ended;
    r = service->fds ? serve_fds(service, &all, userdata) : attach(service, &all, userdata);
    if (r != SERVICE_OK)
        return r;
    stop_on_signals(service);
    if (!service->fds) /* else ioregionctl knows what was granted */
        log_grant(service);
    return SERVICE_OK;
}

/*
 * A device that attached itself gives back what it holds. What a process was started with is its unit's: when that
 * stops, the broker hears of it; when it restarts, the next process resumes.
 */
static void let_go(struct service *service) {
    _cleanup_(fd_closep) int lease = -1, channel = -1;

    if (service->fds)
        ioregion_device_take_fds(service->device, &lease, &channel, 1);
    service->device = ioregion_device_free(service->device);
}

static int end_status(int result) {
    if (result >= 0 || result == -EINTR)
        return SERVICE_OK;
    return result == -ECONNRESET ? SERVICE_LOST : SERVICE_FAILED;
}

int service_run(struct service *service, int (*loop)(void *userdata), void *userdata) {
    int r = service->lockdown ? ioregion_device_lockdown(service->device) : 0;

    if (r < 0)
        service_log(service, "can't lock down: %s; --no-lockdown would do without", ioregion_last_error());
    else
        r = loop ? loop(userdata) : ioregion_device_run(service->device);

    if (r == -EINTR)
        service_log(service, "stopped");
    else if (r < 0)
        service_log(service, "ended: %s", ioregion_last_error());
    running = NULL;
    let_go(service);
    return end_status(r);
}
