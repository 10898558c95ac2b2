# What jobs use: progress, streams that survive a restart of the daemon, disks, files of an installed system.
# Sourced by job scripts, which run with `sh -euo pipefail`.

. "${PROVISIONER_LIB:-/usr/lib/provisioner}/lib.sh"
. "${PROVISIONER_LIB:-/usr/lib/provisioner}/share.sh"
. "${PROVISIONER_LIB:-/usr/lib/provisioner}/image.sh"
# what jobs find here; one more where they need what was not here before (templates/snippets/job-library.sh.j2 asks for it)
# shellcheck disable=SC2034
job_format=2
work=$state/work
root=/mnt

fail() {
    printf 'failed: %s\n' "$*" >&2
    exit 1
}

# progress PHASE PERCENT [MESSAGE]: what the operator sees; the agent posts it
progress() {
    printf '{"phase": "%s", "percent": %s, "message": %s}' "$1" "$2" "$(printf '%s' "${3-}" | json_string)" \
        >$work/progress.new
    mv $work/progress.new $work/progress
}

# step PHASE PERCENT MESSAGE: progress, and a line in the log
step() {
    progress "$@"
    printf '%s\n' "$3"
}

# stream URL: the file on standard output. A broken connection is taken up where it broke, for as long as it takes:
# the daemon limits the time of the whole job. A refusal (4xx) ends it.
stream() {
    local url=$1 at=0 pause=1 outcome status got code
    while :; do
        outcome=0
        curl --silent --fail --globoff --connect-timeout 5 --speed-limit 1 --speed-time 30 --continue-at $at \
            --write-out '%{stderr}%{http_code} %{size_download}' "$url" 2>$work/stream || outcome=$?
        read -r code got <$work/stream || true
        at=$((at + ${got:-0}))
        [ $outcome = 0 ] && return 0
        # 22: the server refused. 23: whoever reads from us is gone. 33: the server cannot take up where it stopped.
        case $outcome:${code:-000} in
            22:416) return 0 ;;
            22:4??) printf 'failed: %s: HTTP %s\n' "$url" "$code" >&2 && return 1 ;;
            23:* | 33:*) printf 'failed: %s: curl ends with %s at byte %s\n' "$url" $outcome $at >&2 && return 1 ;;
        esac
        if [ "${got:-0}" -gt 0 ]; then pause=1; fi
        printf '%s: broke off at byte %s (curl %s), again in %s s\n' "$url" $at $outcome $pause >&2
        sleep $pause
        pause=$((pause * 2 > 10 ? 10 : pause * 2))
    done
}

# watch_file FILE BYTES PHASE FROM TO: how much of BYTES the file holds, as a percentage, until it holds all
watch_file() {
    local size
    while sleep 1; do
        size=$(stat -c %s "$1" 2>/dev/null) || continue
        tell_share "$size" "$2" "$3" "$4" "$5"
        [ "$size" -lt "$2" ] || break
    done
}

# watch_read PIDFILE BYTES PHASE FROM TO: how much the process has read, as a percentage, until it ends
watch_read() {
    local pid key value
    while sleep 1; do
        read -r pid 2>/dev/null <"$1" || continue
        while read -r key value; do
            if [ "$key" = rchar: ]; then tell_share "$value" "$2" "$3" "$4" "$5"; fi
        done 2>/dev/null <"/proc/$pid/io" || break
    done
}

# tell_share PART ALL PHASE FROM TO: progress between two percentages, and how fast it goes. Starts no process.
tell_share() {
    local part=$1 all=$2 tenths up
    if [ "$part" -gt "$all" ]; then part=$all; fi
    tenths=$(($4 * 10 + part * ($5 - $4) * 10 / (all > 0 ? all : 1)))
    read -r up _ </proc/uptime
    up=${up%.*}
    : "${share_start:=$up}"
    printf '{"phase": "%s", "percent": %d.%d, "message": "%d of %d MB, %d MB/s"}' "$3" $((tenths / 10)) $((tenths % 10)) \
        $((part / 1000000)) $((all / 1000000)) $((part / 1000000 / (up > share_start ? up - share_start : 1))) \
        >$work/progress.new
    mv $work/progress.new $work/progress
}

# watching WATCHER ARGUMENTS...: start a watcher; unwatch ends it
watching() {
    "$@" &
    watcher=$!
}

unwatch() {
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
}

# in_line LINES: with commas between them
in_line() {
    printf '%s\n' "$1" | awk '{ printf "%s%s", (NR > 1 ? ", " : ""), $0 }'
}

