/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <grp.h>
#include <pwd.h>

#include "policy/accounts.h"

#define ENTRY_MAX ((size_t) 1 << 20) /* a group of many thousands of members still fits */

static int user_entry(const char *name, uid_t *ret_uid, gid_t *ret_gid) {
    for (size_t size = 1024; size <= ENTRY_MAX; size *= 4) {
        _cleanup_(freep) char *buffer = malloc(size);
        struct passwd entry, *found;
        int r;

        if (!buffer)
            return -ENOMEM;
        r = getpwnam_r(name, &entry, buffer, size, &found);
        if (r == ERANGE)
            continue;
        if (r || !found)
            return -ENOENT;
        *ret_uid = entry.pw_uid;
        *ret_gid = entry.pw_gid;
        return 0;
    }
    return -ENOENT;
}

static int find_user(const char *name, uid_t *ret_uid) {
    gid_t gid;

    return user_entry(name, ret_uid, &gid);
}

static int find_group(const char *name, gid_t *ret_gid) {
    for (size_t size = 1024; size <= ENTRY_MAX; size *= 4) {
        _cleanup_(freep) char *buffer = malloc(size);
        struct group entry, *found;
        int r;

        if (!buffer)
            return -ENOMEM;
        r = getgrnam_r(name, &entry, buffer, size, &found);
        if (r == ERANGE)
            continue;
        if (r || !found)
            return -ENOENT;
        *ret_gid = entry.gr_gid;
        return 0;
    }
    return -ENOENT;
}

const struct policy_accounts system_accounts = {.user = find_user, .group = find_group};

int system_groups(const char *user, gid_t **ret_gids, size_t *ret_n) {
    _cleanup_(freep) gid_t *gids = NULL;
    int n = 64, r;
    uid_t uid;
    gid_t gid;

    r = user_entry(user, &uid, &gid);
    if (r < 0)
        return r;
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
