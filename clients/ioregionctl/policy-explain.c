/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "policy-command.h"
#include "policy/explain.h"
#include "internal/names.h"
#include "policy/quantity.h"
#include "value.h"

#define MANY 64 /* regions, and policy files */

/* A question on its way from the command line to the policy. */
struct asked {
    struct explain_question question;
    struct ioregion_region regions[MANY];
    char *policies[MANY];
    size_t n_policies;
};

static int parse_space(const char *text, uint32_t *ret_space) {
    int space = name_index(space_names, text);

    if (space >= 0)
        *ret_space = (uint32_t) space;
    return space;
}

/* SPACE:BASE:SIZE */
static int take_region(struct asked *asked, char *value) {
    struct ioregion_region *region = &asked->regions[asked->question.n_regions];
    const char *space = strsep(&value, ":"), *base = strsep(&value, ":");

    if (!base || !value || asked->question.n_regions == MANY || parse_space(space, &region->space) < 0 ||
        !parse_quantity(base, &region->base) || !parse_quantity(value, &region->size))
        return -EINVAL;
    region->user_data = asked->question.n_regions++;
    return 0;
}

static int take_features(char *value, uint64_t *features) {
    for (const char *name; (name = strsep(&value, ","));) {
        if (!feature_from_name(name))
            return -EINVAL;
        *features |= feature_from_name(name);
    }
    return 0;
}

static int take_dispatch(const char *value, unsigned *ret_dispatch) {
    static const char *const names[] = {"auto", "kernel", "vmm", NULL};
    static const unsigned bits[] = {0, POLICY_DISPATCH_KERNEL, POLICY_DISPATCH_VMM};
    int i = name_index(names, value);

    if (i >= 0)
        *ret_dispatch = bits[i];
    return i;
}

static int take_on_disconnect(const char *value, enum ioregion_on_disconnect *ret_on_disconnect) {
    int i = name_index(on_disconnect_names, value);

    if (i >= 0)
        *ret_on_disconnect = (enum ioregion_on_disconnect) i;
    return i;
}

static int take_channels(const char *value, uint32_t *ret_channels) {
    uint64_t channels;

    if (!parse_quantity(value, &channels) || channels < 1 || channels > IOREGION_LEASE_FDS_MAX)
        return -EINVAL;
    *ret_channels = (uint32_t) channels;
    return 0;
}

static int take_policy(struct asked *asked, char *value) {
    if (asked->n_policies == MANY)
        return -EINVAL;
    asked->policies[asked->n_policies++] = value;
    return 0;
}

/* -EINVAL: the key is unknown, or its value is none. */
static int take(struct asked *asked, const char *key, char *value) {
    enum { VM, DEVICE, UNIT, USER, REGION, CHANNELS, TIMEOUT, ON_DISCONNECT, REQUIRE, WANT, DISPATCH, POLICY };
    static const char *const keys[] = {
        [VM] = "vm",           [DEVICE] = "device",     [UNIT] = "unit",         [USER] = "user",
        [REGION] = "region",   [CHANNELS] = "channels", [TIMEOUT] = "timeout",   [ON_DISCONNECT] = "on-disconnect",
        [REQUIRE] = "require", [WANT] = "want",         [DISPATCH] = "dispatch", [POLICY] = "policy",
        NULL,
    };
    struct explain_question *question = &asked->question;

    switch (name_index(keys, key)) {
    case VM:
        question->vm = value;
        return name_is_valid(value) ? 0 : -EINVAL;
    case DEVICE:
        question->device = value;
        return name_is_valid(value) ? 0 : -EINVAL;
    case UNIT:
        question->unit = value;
        return 0;
    case USER:
        question->user = value;
        return 0;
    case REGION:
        return take_region(asked, value);
    case CHANNELS:
        return take_channels(value, &question->channels);
    case TIMEOUT:
        return parse_duration(value, &question->timeout_usec) ? 0 : -EINVAL;
    case ON_DISCONNECT:
        return take_on_disconnect(value, &question->on_disconnect);
    case REQUIRE:
        return take_features(value, &question->require);
    case WANT:
        return take_features(value, &question->want);
    case DISPATCH:
        return take_dispatch(value, &question->dispatch);
    case POLICY:
        return take_policy(asked, value);
    default:
        return -EINVAL;
    }
}

