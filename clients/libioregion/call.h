/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LIBIOREGION_CALL_H
#define LIBIOREGION_CALL_H

/* One call of the broker's manager that carries a lease, from the bus connection to the grant. */

#include <stdint.h>
#include <systemd/sd-bus.h>

#include "lease-client.h"

/* Append the arguments in front of the lease. @arguments is what call_broker() was given. */
typedef int (*call_fill_t)(sd_bus_message *message, const void *arguments);

/*
 * Call @method with the arguments that @fill appends and, last, a new lease; prove the identity while the call is
 * pending; return with the grant, without waiting for the reply that follows it. Busy and LimitsExceeded are tried
 * again for up to two seconds, and all of it ends within CALL_USEC. *ret_lease and the descriptors in *ret_grant
 * are the caller's. Errors have their words in ioregion_last_error().
 */
int call_broker(const char *method, call_fill_t fill, const void *arguments, int *ret_lease,
                struct lease_message *ret_grant);

#define CALL_USEC UINT64_C(25000000)
#define CALL_RETRY_USEC UINT64_C(2000000)

/* Append the names of @features as an "as". */
int call_append_features(sd_bus_message *message, uint64_t features);

/* Append an option of an a{sv} whose value is of one basic @type ("s", "t", "u", "b"), or a list of features. */
int call_append_option(sd_bus_message *message, const char *key, const char *type, ...);
int call_append_features_option(sd_bus_message *message, const char *key, uint64_t features);

#endif
