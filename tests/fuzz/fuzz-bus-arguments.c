/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/bus-explain.h"
#include "daemon/bus-request.h"

/*
 * Arguments of method calls. The input is a recipe for a message, in a language of single letters that a person can
 * read: what can't be appended at its place is left out, so that most recipes give a message.
 *
 *     R A Q       first: the reader: RegisterVM, AttachDevice, ExplainAccess
 *     w0 ... wZ   a string from words[]       sNtext   a string of N - '0' bytes
 *     u0 ...      a number from numbers[]     t0 b0    the same, as other types         h   a descriptor
 *     [0 ...      begin an array of           <0 ...   begin a variant of               (0  begin a struct of
 *     {           begin a dictionary entry    .        end what was begun last
 */

static const char *const words[] = {
    "vm", "dev", "mmio", "pio", "posted", "channel", "require", "want", "channels", "timeout-usec", "on-disconnect",
    "interrupts", "dispatch", "ceiling", "reserve", "vm-fd", "ones", "hold", "auto", "kernel",
    "posted-writes", "replay",
    "action", "register", "attach", "unit", "user", "group", "device", "regions", "a/b", "\n", "process",
};
static const uint64_t numbers[] = {0, 1, 2, 8, 64, 65, 0x3f8, 0xffff, 0x10000, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
static const char *const arrays[] = {"{sv}", "(sttta{sv})", "(stt)", "s", "u", "v"};
static const char *const variants[] = {"s", "as", "u", "t", "b", "h", "au", "a(stt)", "a(sttta{sv})", "v"};
static const char *const structs[] = {"sttta{sv}", "stt"};

#define PICK(table, byte) table[(uint8_t) ((byte) - '0') % (sizeof(table) / sizeof(*table))]

struct recipe {
    const uint8_t *data;
    size_t size;
};

static uint8_t next(struct recipe *recipe) {
    if (!recipe->size)
        return '0';
    recipe->size--;
    return *recipe->data++;
}

static void append_text(sd_bus_message *message, struct recipe *recipe) {
    size_t size = (uint8_t) (next(recipe) - '0');
    char text[256];

    for (size_t i = 0; i < size; i++)
        text[i] = (char) next(recipe);
    text[size] = 0;
    sd_bus_message_append_basic(message, 's', text);
}

static void follow(sd_bus_message *message, struct recipe *recipe, int fd) {
    while (recipe->size) {
        uint8_t letter = next(recipe);
        uint64_t number;

        switch (letter) {
        case 'w':
            sd_bus_message_append_basic(message, 's', PICK(words, next(recipe)));
            break;
        case 's':
            append_text(message, recipe);
            break;
        case 'u':
        case 't':
        case 'b':
            number = PICK(numbers, next(recipe));
            sd_bus_message_append_basic(message, (char) letter, letter == 'b' ? &(int){number & 1} : (void *) &number);
            break;
        case 'h':
            sd_bus_message_append_basic(message, 'h', &fd);
            break;
        case '[':
            sd_bus_message_open_container(message, 'a', PICK(arrays, next(recipe)));
            break;
        case '<':
            sd_bus_message_open_container(message, 'v', PICK(variants, next(recipe)));
            break;
        case '(':
            sd_bus_message_open_container(message, 'r', PICK(structs, next(recipe)));
            break;
        case '{':
            sd_bus_message_open_container(message, 'e', "sv");
            break;
        case '.':
            sd_bus_message_close_container(message);
            break;
        }
    }
    while (sd_bus_message_close_container(message) >= 0)
        ;
}

static void read_register(sd_bus_message *message, sd_bus_error *error) {
    _cleanup_(register_request_freep) struct register_request *request = NULL;
    _cleanup_(fd_closep) int lease = -1;

    if (parse_register_vm(message, &request, &lease, error) >= 0 && (!name_is_valid(request->name) || lease < 0))
        abort();
}

static void read_attach(sd_bus_message *message, sd_bus_error *error) {
    _cleanup_(attach_request_freep) struct attach_request *request = NULL;
    _cleanup_(fd_closep) int lease = -1;

    if (parse_attach_device(message, &request, &lease, error) >= 0 &&
        (!name_is_valid(request->vm) || !name_is_valid(request->device) || request->n_regions > 256 ||
         request->channels < 1 || request->channels > 64 || request->n_interrupts > 64 || lease < 0))
        abort();
}

static void read_question(sd_bus_message *message, sd_bus_error *error) {
    _cleanup_(question_done) struct question question = {};

    if (parse_question(message, &question, error) >= 0 && !name_is_valid(question.explain.vm))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static sd_bus *connection;
    static int ends[2];
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
    struct recipe recipe = {data, size};
    uint8_t reader = next(&recipe);

    if (!connection && (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0 ||
                        sd_bus_new(&connection) < 0 || sd_bus_set_fd(connection, ends[0], ends[0]) < 0 ||
                        sd_bus_start(connection) < 0))
        abort();
    if (sd_bus_message_new_method_call(connection, &message, "a.b", "/", "a.b", "C") < 0)
        abort();
    follow(message, &recipe, ends[1]);
    if (sd_bus_message_seal(message, 1, 0) < 0 || sd_bus_message_rewind(message, true) < 0)
        return 0;
    (reader == 'R' ? read_register : reader == 'A' ? read_attach : read_question)(message, &error);
    for (const char *p = error.message ? error.message : ""; *p; p++)
        if ((*p > 0 && *p < ' ') || *p == 0x7f)
            abort(); /* raw control characters on their way to a log */
    return 0;
}
