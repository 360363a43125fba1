/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "table.h"
#include "value.h"

/* One member of the structs that a List method gives. */
struct column {
    const char *key;   /* in JSON */
    const char *title; /* in the table; NULL: not shown there */
    enum value_kind kind;
};

#define MAX_COLUMNS 9

static const struct list {
    const char *kind, *method, *type;
    struct column columns[MAX_COLUMNS + 1];
} lists[] = {
    {"vms",
     "ListVMs",
     "a(sussssuuo)",
     {{"name", "VM"},
      {"pid", ">PID"},
      {"unit", "UNIT"},
      {"user", "USER"},
      {"dispatch", "DISPATCH"},
      {"state", "STATE"},
      {"devices", ">DEVICES"},
      {"regions", ">REGIONS"},
      {"path"}}},
    {"devices",
     "ListDevices",
     "a(sssssasuto)",
     {{"vm", "VM"},
      {"device", "DEVICE"},
      {"unit", "UNIT"},
      {"user", "USER"},
      {"state", "STATE"},
      {"features", "FEATURES"},
      {"regions", ">REGIONS"},
      {"timeout-usec", ">DEADLINE", VALUE_USEC},
      {"path"}}},
    {"regions",
     "ListRegions",
     "a(ssusttasso)",
     {{"vm", "VM"},
      {"device", "DEVICE"},
      {"region", ">REGION"},
      {"space", "SPACE"},
      {"base", ">BASE", VALUE_ADDRESS},
      {"size", ">SIZE", VALUE_SIZE},
      {"flags", "FLAGS"},
      {"state", "STATE"},
      {"path"}}},
};

#define N_LISTS (sizeof(lists) / sizeof(lists[0]))

static const struct list *find_list(const char *kind) {
    for (size_t i = 0; i < N_LISTS; i++)
        if (strcmp(lists[i].kind, kind) == 0)
            return &lists[i];
    return NULL;
}

static bool is(json_object *row, const char *key, const char *wanted) {
    const char *value = json_object_get_string(json_object_object_get(row, key));

    return !wanted || (value && strcmp(value, wanted) == 0);
}

/* A struct of the bus as an object with named members. */
static json_object *named_row(const struct list *list, json_object *members) {
    json_object *row = json_object_new_object();

    for (size_t i = 0; list->columns[i].key && i < json_object_array_length(members); i++)
        json_object_object_add(row, list->columns[i].key, json_object_get(json_object_array_get_idx(members, i)));
    return row;
}

enum status list_rows(struct ctl *ctl, const char *kind, const char *vm, const char *device, json_object **ret_rows) {
    const struct list *list = find_list(kind);
    _cleanup_(json_unrefp) json_object *reply = NULL;
    json_object *rows;
    enum status status = ctl_get(ctl, kind, BROKER_PATH, INTERFACE_MANAGER, list->method, list->type, &reply);

    if (status)
        return status;
    rows = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(reply); i++) {
        json_object *row = named_row(list, json_object_array_get_idx(reply, i));

        if (is(row, "vm", vm) && is(row, "device", device))
            json_object_array_add(rows, row);
        else
            json_object_put(row);
    }
    *ret_rows = rows;
    return STATUS_OK;
}

void list_print(const struct ctl *ctl, const char *kind, json_object *rows) {
    const struct list *list = find_list(kind);
    const char *titles[MAX_COLUMNS];
    const struct column *shown[MAX_COLUMNS];
    struct table table = {.titles = titles};
    size_t n_rows = json_object_array_length(rows);

    for (const struct column *c = list->columns; c->key; c++)
        if (c->title) {
            shown[table.n_columns] = c;
            titles[table.n_columns++] = c->title;
        }
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < table.n_columns; j++) {
            json_object *value = json_object_object_get(json_object_array_get_idx(rows, i), shown[j]->key);
            _cleanup_(freep) char *text = value ? value_text(value, shown[j]->kind) : NULL;

            table_add(&table, text ? text : "");
        }
    table_print(&table, stdout, ctl->legend);
    if (ctl->legend)
        printf("%zu %.*s\n", n_rows, (int) strlen(list->kind) - (n_rows == 1), list->kind);
    table_done(&table);
}

static enum value_kind kind_of(const struct list *list, const char *key) {
    for (const struct column *c = list->columns; c->key; c++)
        if (strcmp(c->key, key) == 0)
            return c->kind;
    return VALUE_PLAIN;
}

json_object *list_json(const char *kind, json_object *rows) {
    const struct list *list = find_list(kind);
    json_object *array = json_object_new_array();

    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_new_object();

        json_object_object_foreach(json_object_array_get_idx(rows, i), key, value)
            json_object_object_add(row, key, value_json(value, kind_of(list, key)));
        json_object_array_add(array, row);
    }
    return array;
}

/* Everything: an object of three arrays, or three tables. */
static enum status list_all(struct ctl *ctl) {
    _cleanup_(json_unrefp) json_object *all = json_object_new_object();

    for (size_t i = 0; i < N_LISTS; i++) {
        _cleanup_(json_unrefp) json_object *rows = NULL;
        enum status status = list_rows(ctl, lists[i].kind, NULL, NULL, &rows);

        if (status)
            return status;
        if (ctl->json)
            json_object_object_add(all, lists[i].kind, list_json(lists[i].kind, rows));
        else {
            printf("%s", i > 0 ? "\n" : "");
            list_print(ctl, lists[i].kind, rows);
        }
    }
    if (ctl->json)
        value_print(all, true);
    return STATUS_OK;
}

static enum status run(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    _cleanup_(json_unrefp) json_object *rows = NULL, *array = NULL;
    enum status status;

    if (n_arguments == 0)
        return list_all(ctl);
    if (!find_list(arguments[0])) {
        complain("can't list '%s': give vms, devices or regions", arguments[0]);
        return STATUS_USAGE;
    }
    status = list_rows(ctl, arguments[0], NULL, NULL, &rows);
    if (status)
        return status;
    if (!ctl->json) {
        list_print(ctl, arguments[0], rows);
        return STATUS_OK;
    }
    array = list_json(arguments[0], rows);
    value_print(array, true);
    return STATUS_OK;
}

const struct command command_list = {
    .name = "list",
    .arguments = "[vms|devices|regions]",
    .summary = "list VMs, devices and regions",
    .help = "Lists what the broker holds: all three tables, or the one that is named.\n"
            "\n"
            "  ioregionctl list                             everything, in three tables\n"
            "  ioregionctl list regions                     who answers which addresses\n"
            "  ioregionctl list vms --no-legend             only the rows, for scripts\n"
            "  ioregionctl -H kvm7.example.org list         the same on another host, over ssh\n"
            "  ioregionctl list devices --json | jq -r '.[] | select(.state == \"failed\").unit'\n",
    .max = 1,
    .options = OPTION_JSON | OPTION_NO_LEGEND | OPTION_REMOTE,
    .run = run,
};
