# Writing images: checked before or while they reach the disk. Sourced by job.sh.

shared='' # set while an image is taken together with neighbours

# write_image URL SHA256 BYTES DISK: put the image of a whole disk on a disk; the name's end says how it is packed. Where
# memory holds it, it is checked before the disk is touched; where not, it is hashed on its way, and a wrong hash leaves
# nothing on the disk that could boot.
write_image() {
    take_part "$1" "$2"
    if fits_in_memory "$3"; then
        into_memory "$1" "$2" "$3"
        watching watch_read $work/writer "$3" write 35 90
        content | unpack "${1##*.}" | onto_disk "$4"
        unwatch
        rm -f $work/image
    else
        through_pipe "$1" "$2" "$3" "$4" onto_disk "$4"
    fi
    settle "$4"
}

# write_root URL SHA256 BYTES DISK: put an archive of a whole system on a disk: partitions and file systems that this
# machine's firmware starts from, the files, /etc/fstab, and the system's own GRUB. Mounted at the end.
write_root() {
    take_part "$1" "$2"
    if fits_in_memory "$3"; then
        into_memory "$1" "$2" "$3"
        divide "$4"
        watching watch_read $work/writer "$3" write 35 80
        content | unpack "${1##*.}" | into_root
        unwatch
        rm -f $work/image
    else
        divide "$4"
        through_pipe "$1" "$2" "$3" "$4" into_root
    fi
    step boot-loader 82 "making it start"
    make_bootable "$4"
}

# take_part URL SHA256: join the machines that take the same image now, where the daemon knows how
take_part() {
    rm -f $work/writer
    if join_share "$1" "$2"; then
        shared=1
    else
        shared=''
        leave_share
    fi
}

# fits_in_memory BYTES: half of the memory at most, and a quarter to spare (/run holds half of the memory)
fits_in_memory() {
    awk -v bytes="$1" '
        $1 == "MemTotal:" { total = $2 * 1024 }
        $1 == "MemAvailable:" { free = $2 * 1024 }
        END { exit !(bytes * 2.2 < total && bytes * 1.25 + 64e6 < free) }' /proc/meminfo
}

# spare_memory: bytes that an image on its way through memory may take
spare_memory() {
    awk '$1 == "MemAvailable:" { printf "%d\n", $2 * 1024 / 4 }' /proc/meminfo
}

# into_memory URL SHA256 BYTES: fetch and check it before anything is touched. Chunks were checked one by one, against
# a list of the content with this hash.
into_memory() {
    local url=$1 expected=$2 bytes=$3 got
    if [ -n "$shared" ]; then
        watching watch_chunks fetch 0 30
        gather || fail "the image could not be fetched, nothing was written"
        unwatch
        return 0
    fi
    : >$work/image
    watching watch_file $work/image "$bytes" fetch 0 30
    stream "$url" >$work/image
    unwatch
    step check 30 "checking the image"
    got=$(sha256sum <$work/image | cut -d ' ' -f 1)
    [ "$got" = "$expected" ] || fail "image has the wrong hash, nothing was written: expected sha256 $expected, got $got"
}

# content: the whole image, once memory holds it
content() {
    if [ -n "$shared" ]; then chunks_in_order; else cat $work/image; fi
}

# through_pipe URL SHA256 BYTES DISK WRITER...: hash it on its way to the writer; what turns out wrong does not stay
through_pipe() {
    local url=$1 expected=$2 bytes=$3 disk=$4 hasher got
    shift 4
    rm -f $work/copy
    mkfifo $work/copy
    sha256sum <$work/copy >$work/sha256 &
    hasher=$!
    watching watch_read $work/writer "$bytes" write 0 90
    if ! { incoming "$url" | tee $work/copy | unpack "${url##*.}" | "$@"; }; then
        discard "$disk"
        fail "the image could not be written, the disk was wiped"
    fi
    wait $hasher
    unwatch
    read -r got _ <$work/sha256
    if [ "$got" != "$expected" ]; then
        discard "$disk"
        fail "image has the wrong hash, the disk was wiped: expected sha256 $expected, got $got"
    fi
}

