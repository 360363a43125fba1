/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H

/* The command line of the demo VMM. */

#include <stdbool.h>
#include <stdint.h>

#include <ioregion/vmm.h>

#include "board.h"

#define RESERVE_MAX 32

struct options {
    const char *vm;
    struct ioregion_range reserve[RESERVE_MAX]; /* the board's first */
    struct ioregion_vmm_options registration;   /* points to reserve */
    const char *guest; /* a file, NULL for the demo guest */
    bool paused, no_kvm;
    int kvm;           /* a descriptor of /dev/kvm, -1 to open it */
    uint64_t timeout;  /* seconds */
};

/* 0 to go on, 1 when help or version was printed, -EINVAL when the command line is wrong (and why, logged). */
int options_parse(int argc, char **argv, struct options *ret_options);

#endif
