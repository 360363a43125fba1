/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_AUDIT_H
#define DAEMON_AUDIT_H

/* Records of the audit trail about VMs and devices, made before the bus is told. @rule and @reason may be NULL. */

#include "journal.h"
#include "registry.h"

void vm_audit(const struct vm *vm, enum audit_event event, const char *rule, const char *reason);
void device_audit(const struct device *device, enum audit_event event, const char *rule, const char *reason);

#endif
