/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>
#include <string.h>

#include "bus-call.h"
#include "bus-error.h"
#include "bus-explain.h"
#include "bus-list.h"
#include "bus-object.h"
#include "bus-request.h"
#include "bus-sender.h"
#include "bus-value.h"
#include "dispatch-kernel.h"
#include "dispatch-vmm.h"
#include "reload.h"

/*
 * RegisterVM() and AttachDevice(): the request goes to the broker, which challenges the lease, while the bus is asked
 * for the caller; what it says goes to the broker, too, and the broker's answer is the reply. Who is known to have used
 * its rate up is spared all that.
 */

static void caller_is_known(struct call *call) {
    admission_sender(call->admission, call->caller->pid, call->caller->uid); /* may reply, and so free the call */
}

static void refuse_request(struct call *call, int error, const struct refusal *refusal) {
    _cleanup_(sd_bus_error_free) sd_bus_error failure = SD_BUS_ERROR_NULL;

    bus_error_from_refusal(&failure, error, refusal);
    call_refuse(call, error, &failure);
}

static bool is_refused_still(struct call *call, enum spending what) {
    const struct refusal *refusal = sender_refusal(call->sender, what);

    if (refusal)
        refuse_request(call, refusal_errno(refusal->kind), refusal);
    return refusal != NULL;
}

static void on_registered(void *userdata, int error, const struct refusal *refusal, void *object) {
    _cleanup_(freep) char *path = NULL;
    struct call *call = userdata;

    call->admission = NULL;
    if (error < 0) {
        sender_note_refusal(call->sender, SPEND_REGISTER, refusal);
        refuse_request(call, error, refusal);
        return;
    }
    path = vm_path(object);
    if (path)
        call_reply(call, "o", path);
    else
        call_refuse(call, -ENOMEM, NULL);
}

static int append_attached(sd_bus_message *reply, const struct device *device) {
    _cleanup_(freep) char *path = device_path(device);
    int r = path ? sd_bus_message_append_basic(reply, 'o', path) : -ENOMEM;

    return r < 0 ? r : append_features(reply, device->features);
}

static void on_attached(void *userdata, int error, const struct refusal *refusal, void *object) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    struct call *call = userdata;
    int r;

    call->admission = NULL;
    if (error < 0) {
        sender_note_refusal(call->sender, SPEND_ATTACH, refusal);
        refuse_request(call, error, refusal);
        return;
    }
    r = sd_bus_message_new_method_return(call->message, &reply);
    if (r >= 0)
        r = append_attached(reply, object);
    if (r >= 0)
        call_reply_message(call, reply);
    else
        call_refuse(call, r, NULL);
}

static int method_register_vm(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    _cleanup_(register_request_freep) struct register_request *request = NULL;
    _cleanup_(sd_bus_error_free) sd_bus_error failure = SD_BUS_ERROR_NULL;
    _cleanup_(fd_closep) int lease = -1;
    struct bus *bus = userdata;
    struct call *call;
    int r;

    r = call_new_known(&call, bus, message, caller_is_known);
    if (r != 0)
        return r;
    r = parse_register_vm(message, &request, &lease, &failure);
    if (r >= 0)
        call->vm = strdup(request->name);
    if (r < 0)
        call_refuse(call, r, &failure);
    else if (request->process >= 0 || !is_refused_still(call, SPEND_REGISTER))
        broker_register(bus->broker, STEAL(request), STEAL_FD(lease), on_registered, call, &call->admission);
    return call_begin(call);
}

static int method_attach_device(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    _cleanup_(attach_request_freep) struct attach_request *request = NULL;
    _cleanup_(sd_bus_error_free) sd_bus_error failure = SD_BUS_ERROR_NULL;
    _cleanup_(fd_closep) int lease = -1;
    struct bus *bus = userdata;
    struct call *call;
    int r;

    r = call_new_known(&call, bus, message, caller_is_known);
    if (r != 0)
        return r;
    r = parse_attach_device(message, &request, &lease, &failure);
    if (r >= 0) {
        call->vm = strdup(request->vm);
        call->device = strdup(request->device);
    }
    if (r < 0)
        call_refuse(call, r, &failure);
    else if (!is_refused_still(call, SPEND_ATTACH))
        broker_attach(bus->broker, STEAL(request), STEAL_FD(lease), on_attached, call, &call->admission);
    return call_begin(call);
}

