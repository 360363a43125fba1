/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "audit.h"

void vm_audit(const struct vm *vm, enum audit_event event, const char *rule, const char *reason) {
    const struct audit_record record = {
        .vm = vm->name,
        .unit = vm->owner->unit,
        .pid = vm->owner->pid,
        .uid = vm->owner->uid,
        .rule = rule,
        .reason = reason,
    };

    audit(event, &record);
}

void device_audit(const struct device *device, enum audit_event event, const char *rule, const char *reason) {
    const struct audit_record record = {
        .vm = device->vm->name,
        .device = device->name,
        .unit = device->owner->unit,
        .pid = device->owner->pid,
        .uid = device->owner->uid,
        .rule = rule,
        .reason = reason,
    };

    audit(event, &record);
}
