/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_PERSIST_H
#define DAEMON_PERSIST_H

/*
 * The keeper: descriptors in the service manager's store (store.h), state in a file a VM below the runtime folder
 * (state.h, folder.h), and the way back from both.
 *
 * A file is written before anybody is told of what is new in it, and descriptors are in the store before that. So a
 * process may be killed between any two instructions: what is in the store and in no file is nobody's, and is closed;
 * what is in a file and not in the store has hung up.
 */

#include "broker.h"

struct persist;

/* *ret_persist is NULL where nothing outlives this process: systemd gives a runtime folder to a service alone. */
int persist_new(struct persist **ret_persist);
struct persist *persist_free(struct persist *persist);
DEFINE_CLEANUP(persist_free, struct persist *);

/* Is there something to go on with? */
bool persist_has_state(const struct persist *persist);

/*
 * Be the broker's keeper, and put back all that is to be had. State that can't be read, and what does not fit it, is
 * told to the log and closed. Fails for want of memory and the like; then another process may try.
 */
int persist_restore(struct persist *persist, struct broker *broker);

#endif
