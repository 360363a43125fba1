/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stddef.h>

#include "bus-call.h"
#include "bus-error.h"
#include "bus-object.h"
#include "bus-value.h"

static int get_space(sd_bus *connection, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct region *region = userdata;

    return sd_bus_message_append(reply, "s", space_name(region->range.space));
}

static int get_size(sd_bus *connection, const char *path, const char *interface, const char *property,
                    sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    return sd_bus_message_append(reply, "t", region_size(userdata));
}

static int get_flags(sd_bus *connection, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct region *region = userdata;

    return append_flags(reply, region->flags);
}

static int get_state(sd_bus *connection, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct region *region = userdata;

    return sd_bus_message_append(reply, "s", device_state_name(region->device->state));
}

static int get_last_error(sd_bus *connection, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct region *region = userdata;

    return sd_bus_message_append(reply, "s", region->device->last_error);
}

static int refuse_statistics(sd_bus_error *ret_error, int error) {
    if (error == -ECONNRESET)
        return bus_error_refuse(ret_error, REFUSAL_VM_GONE, "the VMM ended before it told the counts");
    if (error == -ETIMEDOUT || error == -EBUSY)
        return bus_error_refuse(ret_error, REFUSAL_BUSY, "the VMM does not answer the broker: try again");
    return error;
}

static void on_statistics(void *userdata, int error, const struct ioregion_lease_stats_reply *stats) {
    _cleanup_(sd_bus_error_free) sd_bus_error failure = SD_BUS_ERROR_NULL;
    struct call *call = userdata;

    if (!error) {
        call_reply(call, "a{st}", 5, "reads", stats->reads, "writes", stats->writes, "posted", stats->posted,
                   "failures", stats->failures, "timeouts", stats->timeouts);
        return;
    }
    refuse_statistics(&failure, error);
    call_refuse(call, error, &failure);
}

static int method_get_statistics(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    const struct region *region = userdata;
    struct call *call;
    int r;

    r = call_new(&call, region->device->vm->broker->watcher_userdata, message);
    if (r != 0)
        return r;
    r = region_statistics(region, on_statistics, call);
    if (r < 0)
        on_statistics(call, r, NULL);
    return 1;
}

const sd_bus_vtable bus_region_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Space", "s", get_space, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Base", "t", NULL, offsetof(struct region, range.base), SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Size", "t", get_size, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("UserData", "t", NULL, offsetof(struct region, user_data), SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Flags", "as", get_flags, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("LastError", "s", get_last_error, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_METHOD_WITH_ARGS("GetStatistics", SD_BUS_NO_ARGS, SD_BUS_RESULT("a{st}", counts), method_get_statistics,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

int bus_add_regions(struct bus *bus) {
    return sd_bus_add_fallback_vtable(bus->connection, NULL, BUS_PATH_VM, INTERFACE_REGION, bus_region_vtable,
                                      bus_find_region, bus);
}
