/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "announcement.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "internal/cleanup.h"

#define JOURNAL "/run/systemd/journal/socket"

/* @path as in sd_notify(3): with an @ before it, it is an abstract name. libsystemd would open a socket for each send.
 */
static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = path ? strlen(path) : 0;
    _cleanup_(fd_closep) int fd = -1;

    if (length < 2 || length >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, length);
    if (*path == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 ||
        connect(fd, (struct sockaddr *) &address, offsetof(struct sockaddr_un, sun_path) + (socklen_t) length) < 0)
        return -1;
    return STEAL_FD(fd);
}

void announcer_open(struct announcer *ret_announcer) {
    ret_announcer->journal = connect_to(JOURNAL);
    ret_announcer->manager = connect_to(getenv("NOTIFY_SOCKET"));
}

void announcer_close(struct announcer *announcer) {
    announcer->journal = fd_close(announcer->journal);
    announcer->manager = fd_close(announcer->manager);
}

static void send_text(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void send_text(int fd, const char *format, ...) {
    char text[1024];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length > 0 && (size_t) length < sizeof(text))
        send(fd, text, (size_t) length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void announce(const struct announcer *announcer, const struct service *service, int priority, const char *message_id,
              const char *event, const char *words, uint64_t count) {
    if (announcer->manager >= 0)
        send_text(announcer->manager, "STATUS=%s (%" PRIu64 ")", event, count);
    if (announcer->journal >= 0)
        send_text(announcer->journal,
                  "MESSAGE=%s[%s]: %s\nMESSAGE_ID=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nIOREGION_DEVICE=%s\n"
                  "IOREGION_EVENT=%s\nIOREGION_COUNT=%" PRIu64 "\n%s%s%s",
                  service->program, service->name, words, message_id, priority, service->program, service->name, event,
                  count, service->vm ? "IOREGION_VM=" : "", service->vm ? service->vm : "", service->vm ? "\n" : "");
    else
        service_log(service, "%s: %s (%" PRIu64 ")", event, words, count);
}
