/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <search.h>
#include <string.h>
#include <syslog.h>

#include "bus-units.h"
#include "journal.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"

/*
 * Signals only say where to look: they may be late, or forged, and systemd takes a unit that it restarts through
 * "inactive" on the way. What counts is the answer to a question. One question is under way at a time, for all units
 * that there is something to ask about; one match rule serves all units, as a bus gives a client some hundreds only.
 */

struct unit {
    char *name;
    size_t n_devices;
    bool look;  /* there is something to ask about */
    bool newer; /* a device was attached after we asked: the answer may be about the process before */
};

static int unit_compare(const void *left, const void *right) {
    const struct unit *a = left, *b = right;

    return strcmp(a->name, b->name);
}

static struct unit *unit_find(const struct bus *bus, const char *name) {
    const struct unit key = {.name = (char *) name};
    struct unit **node = name ? tfind(&key, &bus->units, unit_compare) : NULL;

    return node ? *node : NULL;
}

static struct unit *unit_free(struct unit *unit) {
    free(unit->name);
    free(unit);
    return NULL;
}
DEFINE_CLEANUP(unit_free, struct unit *);

static struct unit *unit_new(struct bus *bus, const char *name) {
    _cleanup_(unit_freep) struct unit *unit = calloc(1, sizeof(*unit));

    if (!unit)
        return NULL;
    unit->name = strdup(name);
    if (!unit->name || !tsearch(unit, &bus->units, unit_compare))
        return NULL;
    return STEAL(unit);
}

enum unit_fate unit_fate(const char *active, const char *sub, uint32_t job) {
    if (strcmp(active, "activating") == 0 && strncmp(sub, "auto-restart", strlen("auto-restart")) == 0)
        return UNIT_RESTARTS;
    /* with a job it is on its way: "inactive" is also what it is in the middle of a restart */
    if (job == 0 && (strcmp(active, "inactive") == 0 || strcmp(active, "failed") == 0))
        return UNIT_ENDED;
    return UNIT_LIVES;
}

/* A unit's devices, collected first: ending one changes the trees that we walk. */
struct members {
    const char *unit;
    struct device **devices;
    size_t n;
};

static int collect_device(struct device *device, void *userdata) {
    struct members *members = userdata;

    if (device->owner->unit && strcmp(device->owner->unit, members->unit) == 0)
        members->devices[members->n++] = device;
    return 0;
}

static int collect_devices(struct vm *vm, void *userdata) {
    return vm_each_device(vm, collect_device, userdata);
}

static void meet_fate(struct bus *bus, const char *name, enum unit_fate fate) {
    _cleanup_(freep) struct device **devices = calloc(bus->broker->n_devices + 1, sizeof(struct device *));
    struct members members = {.unit = name, .devices = devices};

    if (!devices)
        return;
    broker_each_vm(bus->broker, collect_devices, &members);
    for (size_t i = 0; i < members.n; i++)
        if (fate == UNIT_RESTARTS)
            device_unit_restarts(devices[i]);
        else
            device_unit_ended(devices[i]);
}

/* a(ssssssouso): name, description, load state, active state, sub state, followed, object, job, its type, its object */
static int read_units(struct bus *bus, sd_bus_message *answer) {
    const char *name, *active, *sub;
    uint32_t job;
    int r;

    r = sd_bus_message_enter_container(answer, 'a', "(ssssssouso)");
    if (r < 0)
        return r;
    while ((r = sd_bus_message_read(answer, "(ssssssouso)", &name, NULL, NULL, &active, &sub, NULL, NULL, &job, NULL,
                                    NULL)) > 0) {
        const struct unit *unit = unit_find(bus, name);
        enum unit_fate fate = unit_fate(active, sub, job);

        if (unit && !unit->newer && fate != UNIT_LIVES)
            meet_fate(bus, name, fate); /* may free the unit */
    }
    return r;
}

static void ask(struct bus *bus);
static void mark_unit(const void *node, VISIT visit, void *userdata);

static int on_answer(sd_bus_message *answer, void *userdata, sd_bus_error *ret_error) {
    const sd_bus_error *error = sd_bus_message_get_error(answer);
    struct bus *bus = userdata;

    bus->question = sd_bus_slot_unref(bus->question);
    if (error) {
        journal_log(LOG_DEBUG, "systemd does not say how the units are: %s", error->message);
        twalk_r(bus->units, mark_unit, NULL); /* asked again with the next occasion */
        return 0;
    }
    if (read_units(bus, answer) < 0)
        journal_log(LOG_WARNING, "systemd says nonsense about the units");
    ask(bus); /* what happened meanwhile */
    return 0;
}

int systemd_call_new(const struct bus *bus, const char *member, sd_bus_message **ret_message) {
    int r;

    r = sd_bus_message_new_method_call(bus->connection, ret_message, SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER, member);
    return r < 0 ? r : sd_bus_message_set_auto_start(*ret_message, false);
}

