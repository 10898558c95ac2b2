# The address: the one of the command line (ip=), else DHCP on the interface that the firmware booted from. Sourced.

# boot_mac: the MAC of BOOTIF=01-aa-bb-..., lower case with colons
boot_mac() {
    argument BOOTIF | tr A-F- a-f: | sed 's/^01://'
}

# candidates: interfaces to try, the boot interface alone when we know it
candidates() {
    local mac path name
    mac=$(boot_mac)
    for path in /sys/class/net/*; do
        [ -e "$path/device" ] || continue
        name=${path##*/}
        if [ -z "$mac" ] || [ "$(cat "$path/address")" = "$mac" ]; then printf '%s\n' "$name"; fi
    done
}

# interfaces: the names of all that there are, in one line
interfaces() (
    cd /sys/class/net && echo *
)

# network_up: bring links up and keep asking for an address until one interface has one
network_up() {
    local path name tries=0
    ip link set lo up
    for path in /sys/class/net/*; do
        if [ -e "$path/device" ]; then ip link set "${path##*/}" up; fi
    done
    uptime_s >$state/links
    while [ -z "$(candidates)" ]; do
        tries=$((tries + 1))
        [ $((tries % 10)) = 1 ] && log "no network interface with MAC '$(boot_mac)' yet; there are: $(interfaces)"
        load_drivers
        sleep 1
    done
    for name in $(candidates); do
        if [ -n "$(argument ip)" ]; then fixed_address "$name"; elif over_ipv6; then ask_for_address6 "$name"; else ask_for_address "$name"; fi
    done
    tries=0
    while [ ! -s $state/lease ]; do
        tries=$((tries + 1))
        [ $((tries % 100)) = 0 ] && log "no DHCP answer on $(candidates | tr '\n' ' ')after $((tries / 10)) s, still asking"
        usleep 100000
    done
    log "address $(cat $state/lease)"
}

# fixed_address INTERFACE: take the address of ip=ADDRESS::GATEWAY:NETMASK:HOST::off and of nameserver=ADDRESS,
# and ask nobody
fixed_address() {
    local address gateway word
    address=$(argument ip | cut -d: -f1)
    gateway=$(argument ip | cut -d: -f3)
    eval "$(ipcalc -p "$address" "$(argument ip | cut -d: -f4)")" # PREFIX=24
    ip address replace "$address/$PREFIX" dev "$1"
    if [ -n "$gateway" ]; then ip route replace default via "$gateway" dev "$1"; fi
    for word in $(cat /proc/cmdline); do
        case $word in nameserver=*) printf 'nameserver %s\n' "${word#*=}" ;; esac
    done >/etc/resolv.conf
    printf '%s %s/%s, fixed\n' "$1" "$address" "$PREFIX" >$state/lease.new
    mv $state/lease.new $state/lease
}

# over_ipv6: the daemon's URL has an IPv6 address, so ours has to be one as well
over_ipv6() {
    case $(argument provisioner.url) in *//\[*) return 0 ;; esac
    return 1
}

# ask_for_address6 INTERFACE: a DHCPv6 client that stays and renews; the daemon knows us by our hardware address
ask_for_address6() {
    mkdir -p /var/lib/dhcpcd
    setsid dhcpcd -6 -B -q -f /dev/null -o domain_name_servers -c /usr/lib/provisioner/dhcpcd "$1" >/dev/null 2>&1 &
}

# ask_for_address INTERFACE: a DHCP client that stays and renews. It identifies itself as the firmware did (type 01
# and MAC), so that both get the same lease.
ask_for_address() {
    local mac
    mac=$(tr -d : <"/sys/class/net/$1/address")
    setsid udhcpc -f -i "$1" -s /usr/lib/provisioner/udhcpc -t 5 -T 1 -A 2 -V provisioner-agent -C \
        -x "0x3d:01$mac" >/dev/null 2>&1 &
}
