/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include <internal/names.h>
#include "call.h"
#include "clock.h"
#include "error.h"

/* What the errors mean to a program; all others are -EIO. */
static const struct {
    const char *name;
    int error;
} errors[] = {
    {"org.ioregion1.Error.PolicyDenied", EACCES},
    {"org.ioregion1.Error.IdentityUnproven", EACCES},
    {"org.ioregion1.Error.NoSuchVM", ENOENT},
    {"org.ioregion1.Error.VMGone", ESRCH},
    {"org.ioregion1.Error.NoSuchDevice", ENOENT},
    {"org.ioregion1.Error.VMExists", EEXIST},
    {"org.ioregion1.Error.DeviceExists", EEXIST},
    {"org.ioregion1.Error.RegionOverlap", EEXIST},
    {"org.ioregion1.Error.InvalidRegion", EINVAL},
    {"org.ioregion1.Error.NotAVM", EBADF},
    {"org.ioregion1.Error.FeatureUnavailable", EOPNOTSUPP},
    {"org.ioregion1.Error.NoDispatcher", ENODEV},
    {"org.ioregion1.Error.QuotaExceeded", EDQUOT},
    {"org.ioregion1.Error.Busy", EBUSY},
    {SD_BUS_ERROR_LIMITS_EXCEEDED, EDQUOT},
    {SD_BUS_ERROR_INVALID_ARGS, EINVAL},
    {SD_BUS_ERROR_ACCESS_DENIED, EACCES},
    {SD_BUS_ERROR_SERVICE_UNKNOWN, EHOSTUNREACH},
    {SD_BUS_ERROR_NAME_HAS_NO_OWNER, EHOSTUNREACH},
    {SD_BUS_ERROR_NO_REPLY, EHOSTUNREACH},
    {SD_BUS_ERROR_TIMEOUT, EHOSTUNREACH},
    {SD_BUS_ERROR_DISCONNECTED, EHOSTUNREACH},
};

static int error_errno(const sd_bus_error *error) {
    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
        if (!strcmp(error->name, errors[i].name))
            return -errors[i].error;
    if (!strncmp(error->name, "org.freedesktop.DBus.Error.Spawn.", strlen("org.freedesktop.DBus.Error.Spawn.")))
        return -EHOSTUNREACH;
    return -EIO;
}

int call_append_features(sd_bus_message *message, uint64_t features) {
    int r = sd_bus_message_open_container(message, 'a', "s");

    for (size_t i = 0; r >= 0 && feature_names[i]; i++)
        if (features & (UINT64_C(1) << i))
            r = sd_bus_message_append(message, "s", feature_names[i]);
    return r < 0 ? r : sd_bus_message_close_container(message);
}

int call_append_option(sd_bus_message *message, const char *key, const char *type, ...) {
    va_list value;
    int r;

    if ((r = sd_bus_message_open_container(message, 'e', "sv")) < 0 ||
        (r = sd_bus_message_append(message, "s", key)) < 0 ||
        (r = sd_bus_message_open_container(message, 'v', type)) < 0)
        return r;
    va_start(value, type);
    r = sd_bus_message_appendv(message, type, value);
    va_end(value);
    if (r < 0 || (r = sd_bus_message_close_container(message)) < 0)
        return r;
    return sd_bus_message_close_container(message);
}

int call_append_features_option(sd_bus_message *message, const char *key, uint64_t features) {
    int r;

    if ((r = sd_bus_message_open_container(message, 'e', "sv")) < 0 ||
        (r = sd_bus_message_append(message, "s", key)) < 0 ||
        (r = sd_bus_message_open_container(message, 'v', "as")) < 0 ||
        (r = call_append_features(message, features)) < 0 || (r = sd_bus_message_close_container(message)) < 0)
        return r;
    return sd_bus_message_close_container(message);
}

/* One try of the call: what came of it so far. */
struct attempt {
    int lease; /* -1 once the broker hung up */
    bool granted, replied, again;
    int error; /* of the reply */
    struct lease_message *grant;
};

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
    struct attempt *attempt = userdata;
    const sd_bus_error *error = sd_bus_message_get_error(reply);

    attempt->replied = true;
    if (error) {
        attempt->error = error_errno(error);
        attempt->again =
            !strcmp(error->name, "org.ioregion1.Error.Busy") || !strcmp(error->name, SD_BUS_ERROR_LIMITS_EXCEEDED);
        last_error_set(attempt->error, "%s: %s", error->name, error->message ?: "no words");
    }
    return 1;
}

