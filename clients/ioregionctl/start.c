/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Start a device's unit through systemd, and wait for what becomes of it: a device, or a failure.
 *
 * No signal is missed, since all are subscribed to before the unit is started; and none is believed: signals say when
 * to ask systemd and the broker again. Until the unit's job is over there is nothing to ask.
 */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "policy/quantity.h"
#include "unit.h"
#include "value.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER SYSTEMD ".Manager"
#define DEFAULT_TIMEOUT_USEC (30 * UINT64_C(1000000))

struct start {
    struct ctl *ctl;
    char *unit; /* by the name that systemd and the broker have for it: the argument may be an alias */
    char *path; /* the unit's object */
    char *job;  /* the job's object */
    struct unit_state state;
    bool look;         /* something happened since we asked */
    uint64_t deadline; /* CLOCK_MONOTONIC */
};

static void start_done(struct start *start) {
    free(start->unit);
    free(start->path);
    free(start->job);
    unit_state_done(&start->state);
}

static uint64_t now_usec(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

/* Never succeeds. */
static enum status systemd_failed(const sd_bus_error *error, int r) {
    if (sd_bus_error_is_set(error))
        complain("systemd: %s (%s)", error->message ? error->message : "refused", error->name);
    else
        complain("can't talk to systemd: %s", strerror(-r));
    return STATUS_FAILED;
}

/* Call systemd's manager, with the strings up to a NULL, within the time limit; the path that it answers, the caller's.
 */
static enum status call_systemd(const struct start *start, const char *member, const char *const *strings,
                                char **ret_path) {
    _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL, *reply = NULL;
    uint64_t now = now_usec();
    sd_bus *bus = start->ctl->bus;
    const char *path;
    int r;

    r = sd_bus_message_new_method_call(bus, &message, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, member);
    if (r >= 0)
        r = sd_bus_message_set_allow_interactive_authorization(message, true); /* polkit may ask for a password */
    for (; r >= 0 && *strings; strings++)
        r = sd_bus_message_append_basic(message, 's', *strings);
    if (r >= 0)
        r = now < start->deadline ? sd_bus_call(bus, message, start->deadline - now, &error, &reply) : -ETIMEDOUT;
    if (r >= 0 && ret_path) {
        r = sd_bus_message_read_basic(reply, 'o', &path);
        if (r >= 0 && !(*ret_path = strdup(path)))
            r = -ENOMEM;
    }
    return r < 0 ? systemd_failed(&error, r) : STATUS_OK;
}

/* A string that the unit has as a property, in place of what was there. */
static int get_string(const struct start *start, const char *interface, const char *name, char **value) {
    char *fresh;
    int r = sd_bus_get_property_string(start->ctl->bus, SYSTEMD, start->path, interface, name, NULL, &fresh);

    if (r >= 0) {
        free(*value);
        *value = fresh;
    }
    return r;
}

static int get_number(const struct start *start, const char *name, int32_t *ret_value) {
    return sd_bus_get_property_trivial(start->ctl->bus, SYSTEMD, start->path, SYSTEMD ".Service", name, NULL, 'i',
                                       ret_value);
}

static int read_state(struct start *start) {
    struct unit_state *state = &start->state;
    int r = get_string(start, SYSTEMD ".Unit", "ActiveState", &state->active);

    if (r >= 0)
        r = get_string(start, SYSTEMD ".Unit", "SubState", &state->sub);
    if (r >= 0)
        r = get_string(start, SYSTEMD ".Service", "Result", &state->result);
    if (r >= 0)
        r = get_string(start, SYSTEMD ".Service", "StatusText", &state->status);
    if (r >= 0)
        r = get_number(start, "ExecMainCode", &state->code);
    return r < 0 ? r : get_number(start, "ExecMainStatus", &state->exit);
}

static int on_job_removed(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    struct start *start = userdata;
    const char *job, *result;

    if (sd_bus_message_read(message, "uoss", NULL, &job, NULL, &result) < 0 || !start->job ||
        strcmp(job, start->job) != 0)
        return 0;
    start->state.job = strdup(result);
    start->look = true;
    return start->state.job ? 0 : -ENOMEM;
}

static int on_something(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    ((struct start *) userdata)->look = true;
    return 0;
}

/* Afterwards nothing is missed. */
static enum status subscribe(struct start *start) {
    const struct {
        const char *sender, *path, *interface, *member;
        sd_bus_message_handler_t handler;
    } matches[] = {
        {SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, "JobRemoved", on_job_removed},
        {SYSTEMD, start->path, "org.freedesktop.DBus.Properties", "PropertiesChanged", on_something},
        {BROKER_NAME, NULL, "org.freedesktop.DBus.ObjectManager", "InterfacesAdded", on_something},
        {BROKER_NAME, NULL, "org.freedesktop.DBus.Properties", "PropertiesChanged", on_something},
    };
    int r = 0;

    for (size_t i = 0; r >= 0 && i < sizeof(matches) / sizeof(matches[0]); i++)
        r = sd_bus_match_signal(start->ctl->bus, NULL, matches[i].sender, matches[i].path, matches[i].interface,
                                matches[i].member, matches[i].handler, start);
    if (r < 0)
        return systemd_failed(NULL, r);
    return call_systemd(start, "Subscribe", (const char *const[]){NULL}, NULL); /* it sends none to nobody */
}

static enum status begin(struct start *start, const char *name) {
    enum status status = call_systemd(start, "LoadUnit", (const char *const[]){name, NULL}, &start->path);
    int r;

    if (status)
        return status;
    r = get_string(start, SYSTEMD ".Unit", "Id", &start->unit);
    if (r < 0)
        return systemd_failed(NULL, r);
    status = subscribe(start);
    if (status)
        return status;
    return call_systemd(start, "StartUnit", (const char *const[]){name, "replace", NULL}, &start->job);
}

/* Until something happened; -ETIMEDOUT. */
static int wait_for_news(struct start *start) {
    uint64_t now;
    int r = 0;

    for (; r >= 0 && !start->look; r = r == 0 ? sd_bus_wait(start->ctl->bus, start->deadline - now) : r) {
        now = now_usec();
        if (now >= start->deadline)
            return -ETIMEDOUT;
        r = sd_bus_process(start->ctl->bus, NULL);
    }
    start->look = false;
    return r;
}

static enum status is_attached(struct start *start, bool *ret_attached) {
    _cleanup_(json_unrefp) json_object *rows = NULL;
    enum status status = list_rows(start->ctl, "devices", NULL, NULL, &rows);

    *ret_attached = false;
    for (size_t i = 0; !status && !*ret_attached && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);

        *ret_attached = strcmp(json_object_get_string(json_object_object_get(row, "unit")), start->unit) == 0 &&
                        strcmp(json_object_get_string(json_object_object_get(row, "state")), "attached") == 0;
    }
    return status;
}

