/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "arguments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/cleanup.h"
#include "internal/names.h"

int argument_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value) {
    static const char units[] = "KMG";
    const char *unit;
    unsigned shift = 0;
    char *end;
    uint64_t value;

    if (text[0] < '0' || text[0] > '9') /* strtoull would take signs and blanks */
        return -EINVAL;
    errno = 0;
    value = strtoull(text, &end, 0);
    if (errno)
        return -EINVAL;
    if (*end && (unit = strchr(units, *end))) {
        shift = 10 * (unit - units + 1);
        end++;
    }
    if (*end || value > UINT64_MAX >> shift || value << shift < min || value << shift > max)
        return -EINVAL;
    *ret_value = value << shift;
    return 0;
}

int argument_space(const char *text, uint32_t *ret_space) {
    int space = name_index(space_names, text);

    if (space < 0)
        return space;
    *ret_space = (uint32_t) space;
    return 0;
}

int argument_range(const char *text, struct ioregion_range *ret_range) {
    struct ioregion_range range = {0};
    char space[8], base[24], size[24];
    int length = 0;

    if (sscanf(text, "%7[^:]:%23[^:]:%23[^:]%n", space, base, size, &length) != 3 || text[length])
        return -EINVAL;
    if (argument_space(space, &range.space) < 0 || argument_number(base, 0, UINT64_MAX, &range.base) < 0 ||
        argument_number(size, 1, UINT64_MAX, &range.size) < 0)
        return -EINVAL;
    *ret_range = range;
    return 0;
}

int argument_features(const char *text, uint64_t *ret_features) {
    _cleanup_(freep) char *copy = strdup(text);
    uint64_t features = 0;
    char *rest = copy;

    if (!copy)
        return -ENOMEM;
    for (const char *name; *text && (name = strsep(&rest, ","));) {
        if (!feature_from_name(name))
            return -EINVAL;
        features |= feature_from_name(name);
    }
    *ret_features = features;
    return 0;
}

const char *features_text(uint64_t features) {
    static char text[128];

    text[0] = '\0';
    for (unsigned i = 0; feature_names[i]; i++)
        if (features & (UINT64_C(1) << i)) {
            if (text[0])
                strcat(text, ",");
            strcat(text, feature_names[i]);
        }
    return text[0] ? text : "none";
}
