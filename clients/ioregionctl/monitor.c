/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <systemd/sd-event.h>

#include "ctl.h"
#include "value.h"

static uint64_t now_usec(void) {
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static void print_json(uint64_t usec, const char *kind, const char *name, const char *what, json_object *properties) {
    _cleanup_(json_unrefp) json_object *line = json_object_new_object();

    json_object_object_add(line, "time-usec", json_object_new_uint64(usec));
    json_object_object_add(line, "event", json_object_new_string(what));
    json_object_object_add(line, "kind", json_object_new_string(kind));
    json_object_object_add(line, "name", json_object_new_string(name));
    if (properties)
        json_object_object_add(line, "properties", value_properties_json(properties));
    value_print(line, false);
}

/* Empty values and lists of paths tell nobody anything. */
static bool is_telling(json_object *value) {
    if (json_object_is_type(value, json_type_array))
        return json_object_array_length(value) > 0 &&
               json_object_get_string(json_object_array_get_idx(value, 0))[0] != '/';
    return json_object_get_string_len(value) > 0 || !json_object_is_type(value, json_type_string);
}

static void print_assignment(const char *key, json_object *value) {
    _cleanup_(freep) char *text = is_telling(value) ? value_text(value, value_kind_of_property(key)) : NULL;
    _cleanup_(freep) char *escaped = text ? text_escape(text) : NULL;
    const char *quote = escaped && strchr(escaped, ' ') ? "\"" : "";

    if (escaped && strcmp(key, "Name") != 0)
        printf("  %s=%s%s%s", key, quote, escaped, quote);
}

static void print_text(uint64_t usec, const char *kind, const char *name, const char *what, json_object *properties) {
    _cleanup_(freep) char *when = text_time(usec), *shown = text_escape(name);

    printf("%s  %-8s %-6s %s", when ? when : "", what, kind, shown ? shown : "");
    if (properties) {
        json_object_object_foreach(properties, key, value) print_assignment(key, value);
    }
    printf("\n");
}

static void print_event(const struct ctl *ctl, const char *path, const char *what, json_object *properties) {
    const char *kind;
    _cleanup_(freep) char *name = ctl_object_name(path, &kind);

    if (name)
        (ctl->json ? print_json : print_text)(now_usec(), kind, name, what, properties);
}

/* The interface of ours among those of an object: its properties. */
static json_object *own_properties(json_object *interfaces) {
    json_object_object_foreach(interfaces, interface,
                               properties) if (strncmp(interface, BROKER_NAME ".", strlen(BROKER_NAME ".")) ==
                                               0) return properties;
    return NULL;
}

static int on_added(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    _cleanup_(json_unrefp) json_object *interfaces = NULL;
    const char *path;

    if (sd_bus_message_has_signature(message, "oa{sa{sv}}") && sd_bus_message_read_basic(message, 'o', &path) > 0 &&
        value_read(message, &interfaces) > 0 && own_properties(interfaces))
        print_event(userdata, path, "added", own_properties(interfaces));
    return 0;
}

/* The signal lists every interface of the object that went; one line is enough. */
static int on_removed(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    const char *path;

    if (sd_bus_message_has_signature(message, "oas") && sd_bus_message_read_basic(message, 'o', &path) > 0)
        print_event(userdata, path, "removed", NULL);
    return 0;
}

/* Properties that are told to have changed, but not their value, come with the value null. */
static int on_changed(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    _cleanup_(json_unrefp) json_object *changed = NULL, *invalidated = NULL;
    const char *interface;

    if (!sd_bus_message_has_signature(message, "sa{sv}as") ||
        sd_bus_message_read_basic(message, 's', &interface) <= 0 || value_read(message, &changed) <= 0 ||
        value_read(message, &invalidated) <= 0)
        return 0;
    for (size_t i = 0; ((const struct ctl *) userdata)->json && i < json_object_array_length(invalidated); i++)
        json_object_object_add(changed, json_object_get_string(json_object_array_get_idx(invalidated, i)), NULL);
    if (json_object_object_length(changed) > 0)
        print_event(userdata, sd_bus_message_get_path(message), "changed", changed);
    return 0;
}

static int on_owner(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    const char *name, *before, *now;

    if (sd_bus_message_read(message, "sss", &name, &before, &now) >= 0)
        print_event(userdata, BROKER_PATH, *now ? "started" : "stopped", NULL);
    return 0;
}

static int add_matches(struct ctl *ctl) {
    static const struct {
        const char *rule;
        sd_bus_message_handler_t handler;
    } matches[] = {
        {"type='signal',sender='" BROKER_NAME "',interface='org.freedesktop.DBus.ObjectManager',"
         "member='InterfacesAdded'",
         on_added},
        {"type='signal',sender='" BROKER_NAME "',interface='org.freedesktop.DBus.ObjectManager',"
         "member='InterfacesRemoved'",
         on_removed},
        {"type='signal',sender='" BROKER_NAME "',interface='org.freedesktop.DBus.Properties',"
         "member='PropertiesChanged'",
         on_changed},
        {"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" BROKER_NAME "'", on_owner},
    };
    int r = 0;

    for (size_t i = 0; r >= 0 && i < sizeof(matches) / sizeof(matches[0]); i++)
        r = sd_bus_add_match(ctl->bus, NULL, matches[i].rule, matches[i].handler, ctl);
    return r;
}

/* SIGINT and SIGTERM end the program in good order. */
static int add_signals(sd_event *event) {
    sigset_t signals;
    int r;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return -errno;
    r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
    return r < 0 ? r : sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
}

static enum status run(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    _cleanup_(sd_event_unrefp) sd_event *event = NULL;
    enum status status = ctl_connect(ctl);
    int r;

    if (status)
        return status;
    setvbuf(stdout, NULL, _IOLBF, 0);
    r = sd_event_new(&event);
    if (r >= 0)
        r = add_signals(event);
    if (r >= 0)
        r = sd_bus_set_exit_on_disconnect(ctl->bus, true);
    if (r >= 0)
        r = sd_bus_attach_event(ctl->bus, event, SD_EVENT_PRIORITY_NORMAL);
    if (r >= 0)
        r = add_matches(ctl);
    if (r >= 0 && ctl->legend)
        fprintf(stderr, "Following " BROKER_NAME "; Ctrl-C ends it.\n");
    if (r >= 0)
        r = sd_event_loop(event);
    if (r < 0)
        complain("can't follow the broker: %s", strerror(-r));
    else if (r > 0)
        complain("the bus hung up");
    return r == 0 ? STATUS_OK : r > 0 ? STATUS_NO_BROKER : STATUS_FAILED;
}

const struct command command_monitor = {
    .name = "monitor",
    .arguments = "",
    .summary = "tell what comes, changes and goes, until Ctrl-C",
    .help = "Prints one line an event: VMs, devices and regions that are added, changed or removed, and the broker's\n"
            "own start and stop. With --json, one object a line; a property whose new value was not sent is null.\n"
            "\n"
            "  ioregionctl monitor                          look on while a unit starts\n"
            "  ioregionctl monitor --json | jq -c 'select(.properties.State == \"failed\")'\n",
    .options = OPTION_JSON | OPTION_NO_LEGEND | OPTION_REMOTE,
    .run = run,
};
