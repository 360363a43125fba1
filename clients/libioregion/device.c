/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "device-internal.h"
#include "error.h"
#include "lease-client.h"

int device_new(struct ioregion_device **ret_device, const struct ioregion_region *regions, size_t n_regions,
               size_t n_channels, const struct ioregion_device_ops *ops, void *userdata) {
    _cleanup_(device_discardp) struct ioregion_device *device = NULL;
    int r;

    if (n_regions == 0 || n_channels == 0 || n_channels > IOREGION_LEASE_FDS_MAX)
        return last_error_set(-EINVAL, "a device has at least one region, and 1 to 64 channels");
    if (ops->struct_size < offsetof(struct ioregion_device_ops, resumed) || !ops->read || !ops->write)
        return last_error_set(-EINVAL, "ops: struct_size, read and write must be set");

    device = calloc(1, sizeof(*device));
    if (!device)
        return last_error_step(-ENOMEM, "device");
    device->lease = device->epoll = device->timer = -1;
    device->userdata = userdata;
    memcpy(&device->ops, ops, ops->struct_size < sizeof(*ops) ? ops->struct_size : sizeof(*ops));
    device->channels = malloc(n_channels * sizeof(int));
    if (!device->channels)
        return last_error_step(-ENOMEM, "device");
    for (device->n_channels = 0; device->n_channels < n_channels; device->n_channels++)
        device->channels[device->n_channels] = -1;
    r = device_copy_regions(device, regions, n_regions);
    if (r < 0)
        return r;

    device->epoll = epoll_create1(EPOLL_CLOEXEC);
    device->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (device->epoll < 0 || device->timer < 0)
        return last_error_step(-errno, "device");
    *ret_device = STEAL(device);
    return 0;
}

static int watch(struct ioregion_device *device, int fd, size_t index) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = index};

    return epoll_ctl(device->epoll, EPOLL_CTL_ADD, fd, &event) < 0 && errno != EEXIST ? -errno : 0;
}

static void unwatch(struct ioregion_device *device, int fd) {
    epoll_ctl(device->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* Put @fd where *place is, under the old number if there is one. run() relies on calls that block. */
static int install(struct ioregion_device *device, int *place, int fd, size_t index) {
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
        return -errno;
    if (*place >= 0) {
        unwatch(device, *place);
        if (dup3(fd, *place, O_CLOEXEC) < 0)
            return -errno;
    }
    return watch(device, *place >= 0 ? *place : fd, index);
}

/* The new ones decide: who resumes may find another dispatcher. */
static int find_kind(struct ioregion_device *device, const int *channels) {
    int kind = channel_kind(channels[0]);

    for (size_t i = 1; i < device->n_channels && kind >= 0; i++)
        if (channel_kind(channels[i]) != kind)
            return -EINVAL;
    if (kind >= 0)
        device->kind = (enum channel_kind) kind;
    return kind;
}

int device_install(struct ioregion_device *device, int lease, const int *channels) {
    static const struct itimerspec disarmed;
    bool first = device->channels[0] < 0;
    int r;

    r = find_kind(device, channels);
    if (r < 0)
        return r;
    timerfd_settime(device->timer, 0, &disarmed, NULL);
    if ((lease >= 0 && (r = install(device, &device->lease, lease, DEVICE_EVENT_LEASE)) < 0) ||
        (r = watch(device, device->timer, DEVICE_EVENT_TIMER)) < 0)
        return r;
    for (size_t i = 0; i < device->n_channels; i++)
        if ((r = install(device, device->channels + i, channels[i], i)) < 0)
            return r;

    if (first)
        memcpy(device->channels, channels, device->n_channels * sizeof(int));
    for (size_t i = 0; !first && i < device->n_channels; i++)
        fd_close(channels[i]);
    if (device->lease < 0)
        device->lease = lease;
    else
        fd_close(lease);
    device->state = DEVICE_SERVING;
    /* Told to stop meanwhile, or before: what was to wake the caller was disarmed above. */
    if (atomic_load(&device->stopped))
        ioregion_device_stop(device);
    return 0;
}

struct ioregion_device *device_discard(struct ioregion_device *device) {
    if (!device)
        return NULL;
    for (size_t i = 0; i < device->n_channels; i++)
        fd_close(device->channels[i]);
    fd_close(device->lease);
    fd_close(device->epoll);
    fd_close(device->timer);
    free(device->channels);
    free(device->regions);
    free(device->slots);
    free(device->vm);
    free(device->name);
    free(device->on_disconnect);
    free(device);
    return NULL;
}

int ioregion_device_from_fds(struct ioregion_device **ret_device, const int *channels, size_t n_channels, int lease,
                             uint64_t features, const struct ioregion_region *regions, size_t n_regions,
                             const struct ioregion_device_ops *ops, void *userdata) {
    _cleanup_(device_discardp) struct ioregion_device *device = NULL;
    int r;

    r = device_new(&device, regions, n_regions, n_channels, ops, userdata);
    if (r < 0)
        return r;
    r = device_install(device, lease, channels);
    if (r < 0)
        return last_error_step(r, "channels");
    device->features = features;
    *ret_device = STEAL(device);
    return 0;
}

struct ioregion_device *ioregion_device_free(struct ioregion_device *device) {
    static const struct ioregion_lease_release release = {{IOREGION_LEASE_RELEASE, sizeof(release)}};

    if (device && device->lease >= 0)
        lease_client_send(device->lease, &release.header);
    return device_discard(device);
}

int ioregion_device_take_fds(struct ioregion_device *device, int *ret_lease, int *ret_channels, size_t n_channels) {
    if (n_channels != device->n_channels || device->channels[0] < 0)
        return last_error_set(-EINVAL, "the device has %zu channels", device->n_channels);
    for (size_t i = 0; i < n_channels; i++) {
        unwatch(device, device->channels[i]);
        if (device->state == DEVICE_ENDED)
            channel_end(device->kind, device->channels[i]); /* others may have it open, and nobody serves it */
        ret_channels[i] = STEAL_FD(device->channels[i]);
    }
    if (device->lease >= 0)
        unwatch(device, device->lease);
    *ret_lease = STEAL_FD(device->lease);
    device->state = DEVICE_ENDED;
    device->result = -ECONNRESET;
    return 0;
}

uint64_t ioregion_device_features(const struct ioregion_device *device) {
    return device->features;
}

uint64_t ioregion_device_timeout_usec(const struct ioregion_device *device) {
    return device->timeout_usec;
}

int ioregion_device_fd(const struct ioregion_device *device) {
    return device->epoll;
}
