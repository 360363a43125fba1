/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_JOURNAL_H
#define DAEMON_JOURNAL_H

/*
 * The log and the audit trail. Goes to the journal with structured fields when standard error is connected to it,
 * to standard error otherwise. Text that comes from outside is escaped: one record is one line.
 */

#include <stdbool.h>
#include <sys/types.h>

/* The audit trail: each has a MESSAGE_ID and an entry in the message catalog. */
enum audit_event {
    AUDIT_REGISTER,   /* a VM was registered */
    AUDIT_UNREGISTER, /* a VM ended */
    AUDIT_ATTACH,     /* a device was attached */
    AUDIT_RESUME,     /* a device came back */
    AUDIT_DETACH,     /* a device is gone */
    AUDIT_DENY,       /* a request was refused; rate-limited */
    AUDIT_FAILURE,    /* a device went away or broke the protocol */
    AUDIT_RELOAD,     /* the policy was loaded again */
    AUDIT_EVENTS,
};

/* What a record is about; NULL and (uid_t) -1 for what is not known. */
struct audit_record {
    const char *vm, *device, *unit, *rule;
    const char *error;  /* D-Bus error name, for AUDIT_DENY */
    const char *reason; /* a sentence */
    pid_t pid;
    uid_t uid;
};

void audit(enum audit_event event, const struct audit_record *record);

/* Plain messages. @level is a syslog level; those above the maximum (LOG_INFO at start) are dropped. */
void journal_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
int journal_max_level(void);
void journal_set_max_level(int level);

/* "emerg" to "debug"; -EINVAL for an unknown name. */
const char *journal_level_name(int level);
int journal_level_from_name(const char *name);

/* Is standard error connected to the journal? */
bool journal_is_connected(void);

#endif
