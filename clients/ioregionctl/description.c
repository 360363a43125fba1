/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "description.h"
#include "internal/names.h"
#include "policy/reader.h"

#define REGIONS_MAX 256
#define PORTS_END UINT64_C(0x10000)

static int read_version(struct reader *r, const struct json_node *node) {
    uint64_t version;
    int ret = read_number(r, node, UINT64_MAX, &version);

    if (ret < 0 || version == 1)
        return ret;
    return READ_FAIL(r, node, "version %" PRIu64 " is not known; this program reads version 1", version);
}

static int check_range(struct reader *r, const struct json_node *base, const struct json_node *size,
                       const struct ioregion_region *region) {
    uint64_t last;

    if (region->size == 0)
        return READ_FAIL(r, size, "a region has at least one byte");
    if (__builtin_add_overflow(region->base, region->size - 1, &last))
        return READ_FAIL(r, size, "the region runs past 2^64");
    if (region->space == IOREGION_PIO && last >= PORTS_END)
        return READ_FAIL(r, base, "ports end at 0xffff, and this region at 0x%" PRIx64, last);
    return 0;
}

static int read_region(struct reader *r, const struct json_node *node, const struct ioregion_device_options *options,
                       struct ioregion_region *region) {
    enum { SPACE, BASE, SIZE, USER_DATA, POSTED, CHANNEL, N_KEYS };
    static const struct reader_key keys[N_KEYS] = {
        [SPACE] = {"space", JSON_STRING, true},     [BASE] = {"base", JSON_STRING, true},
        [SIZE] = {"size", JSON_STRING, true},       [USER_DATA] = {"user-data", JSON_STRING, false},
        [POSTED] = {"posted", JSON_BOOLEAN, false}, [CHANNEL] = {"channel", JSON_NUMBER, false},
    };
    const struct json_node *values[N_KEYS];
    uint64_t channel = 0;
    int ret;

    if ((ret = READ_OBJECT(r, node, keys, values)) < 0 || (ret = read_space(r, values[SPACE], &region->space)) < 0 ||
        (ret = read_quantity(r, values[BASE], &region->base)) < 0 ||
        (ret = read_quantity(r, values[SIZE], &region->size)) < 0 ||
        (ret = check_range(r, values[BASE], values[SIZE], region)) < 0)
        return ret;
    if (values[USER_DATA] && (ret = read_quantity(r, values[USER_DATA], &region->user_data)) < 0)
        return ret;
    if (values[CHANNEL] && (ret = read_number(r, values[CHANNEL], options->channels - 1, &channel)) < 0)
        return ret;
    region->channel = (uint32_t) channel;
    if (values[POSTED] && values[POSTED]->number) {
        if (!((options->require | options->want) & IOREGION_FEATURE_POSTED_WRITES))
            return READ_FAIL(r, values[POSTED], "posted needs \"posted-writes\" in \"require\" or \"want\"");
        region->flags |= IOREGION_REGION_POSTED;
    }
    return 0;
}

/* Commands carry a token only: two regions of a channel with the same one could not be told apart. */
static int check_token(struct reader *r, const struct json_node *node, const struct description *description) {
    const struct ioregion_region *region = &description->regions[description->n_regions];

    for (size_t i = 0; i < description->n_regions; i++)
        if (description->regions[i].channel == region->channel &&
            description->regions[i].user_data == region->user_data)
            return READ_FAIL(r, node, "user-data 0x%" PRIx64 " is that of region %zu on the same channel",
                             region->user_data, i);
    return 0;
}

/* Nobody would ever write to a channel without a region, and the broker refuses one. */
static int check_channels(struct reader *r, const struct json_node *node, const struct description *description) {
    uint64_t used = 0;

    for (size_t i = 0; i < description->n_regions; i++)
        used |= UINT64_C(1) << description->regions[i].channel;
    if ((unsigned) __builtin_popcountll(used) == description->options.channels)
        return 0;
    return READ_FAIL(r, node, "channel %d has no region", __builtin_ctzll(~used));
}

static int read_regions(struct reader *r, const struct json_node *node, struct description *description) {
    const struct json_node *item = node + 1;
    int ret;

    if (node->number < 1 || node->number > REGIONS_MAX)
        return READ_FAIL(r, node, "a device has 1 to %d regions, not %" PRIu64, REGIONS_MAX, node->number);
    description->regions = pool_alloc(r->pool, node->number, sizeof(*description->regions));
    if (!description->regions)
        return -ENOMEM;
    for (uint64_t i = 0; i < node->number; i++, item = json_next(item)) {
        description->regions[i].user_data = i; /* unless it says otherwise */
        if ((ret = read_region(r, item, &description->options, &description->regions[i])) < 0 ||
            (ret = check_token(r, item, description)) < 0)
            return ret;
        description->n_regions++;
    }
    return check_channels(r, node, description);
}

