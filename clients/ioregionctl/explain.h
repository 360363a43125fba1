/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGIONCTL_EXPLAIN_H
#define IOREGIONCTL_EXPLAIN_H

/* The part of the policy command that asks questions. */

#include "ctl.h"
#include "policy/policy.h"

/* Load one directory, or some files as one policy; no path means the installed policy. Says what is wrong. */
enum status policy_open(char **paths, size_t n_paths, struct policy **ret_policy);

enum status policy_explain_run(struct ctl *ctl, char **arguments, unsigned n_arguments);

#endif
