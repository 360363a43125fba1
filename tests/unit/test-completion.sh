#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC1090,SC2317  # the file is an argument; what it calls is defined here
# What bash offers after a command line; the tool itself is played.
set -u
source "$1"
failed=0

ioregionctl() {
    [[ "$*" == *list*--no-legend ]] || return 2
    case $* in
    *'list vms'*) printf 'alpha  7\nbeta   8\n' ;;
    *'list devices'*) printf 'alpha  uart0  -\nalpha  rtc  -\nbeta  uart1  -\n' ;;
    *'list regions'*) printf 'alpha  uart0  0  pio\n' ;;
    esac
}

systemctl() {
    [[ $* == list-unit-files* ]] || return 2
    printf 'ioregion-latch@.service static -\nioregion-uart@.service  static -\n'
}

# expect WORDS... OFFERS: the last argument is what is offered for the one before
expect() {
    local expected=${!#}
    COMP_WORDS=("${@:1:$#-1}") COMP_CWORD=$(($# - 2)) COMPREPLY=()
    _ioregionctl
    if [[ "${COMPREPLY[*]}" != "$expected" ]]; then
        echo "after '${COMP_WORDS[*]}': '${COMPREPLY[*]}' in place of '$expected'"
        failed=1
    fi
}

expect ioregionctl l 'list'
expect ioregionctl '' 'list show monitor start adopt attach detach revoke unregister policy version'
expect ioregionctl --h '--host --help'
expect ioregionctl list '' 'vms devices regions'
expect ioregionctl --json list re 'regions'
expect ioregionctl -H host list v 'vms'
expect ioregionctl list --n '--no-legend'
expect ioregionctl show alpha/ 'alpha/uart0 alpha/rtc alpha/uart0/0'
expect ioregionctl start '' 'ioregion-latch@alpha ioregion-latch@beta ioregion-uart@alpha ioregion-uart@beta'
expect ioregionctl start ioregion-u 'ioregion-uart@alpha ioregion-uart@beta'
expect ioregionctl start ioregion-uart@alpha --t '--timeout'
expect ioregionctl unregister b 'beta'
expect ioregionctl detach '' 'alpha beta'
expect ioregionctl detach alpha '' 'uart0 rtc'
expect ioregionctl revoke beta '' 'uart1'
expect ioregionctl revoke beta uart1 --r '--reason'
expect ioregionctl revoke beta uart1 --reason '' ''
expect ioregionctl adopt --v '--vm'
expect ioregionctl adopt --vm '' ''
expect ioregionctl adopt --vm alpha --p '--pid'
expect ioregionctl attach alpha new --d '--description'
expect ioregionctl attach alpha new --description "$1" "$1"
expect ioregionctl policy '' 'check explain reload'
expect ioregionctl policy check "$1" "$1"
expect ioregionctl policy explain v 'vm='
expect ioregionctl policy reload --r '--revoke'
exit $failed
