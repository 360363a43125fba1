/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "bus-units.h"

/*
 * Which unit a process runs in: systemd looks into /proc for us, where the daemon itself sees no process but its own.
 * The answer is that of sd_pid_get_unit(3).
 */

#define UNIT_NAME_SIZE 256
#define UNIT_NAME_CHARACTERS "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:-_.\\@"

struct unit_question {
    sd_bus_slot *slot;
    struct bus *bus;
    unit_told_t told;
    void *userdata;
};

static void cancel(struct unit_question *question) {
    sd_bus_slot_unref(question->slot);
    free(question);
}

/* A slice is where units are: processes right in one run in none. */
static bool is_slice(const char *unit) {
    const char *suffix = strrchr(unit, '.');

    return suffix && strcmp(suffix, ".slice") == 0;
}

static int read_unit(sd_bus_message *reply, char **ret_unit) {
    _cleanup_(freep) char *unit = NULL;
    const char *path;
    size_t size;
    int r;

    r = sd_bus_message_read_basic(reply, 'o', &path);
    if (r < 0)
        return r;
    r = sd_bus_path_decode(path, SYSTEMD_PATH "/unit", &unit);
    if (r < 0)
        return r;
    size = unit ? strlen(unit) + 1 : 0;
    if (size < 2 || size > UNIT_NAME_SIZE || strspn(unit, UNIT_NAME_CHARACTERS) + 1 < size)
        return -EBADMSG;
    *ret_unit = is_slice(unit) ? NULL : STEAL(unit);
    return 0;
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const sd_bus_error *error = sd_bus_message_get_error(reply);
    struct unit_question *question = userdata, asked = *question;
    _cleanup_(freep) char *unit = NULL;

    asked.slot = NULL;
    cancel(question);
    if (!error && read_unit(reply, &unit) < 0) {
        asked.told(asked.userdata, -EBADMSG, "it says nonsense");
    } else if (!error || sd_bus_error_has_name(error, "org.freedesktop.systemd1.NoUnitForPID")) {
        asked.told(asked.userdata, 0, unit);
    } else if (sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
               sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN)) {
        asked.bus->without_systemd = true;
        asked.told(asked.userdata, -ENXIO, NULL);
    } else {
        asked.told(asked.userdata, -EIO, error->message ? error->message : error->name);
    }
    return 1;
}

static int ask(void *userdata, pid_t pid, unit_told_t told, void *told_userdata, struct unit_question **ret_question) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    struct unit_question *question;
    struct bus *bus = userdata;
    int r;

    if (bus->without_systemd)
        return -ENXIO;
    r = systemd_call_new(bus, "GetUnitByPID", &message);
    if (r >= 0)
        r = sd_bus_message_append(message, "u", (uint32_t) pid);
    if (r < 0)
        return r;
    question = calloc(1, sizeof(*question));
    if (!question)
        return -ENOMEM;
    *question = (struct unit_question){.bus = bus, .told = told, .userdata = told_userdata};
    r = sd_bus_call_async(bus->connection, &question->slot, message, on_answer, question, UINT64_MAX);
    if (r < 0) {
        free(question);
        return r;
    }
    *ret_question = question;
    return 0;
}

const struct unit_source_type bus_unit_source = {.ask = ask, .cancel = cancel};
