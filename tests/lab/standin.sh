#!/bin/sh
# In place of the discovery system's agent: says what the kernel was told, and fetches the answer files as the family's
# own installer does. Nothing of it is written anywhere.
. /usr/lib/provisioner/lib.sh
. /usr/lib/provisioner/hardware.sh
. /usr/lib/provisioner/network.sh

say() { log "stand-in: $*"; }

# fetch NAME URL [CURL ARGUMENTS]: once, as installers do; the file is printed line by line
fetch() {
    local name=$1 url=$2 status
    shift 2
    status=$(curl --silent --output "/run/$name" --write-out '%{http_code} %{content_type}' --max-time 30 "$@" "$url") || :
    say "fetched $name: $status"
    [ "${status%% *}" = 200 ] && sed 's/^/| /' "/run/$name" | stamp
}

kickstart() {
    local mac
    mac=$(cat "/sys/class/net/$port/address")
    # Anaconda: from its initramfs and again from its own root, with the ports' addresses (inst.ks.sendmac)
    fetch kickstart "$1" --header "X-RHN-Provisioning-MAC-0: $port $mac"
    fetch kickstart "$1" --header "X-RHN-Provisioning-MAC-0: $port $mac"
}

# network: an address by DHCP on the port that the firmware booted from
network() {
    load_drivers
    port=$(candidates)
    ip link set "$port" up
    ask_for_address "$port"
    while [ ! -s "$state/lease" ]; do usleep 100000; done
}

network
say "arguments: $(cat /proc/cmdline)"
case $(cat /proc/cmdline) in
    *inst.ks=*) kickstart "$(argument inst.ks)" ;;
    *ds=nocloud*)
        seed=$(argument ds)
        for name in meta-data user-data vendor-data; do fetch $name "${seed#*s=}$name"; done
        ;;
    *coreos.inst.ignition_url=*) fetch config.ign "$(argument coreos.inst.ignition_url)" --header 'Accept: application/vnd.coreos.ignition+json' ;;
    *ignition.config.url=*) fetch live.ign "$(argument ignition.config.url)" --header 'Accept: application/vnd.coreos.ignition+json' ;;
    *inst.auto=*) fetch agama.json "$(argument inst.auto)" ;;
    *autoyast=*) fetch autoyast.xml "$(argument autoyast)" ;;
    *talos.config=*) fetch config.yaml "$(argument talos.config)" ;;
    *) say "no answer file in the arguments" ;;
esac
say "ends"
exec sleep 3600
