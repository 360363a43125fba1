/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "text.h"
#include "value.h"

static int read_basic(sd_bus_message *message, char type, json_object **ret_value) {
    union {
        uint8_t y;
        int b;
        int16_t n;
        uint16_t q;
        int32_t i;
        uint32_t u;
        int64_t x;
        uint64_t t;
        const char *s;
    } value;
    int r = sd_bus_message_read_basic(message, type, &value);

    if (r < 0)
        return r;
    switch (type) {
    case 'b':
        *ret_value = json_object_new_boolean(value.b);
        break;
    case 'y':
        *ret_value = json_object_new_uint64(value.y);
        break;
    case 'n':
        *ret_value = json_object_new_int64(value.n);
        break;
    case 'q':
        *ret_value = json_object_new_uint64(value.q);
        break;
    case 'i':
        *ret_value = json_object_new_int64(value.i);
        break;
    case 'u':
        *ret_value = json_object_new_uint64(value.u);
        break;
    case 'x':
        *ret_value = json_object_new_int64(value.x);
        break;
    case 't':
        *ret_value = json_object_new_uint64(value.t);
        break;
    case 's':
    case 'o':
    case 'g':
        *ret_value = json_object_new_string(value.s);
        break;
    default:
        return -EOPNOTSUPP;
    }
    return *ret_value ? 1 : -ENOMEM;
}

/* Containers nest at most 64 deep on the bus; the message was checked when it arrived. */
static int read_elements(sd_bus_message *message, json_object *array) {
    json_object *element;
    int r;

    while ((r = value_read(message, &element)) > 0)
        if (json_object_array_add(array, element) < 0) {
            json_object_put(element);
            return -ENOMEM;
        }
    return r;
}

static int read_members(sd_bus_message *message, const char *entry, json_object *object) {
    char contents[256];
    int r;

    /* entry is "{sv}" and the like: what lies between the braces is the contents of a dictionary entry */
    if (entry[1] != 's' && entry[1] != 'o')
        return -EOPNOTSUPP;
    if (snprintf(contents, sizeof(contents), "%.*s", (int) strlen(entry) - 2, entry + 1) >= (int) sizeof(contents))
        return -EMSGSIZE;
    while ((r = sd_bus_message_enter_container(message, 'e', contents)) > 0) {
        json_object *member;
        const char *key;

        r = sd_bus_message_read_basic(message, entry[1], &key);
        if (r >= 0)
            r = value_read(message, &member);
        if (r <= 0)
            return r < 0 ? r : -EBADMSG;
        if (json_object_object_add(object, key, member) < 0) {
            json_object_put(member);
            return -ENOMEM;
        }
        r = sd_bus_message_exit_container(message);
        if (r < 0)
            return r;
    }
    return r;
}

static int read_container(sd_bus_message *message, char type, const char *contents, json_object **ret_value) {
    bool dictionary = type == 'a' && contents[0] == '{';
    _cleanup_(json_unrefp) json_object *value = dictionary ? json_object_new_object() : json_object_new_array();
    int r;

    if (!value)
        return -ENOMEM;
    r = sd_bus_message_enter_container(message, type, contents);
    if (r >= 0)
        r = dictionary ? read_members(message, contents, value) : read_elements(message, value);
    if (r >= 0)
        r = sd_bus_message_exit_container(message);
    if (r < 0)
        return r;
    *ret_value = STEAL(value);
    return 1;
}

int value_read(sd_bus_message *message, json_object **ret_value) {
    const char *contents;
    char type;
    int r = sd_bus_message_peek_type(message, &type, &contents);

    if (r <= 0)
        return r;
    if (type == 'a' || type == 'r')
        return read_container(message, type, contents, ret_value);
    if (type != 'v')
        return read_basic(message, type, ret_value);

    r = sd_bus_message_enter_container(message, 'v', contents);
    if (r < 0)
        return r;
    r = value_read(message, ret_value);
    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    r = sd_bus_message_exit_container(message);
    if (r < 0) {
        json_object_put(*ret_value);
        return r;
    }
    return 1;
}

enum value_kind value_kind_of_property(const char *name) {
    static const struct {
        const char *name;
        enum value_kind kind;
    } kinds[] = {
        {"Base", VALUE_ADDRESS},     {"UserData", VALUE_ADDRESS},      {"Size", VALUE_SIZE},
        {"TimeoutUSec", VALUE_USEC}, {"PolicyLoadedUSec", VALUE_TIME},
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return kinds[i].kind;
    return VALUE_PLAIN;
}

json_object *value_json(json_object *value, enum value_kind kind) {
    char text[32];

    if (kind != VALUE_ADDRESS && kind != VALUE_SIZE)
        return json_object_get(value);
    snprintf(text, sizeof(text), "0x%jx", (uintmax_t) json_object_get_uint64(value));
    return json_object_new_string(text);
}

json_object *value_properties_json(json_object *properties) {
    json_object *object = json_object_new_object();

    json_object_object_foreach(properties, name, value)
        json_object_object_add(object, name, value_json(value, value_kind_of_property(name)));
    return object;
}

/* What an array holds, a blank between its elements. */
static char *array_text(json_object *array) {
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    if (!file)
        return NULL;
    for (size_t i = 0; i < json_object_array_length(array); i++)
        fprintf(file, "%s%s", i > 0 ? " " : "", json_object_get_string(json_object_array_get_idx(array, i)));
    return fclose(file) == 0 ? text : NULL;
}

char *value_text(json_object *value, enum value_kind kind) {
    uint64_t number = json_object_get_uint64(value);
    char *text;

    switch (kind) {
    case VALUE_ADDRESS:
        return asprintf(&text, "0x%jx", (uintmax_t) number) < 0 ? NULL : text;
    case VALUE_SIZE:
        return text_size(number);
    case VALUE_USEC:
        return text_usec(number);
    case VALUE_TIME:
        return text_time(number);
    default:
        break;
    }
    if (json_object_is_type(value, json_type_boolean))
        return strdup(json_object_get_boolean(value) ? "yes" : "no");
    return json_object_is_type(value, json_type_array) ? array_text(value) : strdup(json_object_get_string(value));
}

void value_print(json_object *value, int pretty) {
    puts(json_object_to_json_string_ext(value, JSON_C_TO_STRING_NOSLASHESCAPE |
                                                   (pretty ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED : 0)));
}
