#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# bench-kernel.sh [--rounds N]: bench-kernel.c in a guest of the module's rig; prints lines of JSON.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

rounds=10
if [ $# -gt 0 ]; then
    [[ $# -eq 2 && $1 == --rounds && $2 == [1-9]* ]] || { echo "bench-kernel.sh [--rounds N]" >&2 && exit 2; }
    rounds=$2
fi
output=$(tests/kernel/rig amd64 "bench=$rounds")
case $output in
    '1..0 # SKIP '*) echo "skipped: ${output#1..0 # SKIP }" && exit 77 ;;
esac
grep '^{"bench"' <<<"$output"
! grep -Ev '^(\{"bench"|1\.\.|ok |# [0-9])' <<<"$output" >&2
