/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "bus-error.h"
#include "bus-explain.h"
#include "bus-parse.h"

void question_done(struct question *question) {
    free(question->regions);
}

static int read_text(sd_bus_message *message, const char **ret_text, sd_bus_error *ret_error) {
    const char *text;
    int r = sd_bus_message_read_basic(message, 's', &text);

    if (r < 0)
        return r;
    if (strlen(text) > PARSE_TEXT_MAX)
        return bus_error_invalid(ret_error, "a name of more than %d bytes", PARSE_TEXT_MAX);
    *ret_text = *text ? text : NULL;
    return 0;
}

static int read_action(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;
    int r = read_text(message, &question->action, ret_error);

    if (r < 0)
        return r;
    if (!question->action || (strcmp(question->action, "register") != 0 && strcmp(question->action, "attach") != 0))
        return bus_error_invalid(ret_error, "action is 'register' or 'attach'");
    return 0;
}

static int read_unit(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;

    return read_text(message, &question->explain.unit, ret_error);
}

static int read_user(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;

    return read_text(message, &question->explain.user, ret_error);
}

static int read_group(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;
    int r = read_text(message, &question->group, ret_error);

    question->explain.groups = &question->group;
    question->explain.n_groups = question->group ? 1 : 0;
    return r;
}

static int read_vm(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;

    return parse_name(message, "VM", &question->explain.vm, ret_error);
}

static int read_device(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;

    return parse_name(message, "device", &question->explain.device, ret_error);
}

static int read_regions(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;
    int r = parse_regions(message, &question->regions, &question->explain.n_regions, ret_error);

    question->explain.regions = question->regions;
    return r;
}

static int read_require(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;

    return parse_features(message, true, &question->explain.require, ret_error);
}

static int read_want(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;

    return parse_features(message, false, &question->explain.want, ret_error);
}

static int read_channels(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;

    return parse_channels(message, &question->explain.channels, ret_error);
}

static int read_timeout(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;

    return sd_bus_message_read_basic(message, 't', &question->explain.timeout_usec);
}

static int read_on_disconnect(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;

    return parse_on_disconnect(message, &question->explain.on_disconnect, ret_error);
}

static int read_dispatch(sd_bus_message *message, void *target, sd_bus_error *ret_error) {
    struct question *question = target;

    return parse_dispatch(message, &question->explain.dispatch, ret_error);
}

static const struct option question_keys[] = {
    {"action", "s", read_action},
    {"unit", "s", read_unit},
    {"user", "s", read_user},
    {"group", "s", read_group},
    {"vm", "s", read_vm},
    {"device", "s", read_device},
    {"regions", "a(sttta{sv})", read_regions},
    {"require", "as", read_require},
    {"want", "as", read_want},
    {"channels", "u", read_channels},
    {"timeout-usec", "t", read_timeout},
    {"on-disconnect", "s", read_on_disconnect},
    {"dispatch", "s", read_dispatch},
    {},
};

int parse_question(sd_bus_message *message, struct question *ret_question, sd_bus_error *ret_error) {
    const struct explain_question *explain = &ret_question->explain;
    bool attach;
    int r;

    r = parse_options(message, "ExplainAccess question", question_keys, ret_question, ret_error);
    if (r < 0)
        return r;
    if (!ret_question->action || !explain->vm)
        return bus_error_invalid(ret_error, "a question needs 'action' and 'vm'");
    attach = strcmp(ret_question->action, "attach") == 0;
    if (attach != !!explain->device)
        return bus_error_invalid(ret_error, attach ? "to attach needs a 'device'" : "to register takes no 'device'");
    return 0;
}

void bus_explain_access(struct call *call) {
    _cleanup_(sd_bus_error_free) sd_bus_error failure = SD_BUS_ERROR_NULL;
    _cleanup_(question_done) struct question question = {};
    const char *unknown = NULL;
    struct explain_answer answer;
    int r;

    r = parse_question(call->message, &question, &failure);
    if (r >= 0) {
        r = policy_explain(call->bus->broker->policy, NULL, &question.explain, &answer, &unknown);
        if (r == -ENOENT && unknown)
            bus_error_invalid(&failure, "there is no account '%s' on this system", unknown);
    }
    if (r < 0)
        call_refuse(call, r, &failure);
    else
        call_reply(call, "bss", (int) answer.verdict.allowed, answer.verdict.rule, answer.verdict.reason);
}
