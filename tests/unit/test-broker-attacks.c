/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What clients can do on purpose: each of these cost the broker something once, or got somebody more than is theirs. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "broker-rig.h"

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

/* 22: who passed the lease can have the kernel hand the broker a descriptor with each message. None may stay. */
static void no_pidfd_stays(void **state) {
    struct rig *rig = rig_new(NULL);
    int pair[2], shared, on = 1;
    struct client client;
    unsigned before;

    before = count_fds();
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        shared = dup(pair[1]);
        client = (struct client){.lease = pair[0]};
        client_register_on(rig, &client, "vm", pair[1]);
        if (setsockopt(shared, SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on)) < 0) {
            close(shared);
            client_close(&client);
            rig_free(rig);
            skip(); /* a kernel before 6.5 */
        }
        client_prove(rig, &client);
        assert_true(client.outcome.replied);
        client_close(&client);
        close(shared);
        rig_pump(rig);
    }
    assert_true(count_fds() <= before + 1); /* the event loop's timer */
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_pidfd_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
