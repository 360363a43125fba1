/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VMM_REPLAY_H
#define VMM_REPLAY_H

/*
 * Where there is no KVM: make the accesses of the demo guest without a guest, through the same VMM library, and write
 * the same transcript. Ends with board->ended, or early with board->stop. @vmm is the caller's.
 */

#include <ioregion/vmm.h>

#include "board.h"

void replay_run(struct ioregion_vmm *vmm, struct board *board);

#endif
