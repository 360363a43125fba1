/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GUEST_USERLAND_H
#define GUEST_USERLAND_H

/* Become a program of the machine that runs the guest, whose files are to be seen here, and not to be changed. */
_Noreturn void userland_run(const char *program);

#endif