static int read_on_disconnect(struct reader *r, const struct json_node *node, const char **ret_name) {
    unsigned index;
    int ret = read_choice(r, node, on_disconnect_names, &index);

    if (ret >= 0)
        *ret_name = on_disconnect_names[index];
    return ret;
}

static int read_channels(struct reader *r, const struct json_node *node, uint32_t *ret_channels) {
    uint64_t channels;
    int ret = read_number(r, node, IOREGION_LEASE_FDS_MAX, &channels);

    if (ret < 0)
        return ret;
    if (channels == 0)
        return READ_FAIL(r, node, "a device has at least one channel");
    *ret_channels = (uint32_t) channels;
    return 0;
}

static int read_description(struct reader *r, struct description *description) {
    enum { VERSION, REGIONS, REQUIRE, WANT, CHANNELS, TIMEOUT, ON_DISCONNECT, N_KEYS };
    static const struct reader_key keys[N_KEYS] = {
        [VERSION] = {"version", JSON_NUMBER, true},
        [REGIONS] = {"regions", JSON_ARRAY, true},
        [REQUIRE] = {"require", JSON_ARRAY, false},
        [WANT] = {"want", JSON_ARRAY, false},
        [CHANNELS] = {"channels", JSON_NUMBER, false},
        [TIMEOUT] = {"timeout", JSON_STRING, false},
        [ON_DISCONNECT] = {"on-disconnect", JSON_STRING, false},
    };
    const struct json_node *values[N_KEYS];
    struct ioregion_device_options *options = &description->options;
    int ret;

    if ((ret = READ_OBJECT(r, r->document->nodes, keys, values)) < 0 || (ret = read_version(r, values[VERSION])) < 0)
        return ret;
    if (values[REQUIRE] && (ret = read_features(r, values[REQUIRE], &options->require)) < 0)
        return ret;
    if (values[WANT] && (ret = read_features(r, values[WANT], &options->want)) < 0)
        return ret;
    if (values[CHANNELS] && (ret = read_channels(r, values[CHANNELS], &options->channels)) < 0)
        return ret;
    if (values[TIMEOUT] && (ret = read_duration(r, values[TIMEOUT], &options->timeout_usec)) < 0)
        return ret;
    if (values[ON_DISCONNECT] && (ret = read_on_disconnect(r, values[ON_DISCONNECT], &options->on_disconnect)) < 0)
        return ret;
    return read_regions(r, values[REGIONS], description);
}

int description_parse(const char *name, const char *text, size_t size, struct description **ret_description,
                      char **ret_error) {
    _cleanup_(description_freep) struct description *description = calloc(1, sizeof(*description));
    _cleanup_(json_document_freep) struct json_document *document = NULL;
    struct reader reader = {.ret_error = ret_error};
    int r;

    *ret_error = NULL;
    if (!description)
        return -ENOMEM;
    description->options.struct_size = sizeof(description->options);
    description->options.channels = 1;
    r = json_scan(name, text, size, &document, ret_error);
    if (r < 0)
        return r;
    reader.document = document;
    reader.pool = &description->pool;
    r = read_description(&reader, description);
    if (r < 0)
        return r;
    *ret_description = STEAL(description);
    return 0;
}

/* The whole file, or as much of it as the scanner needs to see that it is too long. */
static int read_file(const char *path, char **ret_text, size_t *ret_size) {
    FILE *file = fopen(path, "re");
    char *text = malloc(JSON_SIZE_MAX + 1);
    int r = 0;

    if (!file || !text)
        r = file ? -ENOMEM : -errno;
    else
        *ret_size = fread(text, 1, JSON_SIZE_MAX + 1, file);
    if (r == 0 && ferror(file))
        r = errno ? -errno : -EIO;
    if (file)
        fclose(file);
    if (r < 0)
        free(text);
    else
        *ret_text = text;
    return r;
}

int description_load(const char *file, struct description **ret_description, char **ret_error) {
    _cleanup_(freep) char *text = NULL;
    size_t size = 0;
    int r = read_file(file, &text, &size);

    if (r >= 0)
        return description_parse(file, text, size, ret_description, ret_error);
    if (asprintf(ret_error, "%s: %s", file, strerror(-r)) < 0)
        *ret_error = NULL;
    return r;
}

struct description *description_free(struct description *description) {
    if (description)
        pool_clear(&description->pool);
    free(description);
    return NULL;
}