/* Take what the broker sent on the lease. A hang-up is no error yet: the reply has the words for it. */
static int serve_lease(struct attempt *attempt) {
    struct lease_message *message = attempt->grant;
    int r = 0;

    while (attempt->lease >= 0 && !attempt->granted) {
        r = lease_client_receive(attempt->lease, message);
        if (r == 0)
            return 0;
        if (r == -ECONNRESET) {
            attempt->lease = fd_close(attempt->lease);
            return 0;
        }
        if (r < 0)
            return last_error_step(r, "lease");
        if (message->header.type == IOREGION_LEASE_GRANT) {
            attempt->granted = true;
        } else if (message->header.type == IOREGION_LEASE_CHALLENGE) {
            r = lease_client_prove(attempt->lease, &message->challenge);
            if (r == -EPROTONOSUPPORT)
                return last_error_step(r, "lease");
        } else {
            lease_message_done(message);
            return last_error_set(-EPROTO, "lease: message of type %u before the grant", message->header.type);
        }
    }
    return 0;
}

/* Sleep until bus or lease have something to say. */
static int wait_for_word(sd_bus *bus, int lease, uint64_t deadline) {
    struct timespec left = clock_timespec(clock_left(deadline));
    struct pollfd fds[] = {
        {.fd = sd_bus_get_fd(bus), .events = (short) sd_bus_get_events(bus)},
        {.fd = lease, .events = POLLIN},
    };

    if (left.tv_sec == 0 && left.tv_nsec == 0)
        return last_error_set(-EHOSTUNREACH, "the broker did not answer in time");
    if (ppoll(fds, 2, &left, NULL) < 0 && errno != EINTR)
        return last_error_step(-errno, "poll");
    return 0;
}

/* Until the grant or the reply, whichever is first. The grant is always sent first, so after a reply it is there. */
static int await_grant(sd_bus *bus, struct attempt *attempt, uint64_t deadline) {
    for (;;) {
        int lease_error, r = sd_bus_process(bus, NULL);

        if (r < 0)
            return last_error_set(-EHOSTUNREACH, "system bus: %s", strerrordesc_np(-r));
        if (attempt->error || (lease_error = serve_lease(attempt)) < 0)
            return attempt->error ?: lease_error;
        if (attempt->granted)
            return 0;
        if (attempt->replied)
            return last_error_set(-EPROTO, "the broker replied, but granted nothing");
        if (r == 0 && (r = wait_for_word(bus, attempt->lease, deadline)) < 0)
            return r;
    }
}

static int try_once(sd_bus *bus, const char *method, call_fill_t fill, const void *arguments, uint64_t deadline,
                    struct attempt *attempt) {
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
    _cleanup_(fd_closep) int theirs = -1;
    int r;

    r = lease_client_pair(&attempt->lease, &theirs);
    if (r < 0)
        return last_error_step(r, "socketpair");
    if ((r = sd_bus_message_new_method_call(bus, &message, "org.ioregion1", "/org/ioregion1", "org.ioregion1.Manager",
                                            method)) < 0 ||
        (r = fill(message, arguments)) < 0 || (r = sd_bus_message_append(message, "h", theirs)) < 0)
        return last_error_step(r, "making the call");
    r = sd_bus_call_async(bus, &slot, message, on_reply, attempt, clock_left(deadline));
    if (r < 0)
        return last_error_set(-EHOSTUNREACH, "system bus: %s", strerrordesc_np(-r));

    /* Only the broker's copy may keep that end open: else its hang-up would go unseen. */
    theirs = fd_close(theirs);
    message = sd_bus_message_unref(message);
    return await_grant(bus, attempt, deadline);
}

int call_broker(const char *method, call_fill_t fill, const void *arguments, int *ret_lease,
                struct lease_message *ret_grant) {
    _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
    uint64_t start = clock_now_usec(), pause = 10000;
    int r;

    r = sd_bus_open_system(&bus);
    if (r < 0)
        return last_error_set(-EHOSTUNREACH, "system bus: %s", strerrordesc_np(-r));
    for (;;) {
        struct attempt attempt = {.lease = -1, .grant = ret_grant};
        struct timespec sleep = clock_timespec(pause);

        r = try_once(bus, method, fill, arguments, clock_after(start, CALL_USEC), &attempt);
        if (r >= 0) {
            *ret_lease = attempt.lease;
            return 0;
        }
        attempt.lease = fd_close(attempt.lease);
        if (!attempt.again || clock_now_usec() + pause > start + CALL_RETRY_USEC)
            return r;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &sleep, NULL);
        pause *= 2;
    }
}