# all_disks: of every disk its device, whether it is removable and read-only (1), and its size; those of an eMMC's firmware
# are none
all_disks() {
    lsblk --nodeps --noheadings --raw --output PATH,TYPE,RM,RO,SIZE --bytes | awk '
        $2 == "disk" && $1 !~ /^\/dev\/((ram|zram|loop|nbd|fd)[0-9]|mmcblk[0-9]+(boot|rpmb))/ { print $1, $3, $4, $5 }' | sort
}

# whole_disks: disks that can be installed on: not removable, not read-only
whole_disks() {
    all_disks | awk '$2 == 0 && $3 == 0 && $4 > 0 { print $1 }' | first_paths
}

# unwritable_disks: those that nothing can be written to, and why, one a line
unwritable_disks() {
    all_disks | awk '$2 == 0 && $4 == 0 { print $1 " (not ready)" } $2 == 0 && $4 > 0 && $3 != 0 { print $1 " (write-protected)" }'
}

# removable_disks: sticks and cards
removable_disks() {
    all_disks | awk '$2 != 0 && $4 > 0 { print $1 " (removable)" }'
}

# first_paths: of the disks on standard input each once: one with two ports, or behind two controllers, has two devices
first_paths() {
    local disk
    while read -r disk; do
        printf '%s\t%s\n' "$disk" "$(identity "$disk")"
    done | awk -F '\t' '$2 == "" || !seen[$2]++ { print $1 }'
}

# find_disk WISH [SERIAL]: the device for a path, a serial number or a WWN; for an empty wish the only disk there is.
# Only the disk with this serial number will do: what the kernel called sda at another start may be any of them now.
# Disks that spin up one after the other, behind a controller, may not all be there yet.
find_disk() {
    local wish=$1 serial=${2-} all tries=30
    case $wish in
        /dev/disk/*) ;;
        /dev/*) if [ -n "$serial" ]; then wish=$serial; fi ;;
    esac
    while all=$(called "$wish" "$serial") && [ -z "$all" ] && [ $tries -gt 0 ]; do
        tries=$((tries - 1))
        sleep 1
    done
    if [ -z "$wish" ] && [ "$(printf '%s\n' "$all" | grep -c .)" != 1 ]; then
        fail "no disk was chosen and there is not exactly one: $all"
    fi
    [ -n "$all" ] || fail "disk '$wish'${serial:+ with serial number '$serial'} is not in this machine; there are: $(whole_disks | tr '\n' ' ')"
    [ "$(printf '%s\n' "$all" | wc -l)" = 1 ] || fail "disk '$wish' is more than one: $all"
    printf '%s\n' "$all"
}

# called NAME SERIAL: the disks of that name, those with this serial number alone; an empty one is everybody's
called() {
    local disk
    whole_disks | while read -r disk; do
        if { [ -z "$1" ] || is_called "$disk" "$1"; } && { [ -z "$2" ] || is_called "$disk" "$2"; }; then
            printf '%s\n' "$disk"
        fi
    done
}

# is_called DISK NAME: grep reads to the end: were it to stop at the first match, the writer would fail, and so the pipe
is_called() {
    disk_names "$1" | grep -xF -- "$2" >/dev/null
}

# disk_serial_number DISK: as the facts have it; nothing where it has none
disk_serial_number() {
    local folder=/sys/block/${1#/dev/} serial
    serial=$(first_line "$folder/serial" "$folder/device/serial")
    if [ -z "$serial" ] && [ -e "$folder/device/vpd_pg80" ]; then serial=$(tail -c +5 "$folder/device/vpd_pg80"); fi
    printf '%s\n' "$serial" | tr -cd '\12\40-\176' | sed 's/^ *//; s/ *$//'
}

# disk_wwid DISK: nothing where it has none
disk_wwid() {
    first_line "/sys/block/${1#/dev/}/wwid" "/sys/block/${1#/dev/}/device/wwid"
}

# identity DISK: what all devices of one disk have in common; nothing where that cannot be known
identity() {
    local serial wwid
    serial=$(disk_serial_number "$1")
    wwid=$(disk_wwid "$1")
    if [ -n "$serial" ] && [ -n "$wwid" ]; then printf '%s %s\n' "$wwid" "$serial"; fi
}

