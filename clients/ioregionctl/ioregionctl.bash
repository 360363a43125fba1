# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion for ioregionctl(1)

# The first column of a list, or of one VM's devices; nothing when no broker answers. Transport options are kept.
_ioregionctl_vms() {
    ioregionctl "${transport[@]}" list vms --no-legend 2>/dev/null | while read -r vm _; do
        echo "$vm"
    done
}

_ioregionctl_devices() {
    ioregionctl "${transport[@]}" list devices --no-legend 2>/dev/null | while read -r vm device _; do
        [[ $vm == "$1" ]] && echo "$device"
    done
}

# VM, VM/DEVICE and VM/DEVICE/REGION, as far as was typed.
_ioregionctl_objects() {
    _ioregionctl_vms
    ioregionctl "${transport[@]}" list devices --no-legend 2>/dev/null | while read -r vm device _; do
        echo "$vm/$device"
    done
    ioregionctl "${transport[@]}" list regions --no-legend 2>/dev/null | while read -r vm device region _; do
        echo "$vm/$device/$region"
    done
}

# Templates of devices with each VM for an instance; units of one's own are for oneself to type.
_ioregionctl_units() {
    local template vm
    systemctl list-unit-files --no-legend 'ioregion-*@.service' 2>/dev/null | while read -r template _; do
        _ioregionctl_vms | while read -r vm; do
            echo "${template%.service}$vm"
        done
    done
}

_ioregionctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} i words='' options='--help'
    local -a arguments=() transport=()

    case $prev in
    -H | --host)
        mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")
        return
        ;;
    -M | --machine)
        mapfile -t COMPREPLY < <(compgen -W "$(machinectl list --no-legend 2>/dev/null | cut -d ' ' -f 1)" -- "$cur")
        return
        ;;
    --description)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --reason | --timeout | --vm | --fd)
        return
        ;;
    --pid)
        mapfile -t COMPREPLY < <(compgen -W "$(cd /proc && echo [0-9]*)" -- "$cur")
        return
        ;;
    esac

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -H | --host | -M | --machine)
            transport+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}")
            ((i++))
            ;;
        --description | --reason | --timeout | --pid | --vm | --fd)
            ((i++))
            ;;
        -*) ;;
        *)
            arguments+=("${COMP_WORDS[i]}")
            ;;
        esac
    done

    case ${#arguments[@]}:${arguments[0]-} in
    0:)
        words='list show monitor start adopt attach detach revoke unregister policy version'
        options='--json --no-legend --host --machine --help --version'
        ;;
    1:list)
        words='vms devices regions'
        options='--json --no-legend --help'
        ;;
    1:show)
        words=$(_ioregionctl_objects)
        options='--json --no-legend --help'
        ;;
    1:start)
        words=$(_ioregionctl_units)
        ;;
    1:attach | 1:detach | 1:revoke | 1:unregister)
        words=$(_ioregionctl_vms)
        ;;
    2:detach | 2:revoke)
        words=$(_ioregionctl_devices "${arguments[1]}")
        ;;
    1:policy)
        words='check explain reload'
        ;;
    *:monitor)
        options='--json --no-legend --help'
        ;;
    *:version)
        options='--json --help'
        ;;
    *:policy)
        case ${arguments[1]-} in
        check)
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return
            ;;
        explain)
            words='vm= device= unit= user= region= channels= timeout= on-disconnect= require= want= dispatch= policy='
            options='--json --help'
            compopt -o nospace 2>/dev/null
            ;;
        reload)
            options='--revoke --help'
            ;;
        esac
        ;;
    esac
    case ${arguments[0]-} in
    start)
        options='--timeout --help'
        ;;
    adopt)
        options='--pid --vm --fd --help'
        ;;
    attach)
        options='--description --help'
        ;;
    revoke)
        options='--reason --help'
        ;;
    esac

    [[ $cur == -* ]] && words=$options
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _ioregionctl ioregionctl
