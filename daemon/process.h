/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_PROCESS_H
#define DAEMON_PROCESS_H

/*
 * Who a process is that nobody proved to be: for those who name it on an operator's behalf, by a descriptor of its
 * folder in /proc. The kernel's word, though /proc may show the broker no process but itself.
 */

#include "identity.h"
#include "refusal.h"

/* All but the unit. NotAVM: that's no folder of a process that lives, where the broker lives. */
int process_identify(int folder, struct identity **ret_identity, struct refusal *ret_refusal);

#endif
