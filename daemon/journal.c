/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#include "escape.h"
#include "journal.h"

/* The message ids are those of ioregiond.catalog. */
static const struct {
    const char *name, *message_id;
    int level;
} events[AUDIT_EVENTS] = {
    [AUDIT_REGISTER] = {"register", "064ce158e99b4fd3aa5c813df52d51b9", LOG_INFO},
    [AUDIT_UNREGISTER] = {"unregister", "dfd4cf49d08d404397b1e9a38d86d834", LOG_INFO},
    [AUDIT_ATTACH] = {"attach", "656025f8a17245d1b104bb074a459e01", LOG_INFO},
    [AUDIT_RESUME] = {"resume", "bed18f98568646d39a335ef8bd62371d", LOG_INFO},
    [AUDIT_DETACH] = {"detach", "4591fa8914034afb8072939257adf499", LOG_INFO},
    [AUDIT_DENY] = {"deny", "1a90b0fc81cf47b98c5fb6062e925a6c", LOG_WARNING},
    [AUDIT_FAILURE] = {"failure", "32bc93a5c96f4272bf93f231b8536fec", LOG_WARNING},
    [AUDIT_RELOAD] = {"reload", "e03e4b3c7bd54aa4a578e267645ab6b1", LOG_NOTICE},
};

static const char *const levels[] = {
    [LOG_EMERG] = "emerg",     [LOG_ALERT] = "alert",   [LOG_CRIT] = "crit", [LOG_ERR] = "err",
    [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice", [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

static int max_level = LOG_INFO;

const char *journal_level_name(int level) {
    return levels[level];
}

int journal_level_from_name(const char *name) {
    for (int level = LOG_EMERG; level <= LOG_DEBUG; level++)
        if (strcmp(levels[level], name) == 0)
            return level;
    return -EINVAL;
}

int journal_max_level(void) {
    return max_level;
}

void journal_set_max_level(int level) {
    max_level = level;
}

/* The service manager says in JOURNAL_STREAM which socket it gave us; standard error may have been redirected since. */
bool journal_is_connected(void) {
    static int connected = -1;
    unsigned long long device, inode;
    const char *stream;
    struct stat st;

    if (connected < 0) {
        stream = getenv("JOURNAL_STREAM");
        connected = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
                    st.st_dev == device && st.st_ino == inode;
    }
    return connected;
}

/*
 * sd-journal waits for a journal that takes nothing, and whoever waits for the broker would, too. A socket of our own,
 * that nothing is written to, tells whether there is room. Where there is no journal, sd-journal does not wait.
 */
static bool journal_has_room(void) {
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
    static int fd = -1;

    if (fd < 0)
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    /* each time: it may be another journal by now */
    if (fd < 0 || connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
        return true;
    return poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 0) != 0;
}

/* A record under way: the fields for the journal, and the line that a person reads. */
struct record {
    struct iovec fields[16];
    int n_fields;
    char line[2048];
    size_t used;
};

static void add_field(struct record *record, const char *key, const char *value) {
    char *text;
    int n = asprintf(&text, "%s=%s", key, value);

    if (n >= 0)
        record->fields[record->n_fields++] = (struct iovec){text, (size_t) n};
}

__attribute__((format(printf, 2, 3))) static void add_text(struct record *record, const char *format, ...) {
    size_t room = sizeof(record->line) - record->used;
    va_list arguments;
    int n;

    va_start(arguments, format);
    n = vsnprintf(record->line + record->used, room, format, arguments);
    va_end(arguments);
    if (n > 0)
        record->used += (size_t) n < room ? (size_t) n : room - 1;
}

/* A value from outside: a field, and "format" (with one %s) in the line. Nothing for NULL. */
static void add_value(struct record *record, const char *key, const char *format, const char *value) {
    char escaped[1024], text[1100];

    if (!value || !*value)
        return;
    escape(escaped, sizeof(escaped), value);
    add_field(record, key, escaped);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof(text), format, escaped);
#pragma GCC diagnostic pop
    add_text(record, "%s", text);
}

static void add_number(struct record *record, const char *key, const char *label, unsigned long value) {
    char text[24];

    snprintf(text, sizeof(text), "%lu", value);
    add_field(record, key, text);
    add_text(record, " %s=%lu", label, value);
}

static void send_record(struct record *record, int level) {
    static unsigned long lost;
    char priority[2] = {(char) ('0' + level), 0};

    if (journal_is_connected() && !journal_has_room()) {
        lost++;
    } else if (journal_is_connected()) {
        if (lost)
            add_number(record, "IOREGION_LOST", "lost-before", lost);
        lost = 0;
        add_field(record, "MESSAGE", record->line);
        add_field(record, "PRIORITY", priority);
        add_field(record, "SYSLOG_IDENTIFIER", "ioregiond");
        sd_journal_sendv(record->fields, record->n_fields);
    } else {
        fprintf(stderr, "ioregiond: %s\n", record->line);
    }
    for (int i = 0; i < record->n_fields; i++)
        free(record->fields[i].iov_base);
}

/*
 * Anyone can be refused as often as they like, so refusals are what floods a log: after a burst, so many a second,
 * and the next one that gets through tells how many did not.
 */
#define DENIALS_BURST 20
#define DENIALS_PER_SECOND 5

static bool denial_passes(unsigned long *ret_suppressed) {
    static uint64_t tokens = DENIALS_BURST * UINT64_C(1000), filled_msec;
    static unsigned long suppressed;
    struct timespec now;
    uint64_t msec;

    clock_gettime(CLOCK_MONOTONIC, &now);
    msec = (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
    if (filled_msec)
        tokens += (msec - filled_msec) * DENIALS_PER_SECOND;
    filled_msec = msec;
    if (tokens > DENIALS_BURST * 1000)
        tokens = DENIALS_BURST * 1000;
    if (tokens < 1000) {
        suppressed++;
        return false;
    }
    tokens -= 1000;
    *ret_suppressed = suppressed;
    suppressed = 0;
    return true;
}

static void fill(struct record *record, enum audit_event event, const struct audit_record *from) {
    add_field(record, "MESSAGE_ID", events[event].message_id);
    add_text(record, "%s:", events[event].name);
    add_value(record, "IOREGION_DEVICE", " device %s", from->device);
    add_value(record, "IOREGION_VM", from->device ? " on vm %s" : " vm %s", from->vm);
    add_value(record, "IOREGION_ERROR", " %s", from->error);
    add_value(record, "IOREGION_UNIT", " unit=%s", from->unit);
    if (from->pid > 0)
        add_number(record, "OBJECT_PID", "pid", (unsigned long) from->pid);
    if (from->uid != (uid_t) -1)
        add_number(record, "IOREGION_UID", "uid", from->uid);
    add_value(record, "IOREGION_RULE", " rule=%s", from->rule);
    add_value(record, "IOREGION_REASON", " (%s)", from->reason);
}

void audit(enum audit_event event, const struct audit_record *from) {
    struct record record = {.n_fields = 0};
    unsigned long suppressed = 0;

    if (event == AUDIT_DENY && !denial_passes(&suppressed))
        return;
    if (suppressed)
        journal_log(LOG_WARNING, "deny: %lu more refusals were not logged", suppressed);
    fill(&record, event, from);
    send_record(&record, events[event].level);
}

void journal_log(int level, const char *format, ...) {
    struct record record = {.n_fields = 0};
    char text[sizeof(record.line) / 2];
    va_list arguments;

    if (level > max_level)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    escape(record.line, sizeof(record.line), text);
    send_record(&record, level);
}
