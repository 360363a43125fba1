/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "broker.h"
#include "bus.h"
#include "journal.h"
#include "persist.h"
#include "reload.h"
#include "sandbox.h"

/* Arguments, event loop, READY; nothing else. */

struct arguments {
    const char *user, *policy;
    enum sandbox_filter filter;
};

static int help(void) {
    printf("Usage: ioregiond [OPTION]...\n\n"
           "Let device processes serve the registers of virtual machines: grant them ranges of\n"
           "guest addresses, as the policy says, on the D-Bus name " BUS_NAME ".\n\n"
           "  --user NAME              become this account before anything else (needs root)\n"
           "  --policy DIRECTORY       where the policy is (default: " POLICY_DIRECTORY ")\n"
           "  --seccomp kill|log|off   what happens on a system call that the daemon should not\n"
           "                           make: it dies (default), the kernel logs it, nothing\n"
           "  --log-level LEVEL        emerg to debug (default: info)\n"
           "  --version                print the version\n"
           "  --help                   print this\n\n"
           "To try it on a private bus, without root and systemd:\n\n"
           "  $ dbus-run-session -- sh -c 'export DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS\n"
           "        ioregiond --policy ./policy.d & sleep 1; busctl introspect " BUS_NAME " " BUS_PATH "'\n\n"
           "SIGHUP loads the policy again. See ioregiond(8), ioregion-policy(5), org.ioregion1(5).\n");
    return 0;
}

/* 1: go on. 0: done. */
static int parse_arguments(int argc, char *argv[], struct arguments *arguments) {
    enum { USER = 256, POLICY, SECCOMP, LOG_LEVEL, VERSION, HELP };
    static const struct option options[] = {
        {"user", required_argument, NULL, USER},
        {"policy", required_argument, NULL, POLICY},
        {"seccomp", required_argument, NULL, SECCOMP},
        {"log-level", required_argument, NULL, LOG_LEVEL},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, HELP},
        {},
    };
    int c, r = 0;

    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        switch (c) {
        case USER:
            arguments->user = optarg;
            break;
        case POLICY:
            arguments->policy = optarg;
            break;
        case SECCOMP:
            r = sandbox_filter_from_name(optarg);
            arguments->filter = (enum sandbox_filter) r;
            break;
        case LOG_LEVEL:
            r = journal_level_from_name(optarg);
            journal_set_max_level(r < 0 ? LOG_INFO : r);
            break;
        case VERSION:
            return printf("ioregiond " PROJECT_VERSION "\n") < 0 ? -EIO : 0;
        case HELP:
            return help();
        default:
            return -EINVAL;
        }
        if (r < 0) {
            fprintf(stderr, "ioregiond: unknown value '%s'; try --help\n", optarg);
            return r;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "ioregiond: '%s' is one argument too many; try --help\n", argv[optind]);
        return -EINVAL;
    }
    return 1;
}

/* Every client is a descriptor or two. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int enter_sandbox(const struct arguments *arguments) {
    int r;

    r = sandbox_become(arguments->user);
    if (r < 0) {
        journal_log(LOG_ERR, "can't become %s: %s", arguments->user ? arguments->user : "less", strerrordesc_np(-r));
        return r;
    }
    r = sandbox_drop_capabilities();
    if (r < 0) {
        journal_log(LOG_ERR, "can't drop all capabilities: %s", strerrordesc_np(-r));
        return r;
    }
    r = sandbox_filter_calls(arguments->filter);
    if (r < 0)
        journal_log(LOG_ERR, "can't filter system calls: %s", strerrordesc_np(-r));
    return r;
}

struct daemon {
    const char *policy_directory;
    struct broker *broker;
    char *mistake; /* in the policy that would be in force, had it none */
};

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
    _cleanup_(freep) char *mistake = NULL;
    struct daemon *daemon = userdata;

    reload(daemon->broker, daemon->policy_directory, false, &mistake); /* logs */
    return 0;
}

static void on_ready(void *userdata) {
    struct daemon *daemon = userdata;

    journal_log(LOG_INFO, "ready: %s", PROJECT_VERSION);
    tell_manager_ready(daemon->broker, daemon->mistake);
}

static int add_signals(sd_event *event, struct daemon *daemon) {
    sigset_t signals;
    int r;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return -errno;
    r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL); /* no handler: the loop ends */
    if (r >= 0)
        r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
    if (r >= 0)
        r = sd_event_add_signal(event, NULL, SIGHUP, on_hangup, daemon);
    return r;
}

/*
 * A policy with a mistake is no reason to end what is granted: then nobody is granted anything more until it is mended
 * and loaded again.
 */
static int load_first_policy(const char *directory, bool go_on, struct policy **ret_policy, char **ret_mistake) {
    static const char nothing[] = "{ \"version\": 1 }";
    _cleanup_(freep) char *error = NULL;
    int r;

    r = load_policy(directory, ret_policy, ret_mistake); /* logs */
    if (r != -EBADMSG || !go_on)
        return r;
    journal_log(LOG_ERR, "policy: nothing is granted until it is mended; what was granted stays");
    return policy_load_text("nothing", nothing, sizeof(nothing) - 1, NULL, ret_policy, &error);
}

/* What outlives this process is left as it is. */
static void end_broker(struct broker *broker, bool persists) {
    sd_notify(0, "STOPPING=1");
    if (persists)
        broker_leave(broker);
    else
        broker_free(broker);
}

static int serve(sd_event *event, struct daemon *daemon, struct bus *bus, struct persist *persist) {
    int r = 0;

    if (persist)
        r = persist_restore(persist, daemon->broker);
    if (r >= 0)
        r = add_signals(event, daemon);
    if (r >= 0)
        r = bus_start(bus, daemon->broker, on_ready, daemon);
    return r < 0 ? r : sd_event_loop(event);
}

static int run(const struct arguments *arguments) {
    struct daemon daemon = {.policy_directory = arguments->policy};
    _cleanup_(persist_freep) struct persist *persist = NULL;
    _cleanup_(bus_freep) struct bus *bus = NULL; /* the broker goes first: it still has something to say */
    _cleanup_(sd_event_unrefp) sd_event *event = NULL;
    _cleanup_(freep) char *mistake = NULL;
    struct policy *policy;
    int r;

    r = persist_new(&persist);
    if (r < 0) {
        journal_log(LOG_ERR, "can't keep anything across restarts: %s", strerrordesc_np(-r));
        return r;
    }
    r = load_first_policy(arguments->policy, persist_has_state(persist), &policy, &mistake);
    if (r < 0)
        return r;
    daemon.mistake = mistake;
    r = sd_event_new(&event);
    if (r >= 0)
        r = sd_event_set_watchdog(event, true);
    if (r >= 0)
        r = bus_new(&bus, event, arguments->policy);
    if (r < 0) {
        policy_free(policy);
        return r;
    }
    r = broker_new(&daemon.broker, event, policy, &bus_watcher, bus);
    if (r < 0)
        return r;
    broker_set_unit_source(daemon.broker, &bus_unit_source, bus);
    r = serve(event, &daemon, bus, persist);
    end_broker(daemon.broker, persist != NULL);
    return r;
}

int main(int argc, char *argv[]) {
    struct arguments arguments = {.policy = POLICY_DIRECTORY};
    int r;

    r = parse_arguments(argc, argv, &arguments);
    if (r <= 0)
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    r = enter_sandbox(&arguments);
    if (r >= 0)
        r = run(&arguments);
    if (r == -EBADMSG) /* the policy, which no restart mends */
        return EX_CONFIG;
    return r < 0 ? EXIT_FAILURE : r;
}
