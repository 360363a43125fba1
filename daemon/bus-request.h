/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_REQUEST_H
#define DAEMON_BUS_REQUEST_H

/* The arguments of RegisterVM() and AttachDevice(), as requests to the broker. */

#include <systemd/sd-bus.h>

#include "broker.h"

/* The request and the lease, a duplicate, are the caller's; neither is set on failure. */
int parse_register_vm(sd_bus_message *message, struct register_request **ret_request, int *ret_lease,
                      sd_bus_error *ret_error);
int parse_attach_device(sd_bus_message *message, struct attach_request **ret_request, int *ret_lease,
                        sd_bus_error *ret_error);

#endif
