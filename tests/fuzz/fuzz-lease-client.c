/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a VMM makes of any messages on its lease. The input is a row of messages: a byte whose lower half says how many
 * descriptors go along, a length, and the bytes; the right size is put into the header when the upper half is even.
 * Between them the VM touches addresses. Devices are never there, so no access takes longer than its deadline.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ioregion/vmm.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void send_message(int lease, uint8_t *message, size_t size, size_t n_fds, bool right_size) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(3 * sizeof(int))];
    } control = {.header = {CMSG_LEN(n_fds * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec body = {message, size};
    struct msghdr header = {.msg_iov = &body, .msg_iovlen = 1};
    int pair[2];

    if (right_size && size >= sizeof(struct ioregion_lease_header))
        ((struct ioregion_lease_header *) message)->size = (uint32_t) size;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
        abort();
    close(pair[1]); /* a device that is gone: hold waits, but only for the grace time */
    if (n_fds) {
        for (size_t i = 0; i < n_fds; i++)
            memcpy(CMSG_DATA(&control.header) + i * sizeof(int), pair, sizeof(int));
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
    }
    sendmsg(lease, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    close(pair[0]);
}

/* Long graces are for devices that may come back. */
static bool waits_long(const uint8_t *message, size_t size) {
    const struct ioregion_lease_region_add *add = (const void *) message;

    return size == sizeof(*add) && add->header.type == IOREGION_LEASE_REGION_ADD && add->grace_usec > 100;
}

static void touch(struct ioregion_vmm *vmm, uint64_t address) {
    uint8_t guarded[10] = {[0] = 0xee, [9] = 0xee};

    ioregion_vmm_access(vmm, address & 1 ? IOREGION_PIO : IOREGION_MMIO, address >> 1, guarded + 1, 1 + address % 8,
                        address >> 7 & 1);
    if (guarded[0] != 0xee || guarded[9] != 0xee)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _Alignas(8) uint8_t message[160];
    struct ioregion_vmm *vmm;
    char answer[256];
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || ioregion_vmm_from_lease(&vmm, pair[0]) < 0)
        return 0;
    while (size > 2) {
        uint8_t how = data[0];
        size_t length = data[1] % sizeof(message);

        data += 2;
        size -= 2;
        length = length > size ? size : length;
        memcpy(message, data, length);
        if (!waits_long(message, length))
            send_message(pair[1], message, length, (how & 0xf) % 4, how & 0x10 ? false : true);
        ioregion_vmm_process(vmm);
        touch(vmm, length ? data[length - 1] : how);
        while (recv(pair[1], answer, sizeof(answer), MSG_DONTWAIT) > 0)
            ;
        data += length;
        size -= length;
    }
    ioregion_vmm_free(vmm);
    close(pair[1]);
    return 0;
}
