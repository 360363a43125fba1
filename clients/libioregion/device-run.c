/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Answering the guest.
 *
 * With one channel, run() blocks in its receive and waits for nothing else: whoever ends the hold, be it the broker,
 * the dispatcher or stop(), ends the channel too, and that wakes it. Only then are lease and timer looked at, in
 * the loop that process() and devices with several channels use all the time.
 */

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "device-internal.h"
#include "error.h"
#include "lease-client.h"

/* The channel is cut before the broker says why, and in between it waits for the VMM: at most this long. */
#define LAST_WORD_SECONDS 3

/* So many commands are answered before process() lets its caller look after other things. */
#define PROCESS_COMMANDS 1024

static int execute(struct ioregion_device *device, size_t channel, const struct ioregion_command *command) {
    uint64_t region_size = device_region_size(device, channel, command->user_data);
    unsigned size = ioregion_info_size(command->info);
    struct ioregion_response response = {.data = 0};

    if (!ioregion_command_valid(command, region_size, device->features))
        return -EPROTO;
    if (ioregion_info_is_write(command->info))
        device->ops.write(device->userdata, command->user_data, command->offset, size, command->data);
    else
        response.data =
            device->ops.read(device->userdata, command->user_data, command->offset, size) & ioregion_all_ones(size);
    if (!ioregion_info_wants_response(command->info))
        return 1;
    /* never waits: a dispatcher that lets its answers pile up waits for none of them, and stop() wakes no send */
    return channel_respond(device->kind, device->channels[channel], &response);
}

/* Take one command and answer it: 1 done, 0 none there, -ECONNRESET, -EPROTO. */
static int serve(struct ioregion_device *device, size_t channel, bool wait) {
    struct ioregion_command command;
    int r = channel_receive(device->kind, device->channels[channel], &command, wait);

    if (r > 0)
        return execute(device, channel, &command);
    return r == -EINTR ? 1 : r;
}

/*
 * The hold is over. The descriptors stay, so that stop() keeps hitting them, but nothing comes or goes any more. Who
 * was stopped may have a last word for the broker, and the channels' end is not to be heard of before that.
 */
static void end(struct ioregion_device *device, int result, unsigned reason) {
    for (size_t i = 0; i < device->n_channels; i++) {
        epoll_ctl(device->epoll, EPOLL_CTL_DEL, device->channels[i], NULL);
        if (result != -EINTR)
            channel_end(device->kind, device->channels[i]);
    }
    if (device->lease >= 0)
        epoll_ctl(device->epoll, EPOLL_CTL_DEL, device->lease, NULL);
    device->state = DEVICE_ENDED;
    device->result = result;
    if (device->ops.ended && result != -EINTR)
        device->ops.ended(device->userdata, reason);
}

static void hear_lease(struct ioregion_device *device) {
    unsigned reason = 0;
    int r = lease_client_receive_revoke(device->lease, &reason);

    if (r > 0) {
        end(device, 0, reason);
    } else if (r < 0) {
        /* The broker is gone, but the guest is not: go on while the dispatcher does. */
        epoll_ctl(device->epoll, EPOLL_CTL_DEL, device->lease, NULL);
        shutdown(device->lease, SHUT_RDWR);
        if (device->state == DEVICE_ENDING)
            end(device, -ECONNRESET, 0);
    }
}

/* A channel came to its end: what does the broker say? */
static void await_last_word(struct ioregion_device *device) {
    struct itimerspec limit = {.it_value.tv_sec = LAST_WORD_SECONDS};

    if (device->lease < 0) {
        end(device, -ECONNRESET, 0);
        return;
    }
    for (size_t i = 0; i < device->n_channels; i++)
        epoll_ctl(device->epoll, EPOLL_CTL_DEL, device->channels[i], NULL);
    device->state = DEVICE_ENDING;
    hear_lease(device);
    if (device->state == DEVICE_ENDED)
        return;
    timerfd_settime(device->timer, 0, &limit, NULL);
    /* Set after stop() set it, the limit would undo its wake-up. */
    if (atomic_load(&device->stopped))
        end(device, -EINTR, 0);
}

static void channel_failed(struct ioregion_device *device, int error) {
    if (atomic_load(&device->stopped))
        end(device, -EINTR, 0);
    else if (error == -EPROTO)
        end(device, -EPROTO, 0);
    else
        await_last_word(device);
}

/* Deal with all that is there, after waiting for it up to @timeout (poll's). Returns how much there was. */
static int step(struct ioregion_device *device, int timeout) {
    struct epoll_event events[16];
    int n = epoll_wait(device->epoll, events, 16, timeout), r;

    for (int i = 0; i < n && device->state != DEVICE_ENDED; i++) {
        size_t source = (size_t) events[i].data.u64;

        if (source == DEVICE_EVENT_LEASE) {
            hear_lease(device);
        } else if (source == DEVICE_EVENT_TIMER) {
            end(device, atomic_load(&device->stopped) ? -EINTR : -ECONNRESET, 0);
        } else if (device->state == DEVICE_SERVING) {
            r = serve(device, source, false);
            if (r < 0)
                channel_failed(device, r);
        }
    }
    return n;
}

static int report(struct ioregion_device *device) {
    if (device->result == -EPROTO)
        return last_error_set(-EPROTO, "the dispatcher broke the protocol");
    return device->result < 0 ? last_error_step(device->result, "the hold ended") : 0;
}

/* Told to stop before there was anything to wake. */
static void heed_stop(struct ioregion_device *device) {
    if (atomic_load(&device->stopped) && device->state != DEVICE_ENDED)
        end(device, -EINTR, 0);
}

int ioregion_device_run(struct ioregion_device *device) {
    int r = 1;

    heed_stop(device);
    while (device->n_channels == 1 && device->state == DEVICE_SERVING && r > 0)
        r = serve(device, 0, true);
    if (r < 0)
        channel_failed(device, r);
    while (device->state != DEVICE_ENDED)
        step(device, -1);
    return report(device);
}

int ioregion_device_process(struct ioregion_device *device) {
    heed_stop(device);
    for (int i = 0; i < PROCESS_COMMANDS && device->state != DEVICE_ENDED; i++)
        if (step(device, 0) <= 0)
            break;
    if (device->state != DEVICE_ENDED)
        return 0;
    return report(device) ?: 1;
}

void ioregion_device_stop(struct ioregion_device *device) {
    struct itimerspec now = {.it_value.tv_nsec = 1};
    int saved = errno;

    atomic_store(&device->stopped, true);
    for (size_t i = 0; i < device->n_channels; i++)
        channel_stop(device->kind, device->channels[i]);
    timerfd_settime(device->timer, 0, &now, NULL);
    errno = saved;
}