# disk_names DISK: what a disk is called, one a line: serial number, WWN, the names that udev would give it, its device
disk_names() {
    local serial wwid
    serial=$(disk_serial_number "$1")
    wwid=$(disk_wwid "$1")
    printf '%s\n%s\n' "$serial" "/dev/disk/by-id/virtio-$serial"
    printf '%s\n%s\n' "$wwid" "/dev/disk/by-id/nvme-$wwid"
    printf '/dev/disk/by-id/mmc-%s_%s\n' "$(first_line "/sys/block/${1#/dev/}/device/name")" "$serial"
    case $wwid in
        naa.*) printf '%s\n%s\n' "0x${wwid#naa.}" "/dev/disk/by-id/wwn-0x${wwid#naa.}" ;;
        't10.ATA     '*) printf '/dev/disk/by-id/ata-%s\n' "$(ata_name "${wwid#t10.ATA     }")" ;;
    esac
    printf '%s\n' "$1"
}

# ata_name DESIGNATOR: model (40 characters) and serial number as udev writes them
ata_name() {
    printf '%s\n' "$1" | sed -E 's/^(.{40})(.*)$/\1 \2/; s/^ +//; s/ +$//; s/ +/_/g'
}

# partition DISK NUMBER: its device (/dev/sda3, /dev/nvme0n1p3)
partition() {
    case $1 in
        *[0-9]) printf '%sp%s\n' "$1" "$2" ;;
        *) printf '%s%s\n' "$1" "$2" ;;
    esac
}

# table_kind DISK: gpt or dos; nothing where there is no partition table
table_kind() {
    sfdisk --dump "$1" | sed -n 's/^label: *//p'
}

# last_partition DISK: the number of the one that lies behind all others, whatever they are numbered
last_partition() {
    sfdisk --dump "$1" | sed -n 's/^[^ ]*[^0-9]\([0-9][0-9]*\) *: *start= *\([0-9]*\),.*/\2 \1/p' | sort -n | tail -n 1 | cut -d ' ' -f 2
}

# partition_id DISK NUMBER: what PARTUUID= names it by
partition_id() {
    case $(table_kind "$1") in
        gpt) sfdisk --part-uuid "$1" "$2" | tr A-F a-f ;;
        *) printf '%s-%02x\n' "$(sfdisk --disk-id "$1" | tr A-F a-f | sed 's/^0x//')" "$2" ;;
    esac
}

# grow_last DISK: move GPT's backup to the end of the disk, stretch the last partition; prints its number
grow_last() {
    local disk=$1 number
    blockdev --rereadpt "$disk"
    if [ "$(table_kind "$disk")" = gpt ]; then sfdisk --quiet --relocate gpt-bak-std "$disk" >&2; fi
    number=$(last_partition "$disk")
    [ -n "$number" ] || fail "$disk: the image has no partitions"
    echo ', +' | sfdisk --quiet --no-tell-kernel --partno "$number" "$disk" >&2
    blockdev --rereadpt "$disk"
    printf '%s\n' "$number"
}

# mount_root DEVICE: mount the installed system and let its file system fill the partition
mount_root() {
    local device=$1 kind
    kind=$(blkid --probe --match-tag TYPE --output value "$device") || fail "$device: no file system"
    mkdir -p $root
    mount -t "$kind" "$device" $root
    case $kind in
        ext4) resize2fs "$device" ;;
        xfs) printf 'xfs is left at its size\n' ;;
        *) fail "$device: file system $kind cannot be grown" ;;
    esac
}

# renew_partition DISK NUMBER: give disk and partition identifiers of their own, so that two disks with one image can
# stand in one machine; prints the partition's, which an MBR makes of the disk's
renew_partition() {
    local id
    id=$(cat /proc/sys/kernel/random/uuid)
    if [ "$(table_kind "$1")" = gpt ]; then
        sfdisk --quiet --no-tell-kernel --disk-id "$1" "$id" >&2
        sfdisk --quiet --no-tell-kernel --part-uuid "$1" "$2" "$(cat /proc/sys/kernel/random/uuid)" >&2
    else
        sfdisk --quiet --no-tell-kernel --disk-id "$1" "0x${id%%-*}" >&2
    fi
    blockdev --rereadpt "$1"
    partition_id "$1" "$2"
}

# replace_id OLD NEW: where the written system names its root by the partition's identifier, now or with its next kernel
replace_id() {
    local file
    boot_files | while read -r file; do sed -i "s/PARTUUID=$1/PARTUUID=$2/g" "$file"; done
}

