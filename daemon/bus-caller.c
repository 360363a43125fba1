/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus-caller.h"

#define QUERY_USEC UINT64_C(5000000)

struct caller_query {
    sd_bus_slot *slot;
    caller_known_t known;
    void *userdata;
};

void caller_done(struct caller *caller) {
    free(caller->gids);
    *caller = (struct caller){};
}

static int read_gids(sd_bus_message *reply, struct caller *caller) {
    const void *gids;
    size_t size;
    int r;

    r = sd_bus_message_enter_container(reply, 'v', "au");
    if (r < 0)
        return r;
    r = sd_bus_message_read_array(reply, 'u', &gids, &size);
    if (r < 0)
        return r;
    if (size && !caller->gids) {
        caller->gids = malloc(size);
        if (!caller->gids)
            return -ENOMEM;
        memcpy(caller->gids, gids, size);
        caller->n_gids = size / sizeof(gid_t);
    }
    return sd_bus_message_exit_container(reply);
}

static int read_credential(sd_bus_message *reply, struct caller *caller) {
    const char *key;
    uint32_t value;
    int r;

    r = sd_bus_message_read_basic(reply, 's', &key);
    if (r < 0)
        return r;
    if (strcmp(key, "UnixGroupIDs") == 0)
        return read_gids(reply, caller);
    if (strcmp(key, "ProcessID") != 0 && strcmp(key, "UnixUserID") != 0)
        return sd_bus_message_skip(reply, "v");
    r = sd_bus_message_read(reply, "v", "u", &value);
    if (r < 0)
        return r;
    if (*key == 'P')
        caller->pid = (pid_t) value;
    else
        caller->uid = value;
    return 0;
}

static int read_credentials(sd_bus_message *reply, struct caller *caller) {
    int r;

    r = sd_bus_message_enter_container(reply, 'a', "{sv}");
    if (r < 0)
        return r;
    while ((r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
        r = read_credential(reply, caller);
        if (r < 0)
            return r;
        r = sd_bus_message_exit_container(reply);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    return caller->pid > 0 && caller->uid != (uid_t) -1 ? 0 : -ENODATA;
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    struct caller_query *query = userdata;
    struct caller caller = {.uid = (uid_t) -1};
    int r;

    r = sd_bus_message_is_method_error(reply, NULL) ? -sd_bus_message_get_errno(reply)
                                                    : read_credentials(reply, &caller);
    if (r < 0)
        caller_done(&caller);
    query->known(query->userdata, r < 0 ? r : 0, r < 0 ? NULL : &caller); /* may free the query */
    return 1;
}

int caller_query_new(struct caller_query **ret_query, sd_bus_message *message, caller_known_t known, void *userdata) {
    sd_bus *connection = sd_bus_message_get_bus(message);
    sd_bus_message *request = NULL;
    struct caller_query *query;
    int r;

    query = calloc(1, sizeof(*query));
    if (!query)
        return -ENOMEM;
    query->known = known;
    query->userdata = userdata;
    r = sd_bus_message_new_method_call(connection, &request, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                       "org.freedesktop.DBus", "GetConnectionCredentials");
    if (r >= 0)
        r = sd_bus_message_append(request, "s", sd_bus_message_get_sender(message));
    if (r >= 0)
        r = sd_bus_call_async(connection, &query->slot, request, on_answer, query, QUERY_USEC);
    sd_bus_message_unref(request);
    if (r < 0) {
        caller_query_free(query);
        return r;
    }
    *ret_query = query;
    return 0;
}

struct caller_query *caller_query_free(struct caller_query *query) {
    if (query) {
        sd_bus_slot_unref(query->slot);
        free(query);
    }
    return NULL;
}

const char *caller_operator(const struct caller *caller, const struct policy *policy) {
    const struct policy_subject subject = {.uid = caller->uid, .gids = caller->gids, .n_gids = caller->n_gids};

    return policy_operator(policy, &subject);
}
