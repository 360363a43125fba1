/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "policy/accounts.h"

/* Services differ in what they say of a name that they don't know. */
static int why_none(void) {
    return errno == ENOMEM ? -ENOMEM : -ENOENT;
}

static const struct passwd *user_entry(const char *name) {
    errno = 0;
    return getpwnam(name);
}

static int find_user(const char *name, uid_t *ret_uid) {
    const struct passwd *entry = user_entry(name);

    if (!entry)
        return why_none();
    *ret_uid = entry->pw_uid;
    return 0;
}

static int find_group(const char *name, gid_t *ret_gid) {
    const struct group *entry;

    errno = 0;
    entry = getgrnam(name);
    if (!entry)
        return why_none();
    *ret_gid = entry->gr_gid;
    return 0;
}

const struct policy_accounts system_accounts = {.user = find_user, .group = find_group};

int system_groups(const char *user, gid_t **ret_gids, size_t *ret_n) {
    const struct passwd *entry = user_entry(user);
    _cleanup_(freep) gid_t *gids = NULL;
    int n = 64;
    gid_t gid;

    if (!entry)
        return why_none();
    gid = entry->pw_gid;
    /* The first call may say how many there are. */
    for (int room = 0; room < n;) {
        room = n;
        free(gids);
        gids = calloc((size_t) room, sizeof(*gids));
        if (!gids)
            return -ENOMEM;
        getgrouplist(user, gid, gids, &n);
    }
    *ret_gids = STEAL(gids);
    *ret_n = (size_t) n;
    return 0;
}
