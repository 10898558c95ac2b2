# Drivers by what the hardware says it is. Sourced.
# busybox runs its own applets before anything on PATH: real programs with an applet's name are called by path.

firmware() {
    if [ -d /sys/firmware/efi ]; then echo uefi; else echo bios; fi
}

# wishes: what the devices ask for, one a line. Each is on a bus or in a class, but for the processors: a walk through
# all of /sys takes eight times as long.
wishes() {
    cat /sys/bus/*/devices/*/modalias /sys/class/*/*/modalias /sys/devices/system/cpu/modalias 2>/dev/null |
        grep . | sort -u
}

# load_drivers: load what the devices ask for until nothing new appears (a driver brings new buses), at most 6 rounds
load_drivers() {
    local round=0 asked served=''
    while [ $round -lt 6 ]; do
        asked=$(wishes)
        [ "$asked" = "$served" ] && break
        served=$asked round=$((round + 1))
        printf '%s\n' "$asked" | xargs -r /usr/bin/modprobe --all --use-blacklist --quiet 2>/dev/null
    done
    /usr/bin/modprobe --all --quiet ipmi_si ipmi_devintf sd_mod 2>/dev/null
    wait_for_disks
}

# wait_for_disks: SCSI and USB disks appear some time after their driver: wait until none came for a second, and for five
# where disks spin up one after the other behind a controller
wait_for_disks() {
    local before after=0 count=0 quiet=0 enough=1
    [ -n "$(ls -d /sys/class/scsi_host/* /sys/class/nvme/* /sys/bus/usb/devices/*:* 2>/dev/null)" ] || return 0
    if has_controller; then enough=5; fi
    while [ $count -lt 60 ] && [ $quiet -lt $enough ]; do
        before=$after
        after=$(find /sys/block -maxdepth 1 | wc -l)
        if [ "$after" != "$before" ] || nvme_starts; then quiet=0; else quiet=$((quiet + 1)); fi
        count=$((count + 1))
        if [ $quiet -lt $enough ]; then sleep 1; fi
    done
}

# has_controller: one for RAID or SAS
has_controller() {
    cat /sys/bus/pci/devices/*/class 2>/dev/null | grep -q '^0x010[47]'
}

# nvme_starts: one that is not live yet, and may be
nvme_starts() {
    cat /sys/class/nvme/*/state 2>/dev/null | grep -qxE 'new|resetting|connecting'
}
