#!/bin/sh
# First and only program of a system that stands in for an installer: says what the kernel was told, and fetches the
# answer files as the family's own installer does. Nothing of it is written anywhere.
export PATH=/usr/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
dmesg -n 1 # what the kernel prints stands in the middle of what we say
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /run/provisioner
. /usr/lib/provisioner/lib.sh
. /usr/lib/provisioner/network.sh

say() { log "stand-in: $*"; }

# fetch NAME URL [HEADER]: once, as installers do; the file is printed line by line
fetch() {
    local status
    wget -S -O "/run/$1" ${3:+--header "$3"} "$2" 2>/run/said
    status=$(sed -n 's,^ *HTTP/1\.[01] \([0-9]*\).*,\1,p' /run/said | tail -n 1)
    say "fetched $1: ${status:-$(cat /run/said)}"
    [ "$status" = 200 ] && sed 's/^/| /' "/run/$1" | stamp
}

kickstart() {
    local mac
    mac=$(cat "/sys/class/net/$port/address")
    # Anaconda: from its initramfs and again from its own root, with the ports' addresses (inst.ks.sendmac)
    fetch kickstart "$1" "X-RHN-Provisioning-MAC-0: $port $mac"
    fetch kickstart "$1" "X-RHN-Provisioning-MAC-0: $port $mac"
}

# network: an address by DHCP on the port that the firmware booted from
network() {
    for module in /modules/*; do insmod "$module"; done
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
    *coreos.inst.ignition_url=*) fetch config.ign "$(argument coreos.inst.ignition_url)" 'Accept: application/vnd.coreos.ignition+json' ;;
    *ignition.config.url=*) fetch live.ign "$(argument ignition.config.url)" 'Accept: application/vnd.coreos.ignition+json' ;;
    *inst.auto=*) fetch agama.json "$(argument inst.auto)" ;;
    *autoyast=*) fetch autoyast.xml "$(argument autoyast)" ;;
    *talos.config=*) fetch config.yaml "$(argument talos.config)" ;;
    *) say "no answer file in the arguments" ;;
esac
say "ends"
exec sleep 3600
