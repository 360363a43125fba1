/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_RELOAD_H
#define DAEMON_RELOAD_H

#include "broker.h"

/*
 * Load the policy, and log what is odd about it, or wrong: then a negative errno, and *ret_error is the mistake,
 * "FILE:LINE:COLUMN: ...", for the caller to free (NULL when out of memory).
 */
int load_policy(const char *directory, struct policy **ret_policy, char **ret_error);

/* Tell the service manager that the daemon is ready, by which policy, and what is wrong with a newer one (or NULL). */
void tell_manager_ready(const struct broker *broker, const char *mistake);

/*
 * Load the policy again, for SIGHUP and for operators, and tell the service manager. Grants that the new policy would
 * not give are kept, or with @revoke withdrawn. A policy with a mistake changes nothing.
 */
int reload(struct broker *broker, const char *directory, bool revoke, char **ret_error);

#endif
