/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGIONCTL_POLICY_COMMAND_H
#define IOREGIONCTL_POLICY_COMMAND_H

/* The parts of the policy command: loading what was named, checking it, and asking it questions. */

#include "ctl.h"
#include "policy/policy.h"

/* Load one directory, or some files as one policy; no path means the installed policy. Says what is wrong. */
enum status policy_open(char **paths, size_t n_paths, struct policy **ret_policy);

/* What the policy language says of a text begins with its place, as editors want it: nothing stands before that. */
void policy_print_message(const char *message);

enum status policy_explain_run(struct ctl *ctl, char **arguments, unsigned n_arguments);

#endif