struct question {
    sd_bus_message *message;
    size_t n_units;
    int error;
};

static void add_unit(const void *node, VISIT visit, void *userdata) {
    struct unit *unit = *(struct unit *const *) node;
    struct question *question = userdata;

    if ((visit != postorder && visit != leaf) || !unit->look || question->error < 0)
        return;
    unit->look = unit->newer = false;
    question->n_units++;
    question->error = sd_bus_message_append_basic(question->message, 's', unit->name);
}

/* Units that it can't ask about for want of a bus are asked about when there is one. */
static void ask(struct bus *bus) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    struct question question = {};

    if (bus->question || !bus->units || systemd_call_new(bus, "ListUnitsByNames", &message) < 0)
        return;
    question.message = message;
    question.error = sd_bus_message_open_container(message, 'a', "s");
    twalk_r(bus->units, add_unit, &question);
    if (question.error >= 0 && question.n_units > 0 && sd_bus_message_close_container(message) >= 0)
        sd_bus_call_async(bus->connection, &bus->question, message, on_answer, bus, UINT64_MAX);
}

static void look(struct bus *bus, struct unit *unit, bool newer) {
    unit->look = true;
    unit->newer |= newer;
    ask(bus);
}

void unit_watch_add(struct bus *bus, const struct device *device) {
    const char *name = device->owner->unit;
    struct unit *unit = unit_find(bus, name);

    if (!name)
        return;
    if (!unit)
        unit = unit_new(bus, name);
    if (!unit) {
        journal_log(LOG_WARNING, "no memory to watch unit %s", name);
        return;
    }
    unit->n_devices++;
    look(bus, unit, true);
}

void unit_watch_again(struct bus *bus, const struct device *device) {
    struct unit *unit = unit_find(bus, device->owner->unit);

    if (unit)
        look(bus, unit, true);
}

void unit_watch_remove(struct bus *bus, const struct device *device) {
    struct unit *unit = unit_find(bus, device->owner->unit);

    if (!unit || --unit->n_devices > 0)
        return;
    tdelete(unit, &bus->units, unit_compare);
    unit_free(unit);
}

static void destroy_unit(void *unit) {
    unit_free(unit);
}

/* Devices that outlive this process were not told of as removed. */
void bus_forget_units(struct bus *bus) {
    tdestroy(bus->units, destroy_unit);
    bus->units = NULL;
}

static int on_unit_changed(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    _cleanup_(freep) char *name = NULL;
    struct bus *bus = userdata;
    struct unit *unit;

    if (sd_bus_path_decode(sd_bus_message_get_path(message), SYSTEMD_PATH "/unit", &name) <= 0)
        return 0;
    unit = unit_find(bus, name);
    if (unit)
        look(bus, unit, false);
    return 0;
}

static void mark_unit(const void *node, VISIT visit, void *userdata) {
    if (visit == postorder || visit == leaf)
        (*(struct unit *const *) node)->look = true;
}

/* So that what fails is no reason to hang up, and is told to those who look for it. */
static int on_subscribed(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const sd_bus_error *error = sd_bus_message_get_error(reply);

    if (error)
        journal_log(LOG_DEBUG, "watching units: systemd or the bus says: %s", error->message);
    return 0;
}

/* systemd sends no signals to nobody; afterwards, what happened before. */
static int subscribe(struct bus *bus) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    int r;

    r = systemd_call_new(bus, "Subscribe", &message);
    if (r >= 0)
        r = sd_bus_call_async(bus->connection, NULL, message, on_subscribed, bus, 0);
    twalk_r(bus->units, mark_unit, NULL);
    ask(bus);
    return r;
}

/* It came, or came back as a new process. */
static int on_systemd(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    struct bus *bus = userdata;
    const char *owner;

    if (sd_bus_message_read(message, "sss", NULL, NULL, &owner) >= 0 && *owner) {
        bus->without_systemd = false;
        subscribe(bus);
    }
    return 0;
}

int bus_watch_units(struct bus *bus) {
    int r;

    bus->question = sd_bus_slot_unref(bus->question); /* it was lost with the old connection */
    bus->without_systemd = false;
    r = sd_bus_add_match_async(bus->connection, NULL,
                               "type='signal',sender='" SYSTEMD "',path_namespace='" SYSTEMD_PATH "/unit',"
                               "interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',"
                               "arg0='org.freedesktop.systemd1.Unit'",
                               on_unit_changed, on_subscribed, bus);
    if (r >= 0)
        r = sd_bus_add_match_async(bus->connection, NULL,
                                   "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                                   "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" SYSTEMD "'",
                                   on_systemd, on_subscribed, bus);
    return r < 0 ? r : subscribe(bus);
}
