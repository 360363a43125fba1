/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "bus-call.h"
#include "bus-error.h"
#include "journal.h"

/* For `systemctl service-log-level`. */
#define LOG_CONTROL "org.freedesktop.LogControl1"

static int get_level(sd_bus *connection, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    return sd_bus_message_append(reply, "s", journal_level_name(journal_max_level()));
}

static int get_target(sd_bus *connection, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    return sd_bus_message_append(reply, "s", journal_is_connected() ? "journal" : "console");
}

static int get_identifier(sd_bus *connection, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    return sd_bus_message_append(reply, "s", "ioregiond");
}

/* Never reached: on_message() takes every Set before sd-bus looks for a setter. LogTarget is what it is at start. */
static int set_nothing(sd_bus *connection, const char *path, const char *interface, const char *property,
                       sd_bus_message *value, void *userdata, sd_bus_error *ret_error) {
    return -EPERM;
}

/* sd-bus checks no arguments before on_message(). No interface is any interface. */
static int set_level(sd_bus_message *message, sd_bus_error *ret_error) {
    const char *interface, *property, *value;
    int level;

    if (sd_bus_message_read(message, "ssv", &interface, &property, "s", &value) <= 0)
        return bus_error_invalid(ret_error, "Set takes an interface, a property, and a variant with a string");
    if ((*interface && strcmp(interface, LOG_CONTROL) != 0) || strcmp(property, "LogLevel") != 0)
        return sd_bus_error_setf(ret_error, SD_BUS_ERROR_PROPERTY_READ_ONLY, "only LogLevel can be set here");
    level = journal_level_from_name(value);
    if (level < 0)
        return bus_error_invalid(ret_error,
                                 "'%.32s' is no log level: emerg, alert, crit, err, warning, notice, info, "
                                 "debug",
                                 value);
    journal_set_max_level(level);
    return 0;
}

static void set_property(struct call *call) {
    _cleanup_(sd_bus_error_free) sd_bus_error failure = SD_BUS_ERROR_NULL;
    int r;

    r = set_level(call->message, &failure);
    if (r < 0)
        call_refuse(call, r, &failure);
    else
        call_reply(call, "");
}

/* sd-bus would ask the bus who the caller is, and wait for it, before it calls a setter. */
static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    if (!sd_bus_message_is_method_call(message, "org.freedesktop.DBus.Properties", "Set"))
        return 0;
    return call_new_operator(userdata, message, set_property);
}

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", get_level, set_nothing, 0, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("LogTarget", "s", get_target, 0, 0),
    SD_BUS_PROPERTY("SyslogIdentifier", "s", get_identifier, 0, 0),
    SD_BUS_VTABLE_END,
};

int bus_add_log_control(struct bus *bus) {
    int r = sd_bus_add_object(bus->connection, NULL, BUS_PATH_LOG, on_message, bus);

    return r < 0 ? r : sd_bus_add_object_vtable(bus->connection, NULL, BUS_PATH_LOG, LOG_CONTROL, vtable, bus);
}