static enum status failed(const struct start *start) {
    _cleanup_(freep) char *text = unit_failure_text(start->unit, &start->state);

    complain("%s", text ?: "out of memory");
    complain("its log: journalctl -u %s", start->unit);
    return STATUS_FAILED;
}

/* What the unit is now: *ret_over tells whether that is the end, well or badly. */
static enum status judge(struct start *start, bool *ret_over) {
    const struct unit_state *state = &start->state;
    bool done = state->job && strcmp(state->job, "done") == 0;
    enum status status = STATUS_OK;
    int r;

    *ret_over = false;
    if (!state->job)
        return STATUS_OK;
    if (done)
        status = is_attached(start, ret_over);
    if (status || *ret_over)
        return status;
    r = read_state(start);
    if (r < 0)
        return systemd_failed(NULL, r);
    *ret_over = !done || strcmp(state->active, "failed") == 0 || strcmp(state->active, "inactive") == 0 ||
                strncmp(state->sub, "auto-restart", strlen("auto-restart")) == 0;
    return *ret_over ? failed(start) : STATUS_OK;
}

static enum status follow(struct start *start) {
    enum status status = STATUS_OK;
    bool over = false;
    int r = 0;

    while (!status && !over && (r = wait_for_news(start)) >= 0)
        status = judge(start, &over);
    if (r == -ETIMEDOUT) {
        complain("time is up: unit %s %s; it is left as it is, and 'systemctl status %s' tells more", start->unit,
                 start->state.job ? "runs and has no device attached" : "is still starting", start->unit);
        return STATUS_FAILED;
    }
    return r < 0 ? systemd_failed(NULL, r) : status;
}

static enum status run(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    _cleanup_(start_done) struct start start = {.ctl = ctl};
    _cleanup_(freep) char *name = unit_service_name(arguments[0]);
    uint64_t timeout = DEFAULT_TIMEOUT_USEC;
    enum status status;

    if (!name) {
        complain("'%s' names no service", arguments[0]);
        return STATUS_USAGE;
    }
    if (ctl->timeout && (!parse_duration(ctl->timeout, &timeout) || timeout == 0)) {
        complain("'%s' is no time limit: it would be 30s, or 500ms", ctl->timeout);
        return STATUS_USAGE;
    }
    start.deadline = now_usec() + timeout;
    status = ctl_connect(ctl);
    if (!status)
        status = begin(&start, name);
    return status ? status : follow(&start);
}

const struct command command_start = {
    .name = "start",
    .arguments = "UNIT [--timeout TIME]",
    .summary = "start a device's unit, and wait until the device is attached",
    .help = "Starts a unit through systemd, as systemctl start does, and returns when its device is attached, at once\n"
            "where it is already. When the unit fails its failure is told. When the time is up (30s unless told) the\n"
            "unit is left as it is.\n"
            "\n"
            "  ioregionctl start ioregion-uart@alpha\n"
            "  ioregionctl start ioregion-uart@alpha:console --timeout 5s\n"
            "  systemctl stop ioregion-uart@alpha           detaches it again\n",
    .min = 1,
    .max = 1,
    .options = OPTION_REMOTE | OPTION_TIMEOUT,
    .run = run,
};
