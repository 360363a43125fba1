# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# What the demo's two ways share: steps that are told, commands that are shown, and words that are waited for. Every
# step is verified: the exit status is 0 only if each one did what it says.

set -euo pipefail

limit=30 # seconds that any one step may take
verified=0
directory=
declare -A pid log # of each service

step() {
    printf '\n== %s\n' "$*"
}

die() {
    printf '\ndemo: FAILED: %s\n' "$*" >&2
    exit 1
}

# verify WHAT COMMAND...: the command must succeed.
verify() {
    local what=$1
    shift
    "$@" || die "$what"
    verified=$((verified + 1))
    printf '   ok: %s\n' "$what"
}

# quietly COMMAND...: what it says is shown only if it fails.
quietly() {
    "$@" &> "$directory/output" || { cat "$directory/output"; die "$*"; }
}

# become ACCOUNT COMMAND...: with no more rights than that account has, no way to more, and no descriptor of others.
become() {
    local account=$1 fd
    shift
    for fd in "${log[@]}"; do
        exec {fd}>&-
    done
    [[ $account == root ]] ||
        exec setpriv --reuid="$account" --regid="$account" --clear-groups --inh-caps=-all --no-new-privs "$@"
    exec "$@"
}

# start SERVICE ACCOUNT COMMAND...: in the background; what it says goes to a pipe that said() reads.
start() {
    local service=$1 fd
    shift
    printf '   $ %s   (as %s)\n' "${*:2}" "$1"
    mkfifo "$directory/$service.pipe"
    become "$@" <&0 &> "$directory/$service.pipe" & # no <&0, and a job in the background gets no standard input
    pid[$service]=$!
    exec {fd}< "$directory/$service.pipe"
    log[$service]=$fd
}

# said SERVICE [PATTERN]: show what the service says, until a line matches.
said() {
    local line
    while IFS= read -r -t "$limit" -u "${log[$1]}" line; do
        printf '   %-8s %s\n' "$1" "$line"
        # shellcheck disable=SC2053  # it is a pattern
        [[ -z ${2-} || $line != $2 ]] || return 0
    done
    return 1
}

# ended SERVICE STATUS: show the rest of what it says; it must end by itself, with that status.
ended() {
    local status=0
    said "$1" || true
    wait "${pid[$1]}" || status=$?
    unset "pid[$1]"
    [[ $status == "$2" ]]
}

# shown TEXT... -- COMMAND...: the command must succeed and show all of these.
shown() {
    local texts=() text output
    while [[ $1 != -- ]]; do
        texts+=("$1")
        shift
    done
    shift
    printf '   $ %s\n' "$*"
    output=$(timeout "$limit" "$@" 2>&1) || { printf '%s\n' "$output"; return 1; }
    [[ -z $output ]] || printf '   %s\n' "${output//$'\n'/$'\n'   }"
    for text in "${texts[@]}"; do
        [[ $output == *"$text"* ]] || { printf '   (not there: %s)\n' "$text"; return 1; }
    done
}

nothing_listed() {
    local output
    output=$(timeout "$limit" ioregionctl list) && [[ $output != *demo* ]]
}

succeeded() {
    printf '\ndemo: all %d checks passed\n' "$verified"
}
