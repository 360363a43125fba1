/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIBIOREGION_DEVICE_CHANNEL_H
#define LIBIOREGION_DEVICE_CHANNEL_H

/*
 * A device's end of a channel: a socket of the vmm dispatcher or an ioregionfd of the kernel's. The same packets come
 * and go; only the calls differ.
 */

#include <stdbool.h>

#include <ioregion/wire.h>

enum channel_kind { CHANNEL_SOCKET, CHANNEL_IOREGIONFD };

/* Which one @fd is; -EBADF. */
int channel_kind(int fd);

/* Receive a command: 1, 0 there is none (never if @wait), -EINTR, -ECONNRESET, -EPROTO no whole packet. */
int channel_receive(enum channel_kind kind, int fd, struct ioregion_command *ret_command, bool wait);

/* Never waits: 1, -ECONNRESET, -EPROTO the dispatcher lets its responses pile up. */
int channel_respond(enum channel_kind kind, int fd, const struct ioregion_response *response);

/*
 * No command is received any more: whoever waits for one wakes up, and the response to the last one may go. Of what
 * comes on an ioregionfd the guest hears at the channel's end; on a socket at once. Async-signal-safe.
 */
void channel_stop(enum channel_kind kind, int fd);

/* Neither commands nor responses any more. */
void channel_end(enum channel_kind kind, int fd);

#endif
