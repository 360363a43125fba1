/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DEVICES_ANNOUNCEMENT_H
#define DEVICES_ANNOUNCEMENT_H

/*
 * What a device tells management of its guest: the status of its unit, whose change systemd signals on the bus, and a
 * record in the journal.
 *
 * Both go out on sockets that are opened before the device is locked down. Nothing here waits: what systemd or the
 * journal does not take at once is lost, for a guest must not be held up by them. Where there is no journal, the
 * record is a line on standard error.
 */

#include "service.h"

struct announcer {
    int journal, manager; /* connected datagram sockets; -1 for none */
};

void announcer_open(struct announcer *ret_announcer);
void announcer_close(struct announcer *announcer);

/* @priority: of syslog(3). @event: its name, IOREGION_EVENT in the record. @words: the same for people. */
void announce(const struct announcer *announcer, const struct service *service, int priority, const char *message_id,
              const char *event, const char *words, uint64_t count);

#endif