static enum status parse(char **arguments, unsigned n_arguments, struct asked *asked) {
    asked->question.regions = asked->regions;
    for (unsigned i = 0; i < n_arguments; i++) {
        _cleanup_(freep) char *original = strdup(arguments[i]);
        char *value = arguments[i];
        const char *key = strsep(&value, "=");

        if (!value || take(asked, key, value) < 0) {
            complain("can't understand '%s'; ioregionctl policy --help lists the keys", original ? original : "");
            return STATUS_USAGE;
        }
    }
    if (asked->question.vm)
        return STATUS_OK;
    complain("which VM? Give vm=NAME");
    return STATUS_USAGE;
}

static json_object *features_object(uint64_t features) {
    json_object *names = json_object_new_array();

    for (uint64_t bit = 1; bit & IOREGION_FEATURES_ALL; bit <<= 1)
        if (features & bit)
            json_object_array_add(names, json_object_new_string(feature_name(bit)));
    return names;
}

static json_object *answer_json(const struct explain_answer *answer, bool attach) {
    json_object *object = json_object_new_object();

    json_object_object_add(object, "allowed", json_object_new_boolean(answer->verdict.allowed));
    json_object_object_add(object, "rule", json_object_new_string(answer->verdict.rule));
    json_object_object_add(object, "reason", json_object_new_string(answer->verdict.reason));
    if (answer->verdict.allowed && attach) {
        json_object_object_add(object, "features", features_object(answer->granted));
        json_object_object_add(object, "timeout-usec", json_object_new_uint64(answer->verdict.timeout_usec));
    }
    return object;
}

static void print_answer(const struct explain_answer *answer, bool attach) {
    _cleanup_(json_unrefp) json_object *features = features_object(answer->granted);
    _cleanup_(freep) char *reason = text_escape(answer->verdict.reason), *names = value_text(features, VALUE_PLAIN);
    _cleanup_(freep) char *rule = text_escape(answer->verdict.rule), *timeout = text_usec(answer->verdict.timeout_usec);

    if (!reason || !names || !rule || !timeout)
        return;
    printf("%s by rule %s.\nReason: %s\n", answer->verdict.allowed ? "Allowed" : "Denied", rule, reason);
    if (answer->verdict.allowed && attach)
        printf("Features: %s\nDeadline: at most %s\n", *names ? names : "none", timeout);
}

enum status policy_explain_run(struct ctl *ctl, char **arguments, unsigned n_arguments) {
    _cleanup_(policy_freep) struct policy *policy = NULL;
    _cleanup_(json_unrefp) json_object *object = NULL;
    struct asked asked = {0};
    struct explain_answer answer;
    const char *unknown = NULL;
    enum status status = parse(arguments, n_arguments, &asked);
    int r;

    if (!status)
        status = policy_open(asked.policies, asked.n_policies, &policy);
    if (status)
        return status;
    r = policy_explain(policy, NULL, &asked.question, &answer, &unknown);
    if (r < 0) {
        complain("%s%s%s", r == -ENOENT ? "there is no account " : "", r == -ENOENT && unknown ? unknown : "",
                 r == -ENOENT ? "" : strerror(-r));
        return STATUS_FAILED;
    }
    if (ctl->json) {
        object = answer_json(&answer, asked.question.device);
        value_print(object, true);
    } else
        print_answer(&answer, asked.question.device);
    return answer.verdict.allowed ? STATUS_OK : STATUS_FAILED;
}
