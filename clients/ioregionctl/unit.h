/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGIONCTL_UNIT_H
#define IOREGIONCTL_UNIT_H

/* Units of systemd as words: what people call them, and what is to be said when one fails. Pure. */

#include <stdint.h>

/* What systemd says of a service whose start was asked for. */
struct unit_state {
    char *job;          /* how the job to start it ended: "done", "failed", "dependency", ... */
    char *active, *sub; /* ActiveState, SubState */
    char *result;       /* Result of the service: "exit-code", "timeout", "start-limit-hit", ... */
    char *status;       /* StatusText, what it said of itself; perhaps empty */
    int32_t code, exit; /* ExecMainCode, as of waitid(2), 0 when the program did not run; ExecMainStatus */
};

/* The name of a service, ".service" added where it has no suffix: the caller's; NULL when it can't name a service. */
char *unit_service_name(const char *name);

/* Why the unit of that name has no device, in a line; the caller's, NULL when out of memory. */
char *unit_failure_text(const char *name, const struct unit_state *state);

/* Frees what is in it, not the struct. */
void unit_state_done(struct unit_state *state);

#endif
