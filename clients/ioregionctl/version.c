/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "ctl.h"
#include "value.h"

static enum status run(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    _cleanup_(json_unrefp) json_object *properties = NULL, *versions = NULL;
    enum status status = ctl_properties(ctl, "the broker", BROKER_PATH, INTERFACE_MANAGER, &properties);
    json_object *broker;
    _cleanup_(freep) char *text = NULL;

    if (status)
        return status;
    broker = json_object_object_get(properties, "Version");
    if (ctl->json) {
        versions = json_object_new_object();
        json_object_object_add(versions, "ioregionctl", json_object_new_string(PROJECT_VERSION));
        json_object_object_add(versions, "ioregiond", json_object_get(broker));
        value_print(versions, true);
        return STATUS_OK;
    }
    text = text_escape(broker ? json_object_get_string(broker) : "unknown");
    printf("ioregionctl %s\nioregiond %s\n", PROJECT_VERSION, text ? text : "");
    return STATUS_OK;
}

const struct command command_version = {
    .name = "version",
    .arguments = "",
    .summary = "the versions of this program and of the broker",
    .help = "ioregionctl --version tells the first alone, and asks nobody.\n",
    .options = OPTION_JSON | OPTION_REMOTE,
    .run = run,
};