# discard DISK: nothing of what was written shall start
discard() {
    if grep -q " $root " /proc/mounts; then umount $root; fi
    wipe_ends "$1"
}

# incoming URL: the image as it arrives
incoming() {
    if [ -n "$shared" ]; then
        set_window "$(spare_memory)"
        stream_shared
    else
        stream "$1"
    fi
}

# unpack PACKING: the raw image from standard input; notes its process for watch_read
unpack() {
    case $1 in
        zst) set -- zstd --decompress --stdout --quiet ;;
        gz) set -- gzip -dc ;;
        xz) set -- xz -dc ;;
        *) set -- cat ;;
    esac
    # shellcheck disable=SC2016 # the inner shell expands it
    sh -c 'echo $$ >"$1"; shift; exec "$@"' unpack $work/writer "$@"
}

# onto_disk DISK: standard input onto the disk, past the page cache; the last block is filled up with zeros
onto_disk() {
    dd of="$1" bs=1M iflag=fullblock oflag=direct conv=notrunc,sync 2>$work/dd || fail "$1: $(tail -n 1 $work/dd)"
}

# into_root: an archive from standard input into the mounted root
into_root() {
    # by its path: the shell prefers an applet of BusyBox, which knows less
    /usr/bin/tar --extract --preserve-permissions --numeric-owner --xattrs --xattrs-include='*' --directory $root --file -
}

# divide DISK: a partition that firmware starts from, whatever it is, and the root in the rest; the root is mounted
divide() {
    step partition 33 "dividing the disk"
    erase_disk "$1"
    sfdisk --quiet "$1" <<'END'
label: gpt
size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name=provisioner-bios
size=256MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=provisioner-esp
type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=provisioner-root
END
    blockdev --rereadpt "$1"
    mkdosfs -n ESP "$(partition "$1" 2)" >/dev/null
    /usr/bin/mke2fs -q -F -t ext4 "$(partition "$1" 3)"
    mkdir -p $root
    mount -t ext4 "$(partition "$1" 3)" $root
}

# make_bootable DISK: fstab, and the installed system's own GRUB for the firmware that runs
make_bootable() {
    local kind install
    printf 'UUID=%s / ext4 errors=remount-ro 0 1\nUUID=%s /boot/efi vfat umask=0077,nofail 0 1\n' \
        "$(blkid --match-tag UUID --output value "$(partition "$1" 3)")" \
        "$(blkid --match-tag UUID --output value "$(partition "$1" 2)")" | put 644 etc/fstab
    [ -x $root/usr/sbin/grub-install ] || fail "the archive has no grub-install: nothing would start it"
    kind="--target=i386-pc $1"
    if [ -d /sys/firmware/efi ]; then kind="--target=$(uname -m | sed 's/^aarch64$/arm64/')-efi --efi-directory=/boot/efi --removable --no-nvram"; fi
    install="mkdir -p /boot/efi /boot/grub; mount -t vfat $(partition "$1" 2) /boot/efi; grub-install $kind"
    in_root "$install; grub-mkconfig -o /boot/grub/grub.cfg; umount /boot/efi"
}

# seed_cloud_init INSTANCE: where the system has cloud-init, a NoCloud seed of its own: standard input is its user data, and
# nothing else is asked for one
seed_cloud_init() {
    if ! [ -e $root/usr/bin/cloud-init ]; then cat >/dev/null && return 0; fi
    printf 'instance-id: %s\nlocal-hostname: %s\n' "$1" "$(cat $root/etc/hostname)" |
        put 600 var/lib/cloud/seed/nocloud/meta-data
    put 600 var/lib/cloud/seed/nocloud/user-data
    printf 'datasource_list: [NoCloud, None]\nnetwork: {config: disabled}\n' |
        put 644 etc/cloud/cloud.cfg.d/90-provisioner.cfg
}
