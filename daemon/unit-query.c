/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-login.h>

#include "unit-query.h"

struct unit_query {
    struct unit_source source;
    struct unit_question *question; /* NULL: it is answered */
    sd_event_source *timeout;
    int error; /* -ENXIO: nobody was there to ask */
    char *unit;
    char why[256]; /* there is no answer */
    void (*known)(void *userdata);
    void *userdata;
};

static void answer(struct unit_query *query, int error, const char *text) {
    query->error = error;
    if (error < 0)
        snprintf(query->why, sizeof(query->why), "%s", text ? text : strerrordesc_np(-error));
    else if (text && !(query->unit = strdup(text)))
        query->error = -ENOMEM;
    sd_event_source_set_enabled(query->timeout, SD_EVENT_OFF);
    query->known(query->userdata); /* may free the query */
}

static void on_told(void *userdata, int error, const char *text) {
    struct unit_query *query = userdata;

    query->question = NULL;
    answer(query, error, text);
}

static void cancel(struct unit_query *query) {
    if (query->question)
        query->source.type->cancel(STEAL(query->question));
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
    struct unit_query *query = userdata;

    cancel(query);
    answer(query, -ETIMEDOUT, "no answer within 1 s");
    return 0;
}

int unit_query_new(struct unit_query **ret_query, const struct unit_source *source, sd_event *event,
                   const struct identity *identity, void (*known)(void *userdata), void *userdata) {
    _cleanup_(unit_query_freep) struct unit_query *query = calloc(1, sizeof(*query));
    int r = -ENXIO;

    if (!query)
        return -ENOMEM;
    *query = (struct unit_query){.source = *source, .known = known, .userdata = userdata};
    if (source->type)
        r = source->type->ask(source->userdata, identity->pid, on_told, query, &query->question);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &query->timeout, CLOCK_MONOTONIC, UNIT_QUERY_USEC, 1, on_timeout, query);
    if (r < 0 && r != -ENXIO)
        return r;
    query->error = r < 0 ? r : 0;
    *ret_query = STEAL(query);
    return 0;
}

struct unit_query *unit_query_free(struct unit_query *query) {
    if (!query)
        return NULL;
    cancel(query);
    sd_event_source_disable_unref(query->timeout);
    free(query->unit);
    free(query);
    return NULL;
}

bool unit_query_known(const struct unit_query *query) {
    return !query->question;
}

/* Only "it runs in none" makes it one without a unit: others own different things, and are counted elsewhere. */
static int read_cgroup(struct identity *identity, struct refusal *ret_refusal) {
    int r = sd_pid_get_unit(identity->pid, &identity->unit);

    if (r >= 0 || r == -ENODATA || r == -ENOMEDIUM)
        return 0;
    if (identity_exited(identity))
        return -ESRCH;
    if (r != -ESRCH && r != -EPERM && r != -EACCES)
        return r;
    return refuse(ret_refusal, REFUSAL_BUSY,
                  "/proc does not show process %d, and no systemd is on the bus to say which unit it runs in: "
                  "try again",
                  (int) identity->pid);
}

int unit_query_take(struct unit_query *query, struct identity *identity, struct refusal *ret_refusal) {
    int r = 0;

    if (query->error == -ENXIO)
        r = read_cgroup(identity, ret_refusal);
    else if (query->error == -ENOMEM)
        r = -ENOMEM;
    else if (query->error < 0)
        r = refuse(ret_refusal, REFUSAL_BUSY, "systemd does not say which unit process %d runs in (%s): try again",
                   (int) identity->pid, query->why);
    else
        identity->unit = STEAL(query->unit);
    if (r < 0)
        return r;
    return identity_exited(identity) ? -ESRCH : 0;
}
