/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef IOREGIONCTL_CTL_H
#define IOREGIONCTL_CTL_H

/* What the commands share: the options, the way to the broker, the exit status. */

#include <stdbool.h>
#include <stdint.h>
#include <json-c/json.h>
#include <systemd/sd-bus.h>

#include "internal/cleanup.h"
#include "text.h"

/* The exit status of the program, and what its parts return. */
enum status {
    STATUS_OK = 0,
    STATUS_FAILED = 1,    /* the request failed or was refused, a file is wrong, an explained access is denied */
    STATUS_USAGE = 2,     /* the command line is wrong */
    STATUS_NO_BROKER = 3, /* no bus, or no broker on it */
};

/* Options, as bits of struct command's options. */
enum option_bits {
    OPTION_JSON = 1 << 0,
    OPTION_NO_LEGEND = 1 << 1,
    OPTION_REMOTE = 1 << 2, /* --host, --machine */
    OPTION_DESCRIPTION = 1 << 3,
    OPTION_REASON = 1 << 4,
    OPTION_REVOKE = 1 << 5,
    OPTION_ADOPT = 1 << 6, /* --pid, --vm, --fd */
    OPTION_TIMEOUT = 1 << 7,
};

struct ctl {
    bool json, legend, revoke;
    const char *host, *machine, *description, *reason, *pid, *vm, *fd, *timeout;
    sd_bus *bus; /* ctl_connect() */
};

struct command {
    const char *name;
    const char *arguments; /* for the usage line */
    const char *summary;   /* one line */
    const char *help;      /* explanation and examples */
    unsigned min, max;     /* how many arguments */
    unsigned options;      /* OPTION_* that it takes */
    enum status (*run)(struct ctl *ctl, char **arguments, unsigned n_arguments);
};

extern const struct command command_list, command_show, command_monitor, command_start, command_adopt, command_attach,
    command_detach, command_revoke, command_unregister, command_policy, command_version;

#define BROKER_NAME "org.ioregion1"
#define BROKER_PATH "/org/ioregion1"
#define INTERFACE_MANAGER "org.ioregion1.Manager"
#define INTERFACE_VM "org.ioregion1.VM"
#define INTERFACE_DEVICE "org.ioregion1.Device"
#define INTERFACE_REGION "org.ioregion1.Region"

/* Open the bus that the options name; says why not. */
enum status ctl_connect(struct ctl *ctl);

/*
 * Call the broker, connecting first where needed. On failure the broker's words are on standard error. @about names
 * what the request is about, for when there is no such object. *ret_reply (NULL: not wanted) is the caller's.
 */
enum status ctl_call(struct ctl *ctl, const char *about, const char *path, const char *interface, const char *member,
                     sd_bus_message **ret_reply, const char *types, ...);

/* The same for a method without arguments that gives one value, of the type that is named. */
enum status ctl_get(struct ctl *ctl, const char *about, const char *path, const char *interface, const char *member,
                    const char *type, json_object **ret_value);

/* A call of libioregion failed with @r: say what it said. */
enum status ctl_library_failed(int r);

/* All properties of an object: an object whose members are in the bus's order. */
enum status ctl_properties(struct ctl *ctl, const char *about, const char *path, const char *interface,
                           json_object **ret_properties);

/*
 * The path of "VM", "VM/DEVICE" or "VM/DEVICE/REGION" (*ret_path is the caller's) and the interface of such an
 * object; complains about a name that can't be one.
 */
enum status ctl_object(const char *name, char **ret_path, const char **ret_interface);

/* The same backwards: the name of an object, the caller's to free; NULL when it is none of the broker's. */
char *ctl_object_name(const char *path, const char **ret_kind);

/* The broker's list of one kind ("vms", "devices", "regions"), of one VM and device where these are not NULL. */
enum status list_rows(struct ctl *ctl, const char *kind, const char *vm, const char *device, json_object **ret_rows);
void list_print(const struct ctl *ctl, const char *kind, json_object *rows);
/* The rows as they are printed in JSON, in a new array. */
json_object *list_json(const char *kind, json_object *rows);

#endif
