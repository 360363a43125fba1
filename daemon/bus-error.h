/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_ERROR_H
#define DAEMON_BUS_ERROR_H

/* Refusals as D-Bus errors, and back to errno for sd_bus_error_get_errno(). */

#include <systemd/sd-bus.h>

#include "refusal.h"

/* Teach sd-bus the errno of every org.ioregion1.Error name. */
int bus_error_register(void);

/* Set @ret_error from a printf text, or from the broker's answer; all return the negative errno that belongs to it. */
int bus_error_refuse(sd_bus_error *ret_error, enum refusal_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int bus_error_invalid(sd_bus_error *ret_error, const char *format, ...) __attribute__((format(printf, 2, 3)));
int bus_error_from_refusal(sd_bus_error *ret_error, int error, const struct refusal *refusal);

#endif
