/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "table.h"
#include "value.h"

static void add_line(struct table *table, const char *name, json_object *value) {
    _cleanup_(freep) char *text = value_text(value, value_kind_of_property(name)), *label = NULL;

    if (!text || asprintf(&label, "%s:", name) < 0)
        return;
    *label = (char) toupper(*label); /* counters are not written as properties are */
    table_add(table, label);
    table_add(table, text);
}

/* Names to the right, values to the left, as systemctl and loginctl do. @statistics may be NULL. */
static void print_properties(json_object *properties, json_object *statistics) {
    static const char *const titles[] = {">", ""};
    struct table table = TABLE(titles);

    json_object_object_foreach(properties, name, value) {
        /* what a table below tells in full */
        if (strcmp(name, "Devices") != 0 && strcmp(name, "Regions") != 0)
            add_line(&table, name, value);
    }
    if (statistics) {
        json_object_object_foreach(statistics, counter, count) add_line(&table, counter, count);
    }
    table_print(&table, stdout, false);
    table_done(&table);
}

static enum status show_region(struct ctl *ctl, const char *name, const char *path, json_object *properties) {
    _cleanup_(json_unrefp) json_object *statistics = NULL, *object = NULL;
    enum status status = ctl_get(ctl, name, path, INTERFACE_REGION, "GetStatistics", "a{st}", &statistics);

    if (ctl->json) {
        object = value_properties_json(properties);
        json_object_object_add(object, "Statistics", json_object_get(statistics));
        value_print(object, true);
    } else
        print_properties(properties, statistics);
    return status;
}

/* Add what was counted to each row. A VMM that does not answer costs seconds: it is not asked again. */
static enum status add_statistics(struct ctl *ctl, json_object *rows) {
    enum status status = STATUS_OK;

    for (size_t i = 0; i < json_object_array_length(rows) && !status; i++) {
        json_object *row = json_object_array_get_idx(rows, i), *statistics;
        const char *path = json_object_get_string(json_object_object_get(row, "path"));

        status = ctl_get(ctl, path, path, INTERFACE_REGION, "GetStatistics", "a{st}", &statistics);
        if (!status)
            json_object_object_add(row, "statistics", statistics);
    }
    return status;
}

static void print_statistics(const struct ctl *ctl, json_object *rows) {
    static const char *const titles[] = {">REGION", ">READS", ">WRITES", ">POSTED", ">FAILURES", ">TIMEOUTS"};
    static const char *const keys[] = {"reads", "writes", "posted", "failures", "timeouts"};
    struct table table = TABLE(titles);

    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        json_object *statistics = json_object_object_get(row, "statistics");

        table_add(&table, json_object_get_string(json_object_object_get(row, "region")));
        for (size_t j = 0; j < sizeof(keys) / sizeof(keys[0]); j++) {
            json_object *value = json_object_object_get(statistics, keys[j]);

            table_add(&table, value ? json_object_get_string(value) : "");
        }
    }
    table_print(&table, stdout, ctl->legend);
    table_done(&table);
}

/* A VM with its devices, or a device with its regions; @vm and @device say whose. */
static enum status show_owner(struct ctl *ctl, const char *vm, const char *device, json_object *properties) {
    const char *kind = device ? "regions" : "devices";
    _cleanup_(json_unrefp) json_object *rows = NULL, *object = NULL;
    enum status status = list_rows(ctl, kind, vm, device, &rows);

    if (status)
        return status;
    if (device)
        status = add_statistics(ctl, rows);
    if (ctl->json) {
        object = value_properties_json(properties);
        json_object_object_add(object, device ? "Regions" : "Devices", list_json(kind, rows));
        value_print(object, true);
        return status;
    }
    print_properties(properties, NULL);
    printf("\n");
    list_print(ctl, kind, rows);
    if (device) {
        printf("\n");
        print_statistics(ctl, rows);
    }
    return status;
}

static enum status show_broker(struct ctl *ctl) {
    _cleanup_(json_unrefp) json_object *properties = NULL, *object = NULL;
    enum status status = ctl_properties(ctl, "broker", BROKER_PATH, INTERFACE_MANAGER, &properties);

    if (status)
        return status;
    if (ctl->json) {
        object = value_properties_json(properties);
        value_print(object, true);
    } else
        print_properties(properties, NULL);
    return STATUS_OK;
}

static enum status run(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    _cleanup_(json_unrefp) json_object *properties = NULL;
    _cleanup_(freep) char *path = NULL;
    const char *interface, *vm;
    enum status status;

    if (n_arguments == 0)
        return show_broker(ctl);
    status = ctl_object(arguments[0], &path, &interface);
    if (!status)
        status = ctl_properties(ctl, arguments[0], path, interface, &properties);
    if (status)
        return status;
    if (strcmp(interface, INTERFACE_REGION) == 0)
        return show_region(ctl, arguments[0], path, properties);
    vm = strsep(&arguments[0], "/");
    return show_owner(ctl, vm, arguments[0], properties); /* what is left is the device, or NULL */
}

const struct command command_show = {
    .name = "show",
    .arguments = "[VM | VM/DEVICE | VM/DEVICE/REGION]",
    .summary = "show all there is to know of one object",
    .help = "Shows every property of the broker, a VM, a device or a region, what it holds, and what was counted on\n"
            "its regions: accesses, posted writes, failures (read as all ones or dropped) and missed deadlines.\n"
            "\n"
            "  ioregionctl show                             the broker itself\n"
            "  ioregionctl show alpha                       the VM, and its devices\n"
            "  ioregionctl show alpha/uart0                 the device, its regions, their statistics\n"
            "  ioregionctl show alpha/uart0/0 --json | jq .Statistics.reads\n",
    .max = 1,
    .options = OPTION_JSON | OPTION_NO_LEGEND | OPTION_REMOTE,
    .run = run,
};
