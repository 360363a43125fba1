/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>

#include "bus-call.h"
#include "bus-error.h"
#include "bus-list.h"
#include "bus-sender.h"
#include "journal.h"

#define RETRY_USEC UINT64_C(1000000)

static int connect_bus(struct bus *bus);

static void disconnect(struct bus *bus) {
    bus->connection = sd_bus_close_unref(bus->connection);
}

/* The dead connection stays until there is a new one, so that signals have somewhere to go. */
static int on_retry(sd_event_source *source, uint64_t now, void *userdata) {
    struct bus *bus = userdata;
    sd_bus *dead = STEAL(bus->connection);

    if (connect_bus(bus) >= 0) {
        sd_bus_close_unref(dead);
        return 0;
    }
    disconnect(bus);
    bus->connection = dead;
    sd_event_source_set_time_relative(source, RETRY_USEC);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

/* VMs and devices live by their leases: they don't notice. */
static void retry(struct bus *bus) {
    if (bus->retry) {
        sd_event_source_set_time_relative(bus->retry, RETRY_USEC);
        sd_event_source_set_enabled(bus->retry, SD_EVENT_ONESHOT);
    } else {
        sd_event_add_time_relative(bus->event, &bus->retry, CLOCK_MONOTONIC, RETRY_USEC, 0, on_retry, bus);
    }
}

static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    struct bus *bus = userdata;

    if (bus->ready) {
        journal_log(LOG_ERR, "the bus hung up before the name %s was ours", BUS_NAME);
        return sd_event_exit(bus->event, EXIT_FAILURE);
    }
    journal_log(LOG_WARNING, "the bus is gone: VMs and devices stay, trying to come back");
    retry(bus);
    return 0;
}

/* The bus answers with a number: 1, it is ours; 3, somebody else has it; 4, it was ours before. */
static const char *why_not_ours(sd_bus_message *reply) {
    const sd_bus_error *error = sd_bus_message_get_error(reply);
    uint32_t answer;

    if (error)
        return error->message ? error->message : error->name;
    if (sd_bus_message_read_basic(reply, 'u', &answer) < 0)
        return "it answers nonsense";
    return answer == 1 || answer == 4 ? NULL : "another process has it";
}

static int on_name(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const char *why = why_not_ours(reply);
    struct bus *bus = userdata;

    if (why && bus->ready) {
        journal_log(LOG_ERR, "the bus does not give us the name %s: %s", BUS_NAME, why);
        /* its policy lacks us, which another start does not change; who has the name may be about to go */
        return sd_event_exit(
            bus->event, sd_bus_message_is_method_error(reply, SD_BUS_ERROR_ACCESS_DENIED) ? EX_CONFIG : EXIT_FAILURE);
    }
    if (why) {
        journal_log(LOG_WARNING, "the bus does not give us the name %s back: %s", BUS_NAME, why);
        retry(bus);
        return 0;
    }
    if (bus->ready) {
        bus->ready(bus->userdata);
        bus->ready = NULL;
    } else {
        journal_log(LOG_NOTICE, "back on the bus");
    }
    return 0;
}

static int add_objects(struct bus *bus) {
    int (*const add[])(struct bus * bus) = {
        bus_add_manager, bus_add_vms, bus_add_devices, bus_add_regions, bus_add_log_control, bus_watch_units,
    };
    int r = 0;

    for (size_t i = 0; i < sizeof(add) / sizeof(*add) && r >= 0; i++)
        r = add[i](bus);
    return r;
}

/* On failure the connection is to be closed. */
static int connect_bus(struct bus *bus) {
    int r;

    bus_forget_senders(bus);
    r = sd_bus_open_system_with_description(&bus->connection, "ioregiond");
    if (r >= 0)
        r = sd_bus_add_filter(bus->connection, NULL, bus_get_managed_objects, bus);
    if (r >= 0)
        r = add_objects(bus);
    if (r >= 0)
        r = sd_bus_match_signal(bus->connection, NULL, "org.freedesktop.DBus.Local", "/org/freedesktop/DBus/Local",
                                "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, bus);
    if (r >= 0)
        r = sd_bus_request_name_async(bus->connection, NULL, BUS_NAME, 0, on_name, bus);
    return r < 0 ? r : sd_bus_attach_event(bus->connection, bus->event, SD_EVENT_PRIORITY_NORMAL);
}

int bus_new(struct bus **ret_bus, sd_event *event, const char *policy_directory) {
    struct bus *bus;
    int r;

    r = bus_error_register();
    if (r < 0)
        return r;
    bus = calloc(1, sizeof(*bus));
    if (!bus)
        return -ENOMEM;
    bus->event = sd_event_ref(event);
    bus->policy_directory = policy_directory;
    TAILQ_INIT(&bus->calls);
    TAILQ_INIT(&bus->idle_senders);
    *ret_bus = bus;
    return 0;
}

struct bus *bus_free(struct bus *bus) {
    if (!bus)
        return NULL;
    bus_end_calls(bus);
    bus_forget_senders(bus);
    sd_event_source_disable_unref(bus->retry);
    sd_event_source_disable_unref(bus->counts);
    sd_bus_slot_unref(bus->question);
    disconnect(bus);
    bus_forget_units(bus);
    sd_event_unref(bus->event);
    free(bus);
    return NULL;
}

int bus_start(struct bus *bus, struct broker *broker, void (*ready)(void *userdata), void *userdata) {
    int r;

    bus->broker = broker;
    bus->ready = ready;
    bus->userdata = userdata;
    r = connect_bus(bus);
    if (r < 0)
        journal_log(LOG_ERR, "can't connect to the bus: %s", strerrordesc_np(-r));
    return r;
}
