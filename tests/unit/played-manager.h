/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TESTS_PLAYED_MANAGER_H
#define TESTS_PLAYED_MANAGER_H

/* A broker, and a service manager that the test plays: it says which unit a process runs in when the test does. */

#include <errno.h>

#include "broker-rig.h"

static const char by_unit[] =
    "{ \"version\": 1,"
    "  \"vmms\": [ { \"name\": \"vmms\", \"match\": { \"unit\": \"vm.service\" }, \"vms\": [ \"*\" ],"
    "               \"dispatch\": [ \"kernel\", \"vmm\" ], \"features\": [] } ],"
    "  \"operators\": [ { \"name\": \"roots\", \"match\": { \"user\": \"root\" } } ] }";

/* Takes one question at a time, and never forgets how many it was asked. */
struct unit_question {
    pid_t pid;
    unit_told_t told;
    void *userdata;
};

static struct manager {
    struct unit_question *question;
    unsigned asked;
    int refuses; /* what ask() fails with */
} manager;

static int ask(void *userdata, pid_t pid, unit_told_t told, void *told_userdata, struct unit_question **ret_question) {
    assert_ptr_equal(userdata, &manager);
    assert_null(manager.question);
    manager.asked++;
    if (manager.refuses)
        return manager.refuses;
    manager.question = calloc(1, sizeof(*manager.question));
    if (!manager.question)
        return -ENOMEM;
    *manager.question = (struct unit_question){pid, told, told_userdata};
    *ret_question = manager.question;
    return 0;
}

static void cancel(struct unit_question *question) {
    assert_ptr_equal(question, manager.question);
    free(question);
    manager.question = NULL;
}

static void tell(int error, const char *text) {
    struct unit_question question;

    assert_non_null(manager.question);
    question = *manager.question;
    cancel(manager.question);
    question.told(question.userdata, error, text);
}

static struct rig *rig_with_manager(void) {
    static const struct unit_source_type type = {.ask = ask, .cancel = cancel};
    struct rig *rig = rig_new(by_unit);

    manager = (struct manager){0};
    broker_set_unit_source(rig->broker, &type, &manager);
    return rig;
}

static void rig_end(struct rig *rig) {
    assert_null(manager.question);
    rig_free(rig);
}

static bool has_replied(void *userdata) {
    return ((const struct client *) userdata)->outcome.replied;
}

#endif
