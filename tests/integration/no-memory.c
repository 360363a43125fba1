/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A daemon to which memory is refused once: the FAIL_AT-th time since READY=1 that it asks for a copy of a text, a
 * place in a tree, a source of events, a message or a call. What the libraries ask for themselves they get. It says so.
 */

#include <dlfcn.h>
#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

static const char told[] = "no memory\n";
static int asked = -1; /* not ready yet */

/* The program's headers are at its very beginning. */
static bool is_the_programs(void *address) {
    Dl_info info;

    return dladdr(address, &info) && ((uintptr_t) info.dli_fbase ^ getauxval(AT_PHDR)) < 4096;
}

static bool fails(void *caller) {
    const char *at = getenv("FAIL_AT");

    if (asked < 0 || !at || !is_the_programs(caller) || ++asked != atoi(at))
        return false;
    return write(STDERR_FILENO, told, sizeof(told) - 1) > 0;
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))
#define FAILS fails(__builtin_return_address(0))

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    static const char ready[] = "READY=1";

    if (asked < 0 && message->msg_iovlen > 0 && message->msg_iov[0].iov_len >= sizeof(ready) - 1 &&
        memcmp(message->msg_iov[0].iov_base, ready, sizeof(ready) - 1) == 0)
        asked = 0;
    return REAL(sendmsg)(fd, message, flags);
}

#undef strdup
char *strdup(const char *text) {
    return FAILS ? NULL : REAL(strdup)(text);
}

void *tsearch(const void *key, void **root, int (*compare)(const void *left, const void *right)) {
    return FAILS ? NULL : REAL(tsearch)(key, root, compare);
}

int sd_event_add_defer(sd_event *event, sd_event_source **ret_source, sd_event_handler_t handler, void *userdata) {
    return FAILS ? -ENOMEM : REAL(sd_event_add_defer)(event, ret_source, handler, userdata);
}

int sd_event_add_time_relative(sd_event *event, sd_event_source **ret_source, clockid_t clock, uint64_t usec,
                               uint64_t accuracy, sd_event_time_handler_t handler, void *userdata) {
    return FAILS ? -ENOMEM
                 : REAL(sd_event_add_time_relative)(event, ret_source, clock, usec, accuracy, handler, userdata);
}

int sd_bus_message_new_method_call(sd_bus *bus, sd_bus_message **ret_message, const char *destination, const char *path,
                                   const char *interface, const char *member) {
    return FAILS ? -ENOMEM
                 : REAL(sd_bus_message_new_method_call)(bus, ret_message, destination, path, interface, member);
}

int sd_bus_message_new_method_return(sd_bus_message *call, sd_bus_message **ret_message) {
    return FAILS ? -ENOMEM : REAL(sd_bus_message_new_method_return)(call, ret_message);
}

int sd_bus_message_new_method_error(sd_bus_message *call, sd_bus_message **ret_message, const sd_bus_error *error) {
    return FAILS ? -ENOMEM : REAL(sd_bus_message_new_method_error)(call, ret_message, error);
}

int sd_bus_call_async(sd_bus *bus, sd_bus_slot **ret_slot, sd_bus_message *message, sd_bus_message_handler_t handler,
                      void *userdata, uint64_t usec) {
    return FAILS ? -ENOMEM : REAL(sd_bus_call_async)(bus, ret_slot, message, handler, userdata, usec);
}
