#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the library exports is what its symbol map lists, and what the headers declare. Arguments: library, map, headers.
set -eu
library=$1 map=$2 include=$3
exported=$(nm -D --defined-only "$library" | sed -n 's/.* T \([a-z_]*\).*/\1/p' | sort)
mapped=$(sed -n 's/^ *\(ioregion_[a-z_]*\);$/\1/p' "$map" | sort)
declared=$(cat "$include"/ioregion/*.h | tr '\n' ' ' | grep -o 'IOREGION_PUBLIC [^;(]*(' |
    sed -n 's/.*[ *]\(ioregion_[a-z_]*\)($/\1/p' | sort)
[ -n "$exported" ]
if [ "$exported" != "$mapped" ] || [ "$exported" != "$declared" ]; then
    printf 'exported:\n%s\n\nmapped:\n%s\n\ndeclared:\n%s\n' "$exported" "$mapped" "$declared" >&2
    exit 1
fi
readelf -d "$library" | grep -q 'SONAME.*\[libioregion.so.0\]'
