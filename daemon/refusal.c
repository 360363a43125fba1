/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "refusal.h"

static const struct {
    const char *name;
    int error;
} kinds[REFUSAL_KINDS] = {
    [REFUSAL_NONE] = {NULL, 0},
    [REFUSAL_POLICY_DENIED] = {"org.ioregion1.Error.PolicyDenied", EACCES},
    [REFUSAL_IDENTITY_UNPROVEN] = {"org.ioregion1.Error.IdentityUnproven", EACCES},
    [REFUSAL_NO_SUCH_VM] = {"org.ioregion1.Error.NoSuchVM", ENOENT},
    [REFUSAL_VM_EXISTS] = {"org.ioregion1.Error.VMExists", EEXIST},
    [REFUSAL_NOT_A_VM] = {"org.ioregion1.Error.NotAVM", EBADF},
    [REFUSAL_NO_DISPATCHER] = {"org.ioregion1.Error.NoDispatcher", ENODEV},
    [REFUSAL_VM_GONE] = {"org.ioregion1.Error.VMGone", ESRCH},
    [REFUSAL_NO_SUCH_DEVICE] = {"org.ioregion1.Error.NoSuchDevice", ENOENT},
    [REFUSAL_DEVICE_EXISTS] = {"org.ioregion1.Error.DeviceExists", EEXIST},
    [REFUSAL_REGION_OVERLAP] = {"org.ioregion1.Error.RegionOverlap", EEXIST},
    [REFUSAL_INVALID_REGION] = {"org.ioregion1.Error.InvalidRegion", EINVAL},
    [REFUSAL_FEATURE_UNAVAILABLE] = {"org.ioregion1.Error.FeatureUnavailable", EOPNOTSUPP},
    [REFUSAL_QUOTA_EXCEEDED] = {"org.ioregion1.Error.QuotaExceeded", EDQUOT},
    [REFUSAL_POLICY_INVALID] = {"org.ioregion1.Error.PolicyInvalid", EBADMSG},
    [REFUSAL_BUSY] = {"org.ioregion1.Error.Busy", EBUSY},
};

const char *refusal_name(enum refusal_kind kind) {
    return kinds[kind].name;
}

int refusal_errno(enum refusal_kind kind) {
    return -kinds[kind].error;
}

int refuse(struct refusal *ret_refusal, enum refusal_kind kind, const char *format, ...) {
    va_list arguments;

    ret_refusal->kind = kind;
    ret_refusal->until_usec = 0;
    va_start(arguments, format);
    vsnprintf(ret_refusal->text, sizeof(ret_refusal->text), format, arguments);
    va_end(arguments);
    return refusal_errno(kind);
}
