#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# bench-floods.sh [--rounds N]: floods.py in containers, one for each kind of bus; ends with 77 where none can boot.
cd "$(dirname "$0")/../.." || exit
rounds=3
[ "$1" != --rounds ] || rounds=$2
export IOREGION_BUILD="$PWD/build" IOREGION_BUS IOREGION_LIMIT=$((90 + 120 * rounds))
for IOREGION_BUS in dbus-daemon dbus-broker; do
    said=$(/usr/bin/python3 tests/system/container.py tests/bench/floods.py "$rounds") || exit
    echo "$said"
    case $said in 1..0*) exit 77 ;; esac
done
