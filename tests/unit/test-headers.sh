#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Each public header stands alone, in strict C11 and in C++17. Arguments: the include folder, the C compiler.
set -eu
include=$1
shift
for header in "$include"/ioregion/*.h; do
    name=ioregion/${header##*/}
    echo "$name"
    printf '#include <%s>\n' "$name" | "$@" -std=c11 -pedantic -Wall -Wextra -Werror -I"$include" -fsyntax-only -x c -
    if command -v c++ >/dev/null; then
        printf '#include <%s>\n' "$name" |
            c++ -std=c++17 -pedantic -Wall -Wextra -Werror -I"$include" -fsyntax-only -x c++ -
    fi
done
