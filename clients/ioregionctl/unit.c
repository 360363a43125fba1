/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/cleanup.h"
#include "unit.h"

#define SUFFIX ".service"

/* As unit_name_mangle() of systemd: what follows the last dot is the suffix if it names a kind of unit. */
static const char *find_suffix(const char *name) {
    static const char *const suffixes[] = {SUFFIX,  ".socket", ".target", ".device", ".mount", ".automount",
                                           ".swap", ".timer",  ".path",   ".slice",  ".scope", NULL};
    const char *dot = strrchr(name, '.');

    for (const char *const *suffix = suffixes; dot && *suffix; suffix++)
        if (strcmp(dot, *suffix) == 0)
            return dot;
    return NULL;
}

char *unit_service_name(const char *name) {
    const char *suffix = find_suffix(name);
    char *service;

    if (*name == '\0' || suffix == name || strchr(name, '/') || (suffix && strcmp(suffix, SUFFIX) != 0))
        return NULL;
    return asprintf(&service, "%s%s", name, suffix ? "" : SUFFIX) < 0 ? NULL : service;
}

/* What became of it, as far as it was started. */
static const char *fate(const struct unit_state *state) {
    if (strncmp(state->sub, "auto-restart", strlen("auto-restart")) == 0)
        return "failed, and will be started again";
    if (strcmp(state->active, "failed") == 0 || strcmp(state->job, "failed") == 0)
        return "failed";
    return "ended before its device was attached";
}

static char *exit_text(const struct unit_state *state) {
    char *text;
    int r;

    if (state->code == CLD_EXITED)
        r = asprintf(&text, ", ExecMainStatus=%d", state->exit);
    else if (state->code != 0)
        r = asprintf(&text, ", ExecMainStatus=%d/%s", state->exit, sigabbrev_np(state->exit) ?: "?");
    else
        return strdup("");
    return r < 0 ? NULL : text;
}

char *unit_failure_text(const char *name, const struct unit_state *state) {
    _cleanup_(freep) char *exit = exit_text(state);
    char *text;
    int r;

    if (!exit)
        return NULL;
    if (strcmp(state->job, "done") != 0 && strcmp(state->job, "failed") != 0)
        r = asprintf(&text, "unit %s was not started: the result of its job is '%s'", name, state->job);
    else
        r = asprintf(&text, "unit %s %s (Result=%s%s)%s%s", name, fate(state), state->result, exit,
                     *state->status ? ": " : "", state->status);
    return r < 0 ? NULL : text;
}

void unit_state_done(struct unit_state *state) {
    free(state->job);
    free(state->active);
    free(state->sub);
    free(state->result);
    free(state->status);
}
