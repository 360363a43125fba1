/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "bus-error.h"
#include "bus-parse.h"
#include "internal/names.h"

/* The names of all options, for an error that teaches. */
static const char *known_options(const struct option *options, char *buffer, size_t size) {
    size_t used = 0;

    *buffer = 0;
    for (const struct option *o = options; o->name && used < size; o++)
        used += (size_t) snprintf(buffer + used, size - used, "%s%s", o == options ? "" : ", ", o->name);
    return buffer;
}

static int parse_option(sd_bus_message *message, const char *where, const struct option *options, uint64_t *seen,
                        void *target, sd_bus_error *ret_error) {
    const char *key, *type;
    const struct option *o;
    char known[256];
    int r;

    r = sd_bus_message_read_basic(message, 's', &key);
    if (r < 0)
        return r;
    for (o = options; o->name; o++)
        if (strcmp(o->name, key) == 0)
            break;
    if (!o->name)
        return bus_error_invalid(ret_error, "%s: there is no '%.64s'; there are: %s", where, key,
                                 known_options(options, known, sizeof(known)));
    if (*seen & UINT64_C(1) << (o - options))
        return bus_error_invalid(ret_error, "%s: '%s' is there twice", where, key);
    *seen |= UINT64_C(1) << (o - options);
    r = sd_bus_message_peek_type(message, NULL, &type);
    if (r < 0)
        return r;
    if (strcmp(type, o->type) != 0)
        return bus_error_invalid(ret_error, "%s: '%s' is of type '%.64s', it must be '%s'", where, key, type, o->type);
    r = sd_bus_message_enter_container(message, 'v', o->type);
    if (r >= 0)
        r = o->read(message, target, ret_error);
    return r < 0 ? r : sd_bus_message_exit_container(message);
}

int parse_options(sd_bus_message *message, const char *where, const struct option *options, void *target,
                  sd_bus_error *ret_error) {
    uint64_t seen = 0;
    int r;

    r = sd_bus_message_enter_container(message, 'a', "{sv}");
    if (r < 0)
        return r;
    while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
        r = parse_option(message, where, options, &seen, target, ret_error);
        if (r >= 0)
            r = sd_bus_message_exit_container(message);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : sd_bus_message_exit_container(message);
}

int parse_name(sd_bus_message *message, const char *what, const char **ret_name, sd_bus_error *ret_error) {
    const char *name;
    int r;

    r = sd_bus_message_read_basic(message, 's', &name);
    if (r < 0)
        return r;
    if (!name_is_valid(name))
        return bus_error_invalid(ret_error,
                                 "'%.80s' is no name for a %s: 1 to 64 of A-Z a-z 0-9 . _ -, the first a "
                                 "letter or digit",
                                 name, what);
    *ret_name = name;
    return 0;
}

int parse_features(sd_bus_message *message, bool required, uint64_t *ret_features, sd_bus_error *ret_error) {
    uint64_t features = 0, bit;
    const char *name;
    size_t n = 0;
    int r;

    r = sd_bus_message_enter_container(message, 'a', "s");
    if (r < 0)
        return r;
    while ((r = sd_bus_message_read_basic(message, 's', &name)) > 0) {
        if (++n > PARSE_FEATURES_MAX)
            return bus_error_invalid(ret_error, "more than %d features", PARSE_FEATURES_MAX);
        bit = feature_from_name(name);
        if (!bit && required)
            return bus_error_refuse(ret_error, REFUSAL_FEATURE_UNAVAILABLE,
                                    "feature '%.64s' is required, and this broker does not know it", name);
        features |= bit;
    }
    if (r < 0)
        return r;
    *ret_features = features;
    return sd_bus_message_exit_container(message);
}

static int read_posted(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct ioregion_region *region = target;
    int posted, r;

    r = sd_bus_message_read_basic(message, 'b', &posted);
    if (r >= 0 && posted)
        region->flags |= IOREGION_REGION_POSTED;
    return r;
}

static int read_channel(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct ioregion_region *region = target;

    return sd_bus_message_read_basic(message, 'u', &region->channel);
}

static const struct option region_options[] = {
    {"posted", "b", read_posted},
    {"channel", "u", read_channel},
    {},
};

/* What regions and plain ranges have in common. */
static int read_range(sd_bus_message *message, struct ioregion_region *region, sd_bus_error *ret_error) {
    const char *space;
    int r;

    r = sd_bus_message_read(message, "stt", &space, &region->base, &region->size);
    if (r < 0)
        return r;
    r = name_index(space_names, space);
    if (r < 0)
        return bus_error_refuse(ret_error, REFUSAL_INVALID_REGION, "'%.32s' is no address space: mmio or pio", space);
    region->space = (uint32_t) r;
    return 0;
}

