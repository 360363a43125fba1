/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef POLICY_ACCOUNTS_H
#define POLICY_ACCOUNTS_H

#include "policy/policy.h"

/* The accounts of this system. */
extern const struct policy_accounts system_accounts;

/* The primary and supplementary groups of an account, for the caller to free. 0, -ENOENT or -ENOMEM. */
int system_groups(const char *user, gid_t **ret_gids, size_t *ret_n);

#endif
