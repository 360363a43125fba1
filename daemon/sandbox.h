/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_SANDBOX_H
#define DAEMON_SANDBOX_H

/* How the daemon gives up what it does not need; sandbox.c tells the whole story. Call in this order. */

enum sandbox_filter {
    SANDBOX_KILL, /* a system call that is not in the table ends the process */
    SANDBOX_LOG,  /* it is logged by the kernel (audit), and done: for development */
    SANDBOX_OFF,
};

/* -EINVAL for an unknown name. */
int sandbox_filter_from_name(const char *name);

/* Become @user (NULL: stay who we are) with its groups, and drop the bounding set while we may. */
int sandbox_become(const char *user);

/* Drop every capability, check that none is left, and make sure that none ever comes back. */
int sandbox_drop_capabilities(void);

/* Only the system calls of the table from now on. */
int sandbox_filter_calls(enum sandbox_filter filter);

#endif