static int read_region(sd_bus_message *message, struct ioregion_region *region, sd_bus_error *ret_error) {
    int r = read_range(message, region, ret_error);

    if (r >= 0)
        r = sd_bus_message_read_basic(message, 't', &region->user_data);
    return r < 0 ? r : parse_options(message, "region options", region_options, region, ret_error);
}

static int parse_array(sd_bus_message *message, const char *type,
                       int (*read)(sd_bus_message *message, struct ioregion_region *region, sd_bus_error *ret_error),
                       struct ioregion_region **ret_regions, size_t *ret_n_regions, sd_bus_error *ret_error) {
    _cleanup_(freep) struct ioregion_region *regions = NULL;
    size_t n = 0;
    char in_parentheses[32];
    int r;

    snprintf(in_parentheses, sizeof(in_parentheses), "(%s)", type);
    r = sd_bus_message_enter_container(message, 'a', in_parentheses);
    if (r < 0)
        return r;
    while ((r = sd_bus_message_enter_container(message, 'r', type)) > 0) {
        struct ioregion_region *grown = n < PARSE_REGIONS_MAX ? reallocarray(regions, n + 1, sizeof(*regions)) : NULL;

        if (n >= PARSE_REGIONS_MAX)
            return bus_error_invalid(ret_error, "more than %d regions in one request", PARSE_REGIONS_MAX);
        if (!grown)
            return -ENOMEM;
        regions = grown;
        regions[n] = (struct ioregion_region){};
        r = read(message, &regions[n++], ret_error);
        if (r >= 0)
            r = sd_bus_message_exit_container(message);
        if (r < 0)
            return r;
    }
    if (r >= 0)
        r = sd_bus_message_exit_container(message);
    if (r < 0)
        return r;
    *ret_regions = STEAL(regions);
    *ret_n_regions = n;
    return 0;
}

int parse_regions(sd_bus_message *message, struct ioregion_region **ret_regions, size_t *ret_n_regions,
                  sd_bus_error *ret_error) {
    return parse_array(message, "sttta{sv}", read_region, ret_regions, ret_n_regions, ret_error);
}

int parse_ranges(sd_bus_message *message, struct ioregion_region **ret_ranges, size_t *ret_n_ranges,
                 sd_bus_error *ret_error) {
    return parse_array(message, "stt", read_range, ret_ranges, ret_n_ranges, ret_error);
}

int parse_channels(sd_bus_message *message, uint32_t *ret_channels, sd_bus_error *ret_error) {
    uint32_t channels;
    int r;

    r = sd_bus_message_read_basic(message, 'u', &channels);
    if (r < 0)
        return r;
    if (channels < 1 || channels > PARSE_CHANNELS_MAX)
        return bus_error_invalid(ret_error, "%u channels: a device has 1 to %d", channels, PARSE_CHANNELS_MAX);
    *ret_channels = channels;
    return 0;
}

int parse_on_disconnect(sd_bus_message *message, enum ioregion_on_disconnect *ret_which, sd_bus_error *ret_error) {
    const char *name;
    int r;

    r = sd_bus_message_read_basic(message, 's', &name);
    if (r < 0)
        return r;
    r = name_index(on_disconnect_names, name);
    if (r < 0)
        return bus_error_invalid(ret_error, "on-disconnect is 'ones', 'hold' or 'remove', not '%.32s'", name);
    *ret_which = (enum ioregion_on_disconnect) r;
    return 0;
}

int parse_dispatch(sd_bus_message *message, unsigned *ret_dispatch, sd_bus_error *ret_error) {
    const char *name;
    int r;

    r = sd_bus_message_read_basic(message, 's', &name);
    if (r < 0)
        return r;
    if (strcmp(name, "auto") == 0)
        *ret_dispatch = POLICY_DISPATCH_KERNEL | POLICY_DISPATCH_VMM;
    else if (strcmp(name, "kernel") == 0)
        *ret_dispatch = POLICY_DISPATCH_KERNEL;
    else if (strcmp(name, "vmm") == 0)
        *ret_dispatch = POLICY_DISPATCH_VMM;
    else
        return bus_error_invalid(ret_error, "dispatch is 'auto', 'kernel' or 'vmm', not '%.32s'", name);
    return 0;
}

int parse_fd(sd_bus_message *message, int *ret_fd, sd_bus_error *ret_error) {
    int fd, r;

    r = sd_bus_message_read_basic(message, 'h', &fd);
    if (r < 0)
        return r;
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        r = -errno;
        return sd_bus_error_setf(ret_error, SD_BUS_ERROR_LIMITS_EXCEEDED, "no descriptor left: %s",
                                 strerrordesc_np(-r));
    }
    *ret_fd = fd;
    return 0;
}
