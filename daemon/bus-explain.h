/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_EXPLAIN_H
#define DAEMON_BUS_EXPLAIN_H

#include "bus-call.h"
#include "policy/explain.h"

/* ExplainAccess(): what the policy would say, and by which rule. Replies. */
void bus_explain_access(struct call *call);

/* Its question, with the memory that it points into. The strings are those of the message. */
struct question {
    struct explain_question explain;
    const char *action;
    const char *group;
    struct ioregion_region *regions;
};

/* @ret_question is zero-initialised by the caller, who calls question_done() also on failure. */
int parse_question(sd_bus_message *message, struct question *ret_question, sd_bus_error *ret_error);
void question_done(struct question *question);

#endif
