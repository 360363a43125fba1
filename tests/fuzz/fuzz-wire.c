/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the two ends of a channel make of any bytes. The first byte of the input chooses: even, the packets that
 * follow are commands to a device; odd, they are responses to a dispatcher. Each packet is a length and its bytes.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <ioregion/device.h>
#include "vmm-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REGION_SIZE 24

/* Callbacks get what was promised, or the fuzzer has found something. */
static void check(uint64_t region, uint64_t offset, unsigned size) {
    if (region > 1 || (size != 1 && size != 2 && size != 4 && size != 8) || offset > REGION_SIZE - size)
        abort();
}

static uint64_t on_read(void *userdata, uint64_t region, uint64_t offset, unsigned size) {
    check(region, offset, size);
    return UINT64_MAX;
}

static void on_write(void *userdata, uint64_t region, uint64_t offset, unsigned size, uint64_t value) {
    check(region, offset, size);
    if (value & ~ioregion_all_ones(size))
        abort();
}

/* Send the packets as the other end would, as far as they fit. */
static void send_packets(int fd, const uint8_t *data, size_t size) {
    while (size > 0) {
        size_t length = data[0] % 41;

        data++;
        size--;
        length = length > size ? size : length;
        if (send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            return;
        data += length;
        size -= length;
    }
}

static void fuzz_device(int pair[2], uint64_t features) {
    static const struct ioregion_device_ops ops = {sizeof(ops), on_read, on_write, NULL, NULL};
    static const struct ioregion_region regions[] = {{.size = REGION_SIZE, .user_data = 0},
                                                     {.base = 64, .size = REGION_SIZE, .user_data = 1}};
    struct ioregion_device *device;
    struct ioregion_response response;

    if (ioregion_device_from_fds(&device, pair, 1, -1, features, regions, 2, &ops, NULL) < 0)
        abort();
    ioregion_device_process(device);
    while (recv(pair[1], &response, sizeof(response), MSG_DONTWAIT) == sizeof(response))
        for (size_t i = 0; i < sizeof(response.pad); i++)
            if (response.pad[i])
                abort();
    ioregion_device_free(device);
}

/* All were sent before the command was: none may be taken for its answer. */
static void fuzz_dispatcher(int fd, bool sent_any) {
    const struct ioregion_command command = {.info = 0x60};
    uint64_t value = 0;
    bool sent = false;

    if (exchange(fd, &command, 1000, &sent, &value) == 0 || (sent_any && sent) || value)
        abort();
}

static void fuzz_response(const uint8_t *data, size_t size) {
    struct ioregion_command command = {0};
    struct ioregion_response response = {0};

    memcpy(&command, data, size < sizeof(command) ? size : sizeof(command));
    if (size > sizeof(command))
        memcpy(&response, data + sizeof(command),
               size - sizeof(command) < sizeof(response) ? size - sizeof(command) : sizeof(response));
    if (ioregion_response_valid(&response, &command) && !ioregion_info_is_write(command.info) &&
        response.data > ioregion_all_ones(ioregion_info_size(command.info)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int pair[2];

    if (size < 2 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return 0;
    send_packets(pair[1], data + 1, size - 1);
    if (data[0] & 1) {
        fuzz_dispatcher(pair[0], true);
        fuzz_response(data + 1, size - 1);
        close(pair[0]);
    } else {
        fuzz_device(pair, data[0] >> 1);
    }
    close(pair[1]);
    return 0;
}
