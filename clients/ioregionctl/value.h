/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGIONCTL_VALUE_H
#define IOREGIONCTL_VALUE_H

/* Values of the bus as JSON objects, which the tool then prints as JSON or as text for people. */

#include <json-c/json.h>
#include <systemd/sd-bus.h>

#include "internal/cleanup.h"

static inline json_object *json_unref(json_object *value) {
    json_object_put(value);
    return NULL;
}
DEFINE_CLEANUP(json_unref, json_object *);

/*
 * Read the next complete value: structs become arrays, dictionaries become objects, variants what they hold. 1 when
 * there was one (*ret_value is the caller's), 0 at the end, a negative errno on failure.
 */
int value_read(sd_bus_message *message, json_object **ret_value);

/* How a number is to be read, which its type on the bus does not tell. */
enum value_kind {
    VALUE_PLAIN,
    VALUE_ADDRESS, /* hexadecimal, and a string in JSON */
    VALUE_SIZE,    /* bytes; hexadecimal string in JSON */
    VALUE_USEC,    /* a span of time */
    VALUE_TIME,    /* a moment of CLOCK_REALTIME */
};

/* The kind of a property, by its D-Bus name. */
enum value_kind value_kind_of_property(const char *name);

/* In JSON, addresses and sizes are strings as in policies, since many readers cut numbers to 53 bits. */
json_object *value_json(json_object *value, enum value_kind kind);

/* In one line for people, not escaped; the caller's to free, NULL when out of memory. */
char *value_text(json_object *value, enum value_kind kind);

/* Both for an object whose members are properties: the JSON form, in a new object. */
json_object *value_properties_json(json_object *properties);

/* One line of JSON on standard output. */
void value_print(json_object *value, int pretty);

#endif