# boot_files: where a written system says what its root is
boot_files() {
    local file
    for file in $root/etc/fstab $root/etc/default/grub $root/etc/default/grub.d/* $root/boot/grub*/grub.cfg $root/boot/loader/entries/*; do
        if [ -f "$file" ]; then printf '%s\n' "$file"; fi
    done
}

# renew_filesystem DEVICE: an identifier of its own for an ext4, too: GRUB goes by it from the next kernel on. One whose
# system names it keeps it, since a loader on another partition may do so as well.
renew_filesystem() {
    local device=$1 id named
    [ "$(blkid --probe --match-tag TYPE --output value "$device")" = ext4 ] || return 0
    id=$(blkid --probe --match-tag UUID --output value "$device")
    mkdir -p $root
    mount -t ext4 -o ro "$device" $root
    named=$(boot_files | while read -r file; do grep -F "$id" "$file" || [ $? = 1 ]; done)
    umount $root
    [ -z "$named" ] || return 0
    # tune2fs asks for a file system that was just checked
    e2fsck -f -p "$device" || [ $? = 1 ]
    tune2fs -U random "$device"
}

# put MODE PATH: standard input as a file of the installed system, replaced in one step
put() {
    local file=$root/$2
    mkdir -p "${file%/*}"
    (umask 077 && cat >"$file.new")
    chmod "$1" "$file.new"
    mv "$file.new" "$file"
}

# quoted TEXT: TEXT as one word of a shell
quoted() {
    printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

# inside COMMAND...: run a program of the installed system in it
inside() {
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot $root "$@"
}

# in_root SCRIPT: run a script inside the installed system
in_root() {
    local name
    for name in dev proc sys; do
        grep -q " $root/$name " /proc/mounts || mount -o bind /$name $root/$name
    done
    printf '%s\n' "$1" >$root/run/hook
    inside /bin/sh -e /run/hook
    rm $root/run/hook
}

# leave_root: take the installed system out again, all of it written
leave_root() {
    local name
    for name in dev proc sys; do
        if grep -q " $root/$name " /proc/mounts; then umount $root/$name; fi
    done
    umount $root
}

# settle DISK: everything onto the disk; fsync reports what write-back could not write
settle() {
    dd if=/dev/null of="$1" conv=notrunc,fsync 2>/dev/null || fail "$1: the disk reports write errors"
    sync
}

# disk_summary DISK: size, model and serial number for the log
disk_summary() {
    local folder=/sys/block/${1#/dev/}
    printf '%s MB %s %s\n' "$(($(blockdev --getsize64 "$1") / 1000000))" \
        "$(cat "$folder/device/model" 2>/dev/null | sed 's/ *$//')" "$(disk_serial_number "$1")" | tr -s ' '
}

# erase_disk DISK: discard everything where the disk can, then overwrite both ends and every partition's beginning
erase_disk() {
    local part
    for part in $(lsblk --list --noheadings --output PATH "$1" | tail -n +2); do
        /usr/bin/wipefs --quiet --all "$part"
    done
    if [ "$(cat "/sys/block/${1#/dev/}/queue/discard_max_bytes")" -gt 0 ]; then
        /usr/bin/blkdiscard --force "$1" || printf '%s: discard failed, overwriting both ends only\n' "$1"
    fi
    /usr/bin/wipefs --quiet --all --force "$1"
    wipe_ends "$1"
    blockdev --rereadpt "$1"
}

# check_erased DISK: read it again, past the cache
check_erased() {
    local found
    settle "$1"
    blockdev --flushbufs "$1"
    found=$(blkid --probe "$1" 2>&1) && fail "$1: still holds $found"
    [ "$(lsblk --list --noheadings --output PATH "$1" | wc -l)" = 1 ] || fail "$1: still has partitions"
    [ -z "$(head -c 1048576 "$1" | tr -d '\0' | head -c 1)" ] || fail "$1: its first MiB is not empty"
}

# wipe_ends DISK: overwrite where partition tables and signatures lie: 16 MiB at both ends
wipe_ends() {
    local disk=$1 bytes block count
    bytes=$(blockdev --getsize64 "$disk")
    block=1048576
    # the backup table is in the very last sectors: the block size has to divide the disk
    while [ $((bytes % block)) != 0 ]; do block=$((block / 2)); done
    count=$((16777216 / block))
    if [ $count -gt $((bytes / block)) ]; then count=$((bytes / block)); fi
    dd if=/dev/zero of="$disk" bs=$block count=$count conv=notrunc,fsync 2>/dev/null
    dd if=/dev/zero of="$disk" bs=$block count=$count seek=$((bytes / block - count)) conv=notrunc,fsync 2>/dev/null
}
