/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_REFUSAL_H
#define DAEMON_REFUSAL_H

/* Why a request was refused: a named condition and a sentence for people. The bus turns it into a D-Bus error. */

#include <stdint.h>

enum refusal_kind {
    REFUSAL_NONE, /* not refused by us: a plain errno */
    REFUSAL_POLICY_DENIED,
    REFUSAL_IDENTITY_UNPROVEN,
    REFUSAL_NO_SUCH_VM,
    REFUSAL_VM_EXISTS,
    REFUSAL_NOT_A_VM,
    REFUSAL_NO_DISPATCHER,
    REFUSAL_VM_GONE,
    REFUSAL_NO_SUCH_DEVICE,
    REFUSAL_DEVICE_EXISTS,
    REFUSAL_REGION_OVERLAP,
    REFUSAL_INVALID_REGION,
    REFUSAL_FEATURE_UNAVAILABLE,
    REFUSAL_QUOTA_EXCEEDED,
    REFUSAL_POLICY_INVALID,
    REFUSAL_BUSY,
    REFUSAL_KINDS,
};

struct refusal {
    enum refusal_kind kind;
    uint64_t until_usec; /* CLOCK_MONOTONIC: before that it would be refused again; 0: who knows */
    char text[512];
};

/* The D-Bus error name, and the negative errno, of a kind. */
const char *refusal_name(enum refusal_kind kind);
int refusal_errno(enum refusal_kind kind);

/* Fill *ret_refusal; returns refusal_errno(kind), so that "return refuse(...)" reads well. */
int refuse(struct refusal *ret_refusal, enum refusal_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
