# Raw facts as JSON, every value a string as the kernel gives it; the daemon decodes them. Sourced.

# attributes FOLDER NAME...: lines "name value" for those of the files that can be read and say something
attributes() {
    local folder=$1 name value
    shift
    for name; do
        value=
        { IFS= read -r value <"$folder/$name"; } 2>/dev/null
        if [ -n "$value" ]; then printf '%s %s\n' "$name" "$value"; fi
    done
}

# link_name PATH: the last part of what the link points to, nothing if there is no link
link_name() {
    local target
    target=$(readlink "$1") && printf '%s\n' "${target##*/}"
}

dmi_facts() {
    attributes /sys/class/dmi/id sys_vendor product_name product_serial product_uuid board_vendor board_name board_serial \
        chassis_serial bios_version bios_date
}

firmware_facts() {
    local variable=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
    printf 'type %s\n' "$(firmware)"
    # four bytes of attributes, then 0 or 1
    if [ -r $variable ]; then printf 'secure_boot %s\n' "$(tail -c 1 $variable | od -An -tu1 | tr -d ' ')"; fi
}

cpu_facts() {
    local folder package core
    printf 'architecture %s\n' "$(uname -m)"
    awk -F'\t*: *' '
        $1 == "model name" && !model { model = $2 }
        $1 == "flags" && !flags { flags = $2 }
        $1 == "processor" { threads++ }
        END {
            printf "model %s\nthreads %d\n", model, threads
            print "hypervisor " ((" " flags " ") ~ / hypervisor /)
        }' /proc/cpuinfo
    for folder in /sys/devices/system/cpu/cpu[0-9]*/topology; do
        { read -r package <"$folder/physical_package_id" && read -r core <"$folder/core_id"; } 2>/dev/null &&
            printf '%s %s\n' "$package" "$core"
    done | awk '
        !($1 in packages) { packages[$1]; sockets++ }
        !(($1, $2) in pairs) { pairs[$1, $2]; cores++ }
        END { printf "sockets %d\ncores %d\n", sockets, cores }'
}

memory_facts() {
    awk '/^MemTotal:/ { print "total_kb " $2 }' /proc/meminfo
}

# settle_links: how long a port takes until it has a link differs from port to port (10GBASE-T, 25 and 100 Gbit/s), and who
# chooses by link or speed chooses the same at every start: wait for those that have none, ten seconds from when they were up
settle_links() {
    local since up
    read -r since 2>/dev/null <$state/links || return 0
    while up=$(uptime_s) && [ -n "$(linkless)" ] && [ $((${up%.*} - ${since%.*})) -lt 10 ]; do sleep 1; done
}

# linkless: the ports without a link
linkless() {
    local name
    for name in $(nics); do
        [ "$(first_line "/sys/class/net/$name/carrier")" = 1 ] || printf '%s\n' "$name"
    done
}

# nic_facts NAME: one port. Speed and carrier cannot be read where the driver does not know them.
nic_facts() {
    local folder=/sys/class/net/$1
    printf 'name %s\n' "$1"
    attributes "$folder" address carrier speed
    printf 'driver %s\n' "$(link_name "$folder/device/driver")"
    printf 'bus_address %s\n' "$(link_name "$folder/device")"
    printf 'parent_address %s\n' "$(cd -P "$folder/device/.." && basename "$PWD")"
}

# disk_facts NAME: what lsblk does not say without udev
disk_facts() {
    local folder=/sys/block/$1
    printf 'name %s\n' "$1"
    attributes "$folder" serial wwid nsid
    attributes "$folder/device" model
    printf 'card %s\n' "$(first_line "$folder/device/name")"
    printf 'device_wwid %s\n' "$(cat "$folder/device/wwid" 2>/dev/null)"
    printf 'unit_serial %s\n' "$(disk_serial "$folder/device")"
    printf 'bus %s\n' "$(cd -P "$folder/device" && link_name subsystem)"
    way_to "$(cd -P "$folder/device" && pwd)"
}

# way_to FOLDER: where a disk is attached, and what udev makes its name in /dev/disk/by-path of
way_to() {
    local at=$1 name port expander
    printf 'device_path /devices/%s\n' "${at#*/devices/}"
    while [ -n "$at" ]; do
        name=${at##*/} port=${at%/*}
        case $name in
            ata[0-9]*) attributes "$at/ata_port/$name" port_no ;;
            host[0-9]*) printf 'first_host %s\n' "$(ls "$port" | sed -n 's/^host\([0-9]*\)$/\1/p' | sort -n | head -n 1)" ;;
            end_device-*)
                expander=${port%/*}
                attributes "$at/sas_device/$name" phy_identifier sas_address
                attributes "$port/sas_port/${port##*/}" num_phys
                printf 'expander_address %s\n' "$(first_line "$expander/sas_device/${expander##*/}/sas_address")"
                ;;
        esac
        at=${at%/*}
    done
}

# disk_serial FOLDER: an NVMe controller's serial number, or a SCSI or SATA unit's (VPD page 0x80, after 4 bytes)
disk_serial() {
    cat "$1/serial" 2>/dev/null || tail -c +5 "$1/vpd_pg80" 2>/dev/null | tr -cd '\40-\176'
}

tpm_facts() {
    attributes /sys/class/tpm/tpm0 tpm_version_major
}

# list FUNCTION NAME...: a JSON array with one object for each name
list() {
    local function=$1 name separator=
    shift
    printf '['
    for name; do
        printf '%s' "$separator"
        "$function" "$name" | json_object
        separator=', '
    done
    printf ']'
}

nics() {
    local path
    for path in /sys/class/net/*; do
        if [ -e "$path/device" ]; then printf '%s\n' "${path##*/}"; fi
    done
}

disks() {
    local path
    for path in /sys/block/*; do
        if [ -e "$path/device" ]; then printf '%s\n' "${path##*/}"; fi
    done
}

# lsblk as it is; without any disk it prints nothing
block_devices() {
    lsblk --json --bytes \
        --output NAME,TYPE,SIZE,LOG-SEC,MODEL,SERIAL,WWN,ROTA,TRAN,PTTYPE,FSTYPE 2>/dev/null | grep . || printf 'null'
}

# limited SECONDS COMMAND...: output as a JSON string; a board that hangs must not stop the report
limited() {
    local seconds=$1
    shift
    { timeout -s KILL "$seconds" "$@" 2>/dev/null || true; } | head -c 65536 | json_string
}

bmc_facts() {
    printf '"ipmi_lan": '
    if [ -e /dev/ipmi0 ] && [ -x /usr/bin/ipmitool ]; then
        limited 20 ipmitool lan print
    else
        printf '""'
    fi
}

# facts: the whole report
facts() {
    printf '{"format": 1,\n'
    printf ' "dmi": %s,\n' "$(dmi_facts | json_object)"
    printf ' "firmware": %s,\n' "$(firmware_facts | json_object)"
    printf ' "cpu": %s,\n' "$(cpu_facts | json_object)"
    printf ' "memory": %s,\n' "$(memory_facts | json_object)"
    printf ' "memory_devices": %s,\n' "$(limited 10 dmidecode --quiet --type 17)"
    # shellcheck disable=SC2046 # one word for each name
    printf ' "nics": %s,\n' "$(list nic_facts $(nics))"
    # shellcheck disable=SC2046
    printf ' "disks": %s,\n' "$(list disk_facts $(disks))"
    printf ' "lsblk": %s,\n' "$(block_devices)"
    printf ' "tpm": %s,\n' "$(tpm_facts | json_object)"
    printf ' %s}\n' "$(bmc_facts)"
}
