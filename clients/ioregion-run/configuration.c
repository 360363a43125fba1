/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "configuration.h"

#include <string.h>

#include "clients/devices/arguments.h"
#include "internal/cleanup.h"

void configuration_init(struct configuration *configuration) {
    memset(configuration, 0, sizeof(*configuration));
    configuration->options.struct_size = sizeof(configuration->options);
    configuration->options.reserve = configuration->reserve;
    configuration->options.dispatch = "auto";
}

static int set_vm(struct configuration *configuration, const char *value) {
    if (!name_is_valid(value))
        return -EINVAL;
    strcpy(configuration->vm, value);
    return 0;
}

static int set_dispatch(struct configuration *configuration, const char *value) {
    static const char *const names[] = {"auto", "kernel", "vmm", NULL};
    int i = name_index(names, value);

    if (i < 0)
        return i;
    configuration->options.dispatch = names[i];
    return 0;
}

static int set_ceiling(struct configuration *configuration, const char *value) {
    configuration->options.has_ceiling = true;
    return argument_features(value, &configuration->options.ceiling);
}

static int set_reserve(struct configuration *configuration, const char *value) {
    size_t *n = &configuration->options.n_reserve;

    if (*n == RESERVE_MAX)
        return -E2BIG;
    if (argument_range(value, &configuration->reserve[*n]) < 0)
        return -EINVAL;
    (*n)++;
    return 0;
}

int configuration_set(struct configuration *configuration, const char *key, const char *value) {
    static const struct {
        const char *key;
        int (*set)(struct configuration *configuration, const char *value);
    } keys[] = {{"vm", set_vm}, {"dispatch", set_dispatch}, {"ceiling", set_ceiling}, {"reserve", set_reserve}};

    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        if (strcmp(key, keys[i].key) == 0)
            return keys[i].set(configuration, value);
    return -ENOENT;
}

int configuration_parse(struct configuration *configuration, const char *text) {
    _cleanup_(freep) char *copy = strdup(text);
    char *rest = copy, *line, *value;
    int r;

    if (!copy)
        return -ENOMEM;
    while ((line = strsep(&rest, "\n"))) {
        if (!*line)
            continue;
        value = strchr(line, '=');
        if (!value)
            return -EINVAL;
        *value++ = '\0';
        r = configuration_set(configuration, line, value);
        if (r < 0)
            return r;
    }
    return configuration->vm[0] ? 0 : -EINVAL;
}
