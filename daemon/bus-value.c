/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "bus-value.h"
#include "internal/names.h"

int append_features(sd_bus_message *message, uint64_t features) {
    int r = sd_bus_message_open_container(message, 'a', "s");

    for (unsigned bit = 0; bit < 64 && r >= 0; bit++) {
        const char *name = features >> bit & 1 ? feature_name(UINT64_C(1) << bit) : NULL;

        if (name)
            r = sd_bus_message_append_basic(message, 's', name);
    }
    return r < 0 ? r : sd_bus_message_close_container(message);
}

int append_flags(sd_bus_message *message, uint32_t flags) {
    return flags & IOREGION_REGION_POSTED ? sd_bus_message_append(message, "as", 1, "posted")
                                          : sd_bus_message_append(message, "as", 0);
}

const char *identity_unit(const struct identity *identity) {
    return identity->unit ? identity->unit : "";
}

/* Asking the system for a name may take long, a list asks for hundreds, and there are few different ones. */
static struct {
    bool known;
    uid_t uid;
    char name[64];
} names[64];

const char *user_name(uid_t uid) {
    size_t slot = uid % (sizeof(names) / sizeof(*names));
    struct passwd entry, *found = NULL;
    char buffer[4096];

    if (names[slot].known && names[slot].uid == uid)
        return names[slot].name;
    if (getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) == 0 && found)
        snprintf(names[slot].name, sizeof(names[slot].name), "%s", entry.pw_name);
    else
        snprintf(names[slot].name, sizeof(names[slot].name), "%u", uid);
    names[slot].known = true;
    names[slot].uid = uid;
    return names[slot].name;
}

void user_names_forget(void) {
    memset(names, 0, sizeof(names));
}