static void load_policy_again(struct call *call, bool revoke) {
    _cleanup_(sd_bus_error_free) sd_bus_error failure = SD_BUS_ERROR_NULL;
    _cleanup_(freep) char *mistake = NULL;
    int r;

    r = reload(call->bus->broker, call->bus->policy_directory, revoke, &mistake);
    if (r >= 0) {
        call_reply(call, "");
        return;
    }
    if (mistake)
        bus_error_refuse(&failure, REFUSAL_POLICY_INVALID, "%s", mistake);
    call_refuse(call, r, &failure);
}

static void reload_and_keep(struct call *call) {
    load_policy_again(call, false);
}

static void reload_and_revoke(struct call *call) {
    load_policy_again(call, true);
}

static int method_reload(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    return call_new_operator(userdata, message, reload_and_keep);
}

static int method_reload_and_revoke(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    return call_new_operator(userdata, message, reload_and_revoke);
}

static int method_explain_access(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
    return call_new_operator(userdata, message, bus_explain_access);
}

static int get_version(sd_bus *connection, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    return sd_bus_message_append(reply, "s", PROJECT_VERSION);
}

static int get_dispatchers(sd_bus *connection, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    if (dispatch_kernel_available())
        return sd_bus_message_append(reply, "as", 2, dispatch_kernel_type.name, dispatch_vmm_type.name);
    return sd_bus_message_append(reply, "as", 1, dispatch_vmm_type.name);
}

static int get_features(sd_bus *connection, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    uint64_t features = dispatch_vmm_type.features;

    if (dispatch_kernel_available())
        features |= dispatch_kernel_type.features;
    return append_features(reply, features);
}

static int append_count(sd_bus_message *reply, size_t count) {
    return sd_bus_message_append(reply, "u", (uint32_t) count);
}

static int get_vm_count(sd_bus *connection, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct bus *bus = userdata;

    return append_count(reply, bus->broker->n_vms);
}

static int get_device_count(sd_bus *connection, const char *path, const char *interface, const char *property,
                            sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct bus *bus = userdata;

    return append_count(reply, bus->broker->n_devices);
}

static int get_region_count(sd_bus *connection, const char *path, const char *interface, const char *property,
                            sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct bus *bus = userdata;

    return append_count(reply, bus->broker->n_regions);
}

static int get_policy_generation(sd_bus *connection, const char *path, const char *interface, const char *property,
                                 sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct bus *bus = userdata;

    return sd_bus_message_append(reply, "t", bus->broker->policy_generation);
}

static int get_policy_loaded(sd_bus *connection, const char *path, const char *interface, const char *property,
                             sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    const struct bus *bus = userdata;

    return sd_bus_message_append(reply, "t", bus->broker->policy_loaded_usec);
}

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Dispatchers", "as", get_dispatchers, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Features", "as", get_features, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("VMCount", "u", get_vm_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("DeviceCount", "u", get_device_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("RegionCount", "u", get_region_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("PolicyGeneration", "t", get_policy_generation, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("PolicyLoadedUSec", "t", get_policy_loaded, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_METHOD_WITH_ARGS("RegisterVM", SD_BUS_ARGS("s", name, "a{sv}", options, "h", lease), SD_BUS_RESULT("o", vm),
                            method_register_vm, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS(
        "AttachDevice", SD_BUS_ARGS("s", vm, "s", device, "a(sttta{sv})", regions, "a{sv}", options, "h", lease),
        SD_BUS_RESULT("o", device, "as", features), method_attach_device, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListVMs", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(sussssuuo)", vms), bus_list_vms,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListDevices", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(sssssasuto)", devices), bus_list_devices,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListRegions", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(ssusttasso)", regions), bus_list_regions,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ExplainAccess", SD_BUS_ARGS("a{sv}", question),
                            SD_BUS_RESULT("b", allowed, "s", rule, "s", reason), method_explain_access,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reload, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ReloadAndRevoke", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reload_and_revoke,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

int bus_add_manager(struct bus *bus) {
    int r = sd_bus_add_object_vtable(bus->connection, NULL, BUS_PATH, INTERFACE_MANAGER, vtable, bus);

    return r < 0 ? r : sd_bus_add_object_manager(bus->connection, NULL, BUS_PATH);
}
