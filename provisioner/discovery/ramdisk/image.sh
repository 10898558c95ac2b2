# Writing images: checked before or while they reach the disk. Sourced by job.sh.

shared='' # set while an image is taken together with neighbours

# write_image URL SHA256 BYTES DISK: put the image of a whole disk on a disk; the name's end says how it is packed. Where
# memory holds it, it is checked before the disk is touched; where not, it is hashed on its way, and a wrong hash leaves
# nothing on the disk that could boot.
write_image() {
    if join_share "$1" "$2"; then
        shared=1
    else
        shared=''
        leave_share
    fi
    if fits_in_memory "$3"; then
        write_through_memory "$@"
    else
        write_through_pipe "$@"
    fi
    settle "$4"
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

write_through_memory() {
    local url=$1 expected=$2 bytes=$3 disk=$4 got
    if [ -n "$shared" ]; then
        watching watch_chunks fetch 0 30
        gather || fail "the image could not be fetched, nothing was written"
    else
        : >$work/image
        watching watch_file $work/image "$bytes" fetch 0 30
        stream "$url" >$work/image
    fi
    unwatch
    step check 30 "checking the image"
    got=$(content | sha256sum | cut -d ' ' -f 1)
    [ "$got" = "$expected" ] || fail "image has the wrong hash, nothing was written: expected sha256 $expected, got $got"
    rm -f $work/writer
    watching watch_read $work/writer "$bytes" write 35 90
    content | unpack "${url##*.}" | onto_disk "$disk"
    unwatch
    rm -f $work/image
}

# content: the whole image, once memory holds it
content() {
    if [ -n "$shared" ]; then chunks_in_order; else cat $work/image; fi
}

write_through_pipe() {
    local url=$1 expected=$2 bytes=$3 disk=$4 hasher got
    rm -f $work/copy $work/writer
    mkfifo $work/copy
    sha256sum <$work/copy >$work/sha256 &
    hasher=$!
    watching watch_read $work/writer "$bytes" write 0 90
    if ! { incoming "$url" | tee $work/copy | unpack "${url##*.}" | onto_disk "$disk"; }; then
        wipe_ends "$disk"
        fail "the image could not be written, the disk was wiped"
    fi
    wait $hasher
    unwatch
    read -r got _ <$work/sha256
    if [ "$got" != "$expected" ]; then
        wipe_ends "$disk"
        fail "image has the wrong hash, the disk was wiped: expected sha256 $expected, got $got"
    fi
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
