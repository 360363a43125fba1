/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include <ioregion/region.h>
#include "ctl.h"
#include "value.h"

enum status ctl_connect(struct ctl *ctl) {
    int r;

    if (ctl->bus)
        return STATUS_OK;
    if (ctl->host)
        r = sd_bus_open_system_remote(&ctl->bus, ctl->host);
    else if (ctl->machine)
        r = sd_bus_open_system_machine(&ctl->bus, ctl->machine);
    else
        r = sd_bus_open_system(&ctl->bus);
    if (r < 0) {
        complain("can't reach the system bus%s%s: %s", ctl->host || ctl->machine ? " of " : "",
                 ctl->host      ? ctl->host
                 : ctl->machine ? ctl->machine
                                : "",
                 strerror(-r));
        return STATUS_NO_BROKER;
    }
    return STATUS_OK;
}

/* Nobody is there to answer, or nobody any more; a remote transport that ends tells so only here. */
static bool no_broker(const sd_bus_error *error) {
    int r = sd_bus_error_get_errno(error);

    return sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
           sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
           sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) || r == ENOTCONN || r == ECONNRESET;
}

static enum status call_failed(const char *about, const sd_bus_error *error, int r) {
    if (no_broker(error)) {
        complain("ioregiond does not answer on the bus: %s (%s)", error->message ? error->message : about, error->name);
        return STATUS_NO_BROKER;
    }
    if (sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_OBJECT))
        complain("there is no %s (%s)", about, error->name);
    else if (sd_bus_error_is_set(error))
        complain("%s (%s)", error->message ? error->message : about, error->name);
    else
        complain("%s: %s", about, strerror(-r));
    return STATUS_FAILED;
}

enum status ctl_call(struct ctl *ctl, const char *about, const char *path, const char *interface, const char *member,
                     sd_bus_message **ret_reply, const char *types, ...) {
    _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    enum status status = ctl_connect(ctl);
    va_list arguments;
    int r;

    if (status)
        return status;
    va_start(arguments, types);
    r = sd_bus_call_methodv(ctl->bus, BROKER_NAME, path, interface, member, &error, ret_reply, types, arguments);
    va_end(arguments);
    return r < 0 ? call_failed(about, &error, r) : STATUS_OK;
}

static enum status read_reply(sd_bus_message *reply, const char *type, json_object **ret_value) {
    int r = sd_bus_message_has_signature(reply, type) ? value_read(reply, ret_value) : -EBADMSG;

    if (r > 0)
        return STATUS_OK;
    complain("can't read the broker's answer: %s", strerror(r < 0 ? -r : EBADMSG));
    return STATUS_FAILED;
}

enum status ctl_get(struct ctl *ctl, const char *about, const char *path, const char *interface, const char *member,
                    const char *type, json_object **ret_value) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    enum status status = ctl_call(ctl, about, path, interface, member, &reply, "");

    return status ? status : read_reply(reply, type, ret_value);
}

enum status ctl_properties(struct ctl *ctl, const char *about, const char *path, const char *interface,
                           json_object **ret_properties) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    enum status status =
        ctl_call(ctl, about, path, "org.freedesktop.DBus.Properties", "GetAll", &reply, "s", interface);

    return status ? status : read_reply(reply, "a{sv}", ret_properties);
}

enum status ctl_object(const char *name, char **ret_path, const char **ret_interface) {
    static const struct {
        const char *template, *interface;
    } kinds[] = {
        {BROKER_PATH "/vm/%", INTERFACE_VM},
        {BROKER_PATH "/vm/%/device/%", INTERFACE_DEVICE},
        {BROKER_PATH "/vm/%/device/%/region/%", INTERFACE_REGION},
    };
    _cleanup_(freep) char *copy = strdup(name);
    char *parts[4] = {NULL}, *rest = copy;
    size_t n = 0;

    while (rest && n < 4)
        parts[n++] = strsep(&rest, "/");
    for (size_t i = 0; i < n; i++)
        if (*parts[i] == '\0' || i == 3) {
            complain("'%s' names nothing: give VM, VM/DEVICE or VM/DEVICE/REGION", name);
            return STATUS_USAGE;
        }
    if (n == 0 || sd_bus_path_encode_many(ret_path, kinds[n - 1].template, parts[0], parts[1], parts[2]) < 0) {
        complain("out of memory");
        return STATUS_FAILED;
    }
    *ret_interface = kinds[n - 1].interface;
    return STATUS_OK;
}

char *ctl_object_name(const char *path, const char **ret_kind) {
    _cleanup_(freep) char *vm = NULL, *device = NULL, *region = NULL;
    char *name;
    int r = -1;

    if (strcmp(path, BROKER_PATH) == 0) {
        *ret_kind = "broker";
        return strdup("");
    }
    if (sd_bus_path_decode_many(path, BROKER_PATH "/vm/%/device/%/region/%", &vm, &device, &region) > 0) {
        *ret_kind = "region";
        r = asprintf(&name, "%s/%s/%s", vm, device, region);
    } else if (sd_bus_path_decode_many(path, BROKER_PATH "/vm/%/device/%", &vm, &device) > 0) {
        *ret_kind = "device";
        r = asprintf(&name, "%s/%s", vm, device);
    } else if (sd_bus_path_decode_many(path, BROKER_PATH "/vm/%", &vm) > 0) {
        *ret_kind = "vm";
        r = asprintf(&name, "%s", vm);
    }
    return r < 0 ? NULL : name;
}

/*
 * The broker's words come with the name of the error before them; everywhere else we put it behind. Within a unit they
 * are its status, too: ioregionctl start and systemctl status tell it.
 */
enum status ctl_library_failed(int r) {
    const char *error = ioregion_last_error(), *text = strstr(error, ": ");
    _cleanup_(freep) char *told = NULL;

    if (text && strncmp(error, BROKER_NAME, strlen(BROKER_NAME)) == 0 &&
        asprintf(&told, "%s (%.*s)", text + 2, (int) (text - error), error) < 0)
        told = NULL;
    sd_notifyf(false, "STATUS=%s", told ?: error);
    complain("%s", told ?: error);
    return r == -EHOSTUNREACH ? STATUS_NO_BROKER : STATUS_FAILED;
}
