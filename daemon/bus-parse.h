/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_BUS_PARSE_H
#define DAEMON_BUS_PARSE_H

/*
 * The building blocks of D-Bus arguments: options, features, regions. bus-request.h puts them together.
 *
 * All of it is checked here, once: types, names, the lengths of arrays. What depends on the policy or on what is
 * taken already is the broker's. On failure each returns a negative errno, having set @ret_error unless the message
 * itself is broken.
 */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "broker.h"

#define PARSE_REGIONS_MAX 256
#define PARSE_CHANNELS_MAX IOREGION_LEASE_FDS_MAX
#define PARSE_FEATURES_MAX 64
#define PARSE_TEXT_MAX 256

/* One key of an a{sv}. read() finds the value next in the message, of the right type. */
struct option {
    const char *name;
    const char *type;
    int (*read)(sd_bus_message *message, void *target, sd_bus_error *ret_error);
};

/*
 * Read an a{sv}. @options ends with a NULL name. A key that is not in it, one that comes twice and a value of another
 * type are refused by name; @where names the dictionary.
 */
int parse_options(sd_bus_message *message, const char *where, const struct option *options, void *target,
                  sd_bus_error *ret_error);

/* Read a string that is to be the name of a VM or of a device (@what). Valid as long as the message is. */
int parse_name(sd_bus_message *message, const char *what, const char **ret_name, sd_bus_error *ret_error);

/*
 * Read an array of feature names. One that we do not know is nobody's to give: fatal where @required, else not
 * wanted, so that newer programs get along with an older broker.
 */
int parse_features(sd_bus_message *message, bool required, uint64_t *ret_features, sd_bus_error *ret_error);

/* Read a(sttta{sv}), or a(stt). The array is the caller's to free. */
int parse_regions(sd_bus_message *message, struct ioregion_region **ret_regions, size_t *ret_n_regions,
                  sd_bus_error *ret_error);
int parse_ranges(sd_bus_message *message, struct ioregion_region **ret_ranges, size_t *ret_n_ranges,
                 sd_bus_error *ret_error);

int parse_channels(sd_bus_message *message, uint32_t *ret_channels, sd_bus_error *ret_error);
int parse_on_disconnect(sd_bus_message *message, enum ioregion_on_disconnect *ret_which, sd_bus_error *ret_error);
/* auto, kernel or vmm, as POLICY_DISPATCH_* bits. */
int parse_dispatch(sd_bus_message *message, unsigned *ret_dispatch, sd_bus_error *ret_error);

/* Read a descriptor and duplicate it: the message closes its own. */
int parse_fd(sd_bus_message *message, int *ret_fd, sd_bus_error *ret_error);

#endif
