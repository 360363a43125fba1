/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DAEMON_ADMISSION_H
#define DAEMON_ADMISSION_H

/* Inside the broker: the end of all requests under way, when the broker itself ends. */

#include "broker.h"

/* Undo, and reply Busy. */
void admission_shut_down(struct admission *admission);

#endif
