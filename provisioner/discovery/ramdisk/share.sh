# Image fan-out: the chunks of an image, from the daemon and from neighbours that have them, each checked against the
# daemon's list before anything is done with it. Sourced by job.sh; docs/discovery.md, "Image fan-out", has the protocol.

share=$state/share
share_port=${PROVISIONER_SHARE_PORT:-8089}
share_workers=2
origin_tries=5

# join_share URL SHA256: serve what we shall have of an image; fails where the daemon has no list of its chunks
join_share() {
    local status version kind whole
    leave_share
    mkdir -p $share/www $share/in
    share_url=$1 share_sha=$2
    status=$(call 60 "share/$2" $share/list)
    [ "$status" = 200 ] || return 1
    read -r kind version chunk_bytes share_bytes whole _ <$share/list
    [ "$kind $version $whole" = "chunks 1 $2" ] || return 1
    chunks=$(($(wc -l <$share/list) - 1))
    secret=$(tr -d - </proc/sys/kernel/random/uuid)
    chunk_dir=$share/www/$secret
    mkdir $chunk_dir
    httpd -f -p "$share_port" -h $share/www </dev/null >/dev/null 2>&1 &
    echo $! >$share/httpd
    ahead=0
    echo 0 >$share/at
    announce
}

# announce [WORKER]: tell the daemon where we serve, and what we have of it already
announce() {
    local status pause=1 offer=$share/offer.${1-0}
    while :; do
        {
            printf 'port %s\npath %s\n' "$share_port" "$secret"
            held_runs
        } >$offer
        status=$(call 20 "share/$share_sha/join" $share/answer --data-binary @$offer)
        case $status in
            2??) return 0 ;;
            000 | 5??) sleep $pause && pause=$((pause * 2 > 10 ? 10 : pause * 2)) ;;
            *) return 1 ;;
        esac
    done
}

# held_runs: the chunks that are here, as runs. The daemon reads 64 KiB and 4096 lines at most: what is not told because
# the runs are too many is fetched again.
held_runs() {
    ls "$chunk_dir" | sort -n | awk '
        function tell() { if (told++ < 3000) printf "have %d-%d\n", first, last }
        NR > 1 && $1 != last + 1 { tell() }
        NR == 1 || $1 != last + 1 { first = $1 }
        { last = $1 }
        END { if (NR) tell() }'
}

# leave_share: serve nothing any more
leave_share() {
    if [ -s $share/httpd ]; then kill "$(cat $share/httpd)" 2>/dev/null || true; fi
    rm -rf $share
}

# gather: fetch chunks until all of them are here; with a window, those that the writer comes to next
gather() {
    local number=1 workers='' worker failed=0
    while [ $number -le $share_workers ]; do
        share_worker $number &
        workers="$workers $!"
        number=$((number + 1))
    done
    for worker in $workers; do
        wait "$worker" || failed=1
    done
    [ $failed = 0 ] || : >$share/failed
    return $failed
}

# share_worker NUMBER: ask, fetch, report, until there is nothing left to fetch
share_worker() {
    local report=$share/report.$1 orders=$share/orders.$1 status verb index from pause=1 at
    : >$report
    while [ ! -e $share/failed ]; do
        if [ $ahead -gt 0 ]; then
            read -r at <$share/at
            # said to be gone two chunks before it is: nobody shall be sent here for nothing
            printf 'want %d %d\ndropped %d\n' "$at" $((at + ahead)) $((at + 2 > ahead ? at + 2 - ahead : 0)) >>$report
        fi
        status=$(call 20 "share/$share_sha/next" $orders --data-binary @$report)
        case $status in
            200) : >$report && pause=1 ;;
            409)
                : >$report
                announce "$1" || return 1
                continue
                ;;
            000 | 5??)
                sleep $pause
                pause=$((pause * 2 > 10 ? 10 : pause * 2))
                continue
                ;;
            *) printf 'failed: the daemon shares this image no more: HTTP %s\n' "$status" >&2 && return 1 ;;
        esac
        while read -r verb index from; do
            case $verb in
                get) fetch_chunk "$index" "$from" "$1" >>$report || return 1 ;;
                wait) sleep "$index" ;;
                *) return 0 ;;
            esac
        done <$orders
    done
    return 1
}

# fetch_chunk INDEX SOURCE WORKER: one chunk; says how it went in the words of a report. Fails only where the daemon
# itself has not what it listed, and where memory has no room for it.
fetch_chunk() {
    local index=$1 source=$2 file=$share/in/$1.$3 start length outcome=0
    start=$((index * chunk_bytes))
    length=$((share_bytes - start < chunk_bytes ? share_bytes - start : chunk_bytes))
    if [ "$source" = - ]; then
        set -- "$share_url" --speed-time 30 --range $start-$((start + length - 1))
    else
        set -- "$source" --speed-time 5 --max-time 60
    fi
    # a neighbour may send what it likes for as long as it likes: the file has room for 512 bytes too many at the most.
    # Not `| head -c`: BusyBox copies byte by byte, which takes nine times as long as the rest.
    (
        ulimit -f $((length / 512 + 1))
        exec curl --silent --fail --globoff --connect-timeout 3 --speed-limit 1024 --output "$file" "$@" 2>/dev/null
    ) || outcome=$?
    if [ $outcome = 0 ] && [ "$(sha256sum "$file" | cut -d ' ' -f 1)" = "$(sed -n "$((index + 2))p" $share/list)" ]; then
        mv "$file" "$chunk_dir/$index"
        printf 'got %s\n' "$index"
        return 0
    fi
    if [ $outcome = 23 ] && [ "$(stat -c %s "$file" 2>/dev/null || echo 0)" -lt "$length" ]; then
        printf 'failed: chunk %s of %s could not be kept: memory is full (%s)\n' "$index" "$share_url" "$(df -h "$share" | tail -n 1)" >&2
        rm -f "$file"
        return 1
    fi
    rm -f "$file"
    case $outcome in
        0 | 23 | 153) outcome=bad ;; # 23, 153: more came than was asked for (EFBIG, SIGXFSZ)
        22) outcome=lacks ;;         # HTTP status 4xx, 5xx
        *) outcome=gone ;;
    esac
    printf '%s %s\n' $outcome "$index"
    if [ "$source" = - ]; then blame_origin "$index" $outcome; fi
}

# blame_origin INDEX OUTCOME: the daemon may be away; what it cannot be is wrong again and again
blame_origin() {
    if [ "$2" = gone ]; then
        sleep 1
        return 0
    fi
    printf '%s\n' "$1" >>$share/blame
    if [ "$(wc -l <$share/blame)" -ge $origin_tries ]; then
        printf 'failed: image has the wrong hash: chunk %s of %s: %s\n' "$1" "$share_url" "$2" >&2
        return 1
    fi
    sleep 0.2
}

# chunks_in_order: the whole image on standard output, once it is here
chunks_in_order() {
    local index=0
    while [ $index -lt "$chunks" ]; do
        cat "$chunk_dir/$index"
        index=$((index + 1))
    done
}

# stream_shared: the image on standard output while it is fetched, with no more of it in memory than the window
stream_shared() {
    local index=0
    gather &
    while [ $index -lt "$chunks" ]; do
        while [ ! -e "$chunk_dir/$index" ]; do
            if [ -e $share/failed ]; then return 1; fi
            usleep 20000
        done
        cat "$chunk_dir/$index" || { : >$share/failed && return 1; }
        index=$((index + 1))
        echo $index >$share/at.new && mv $share/at.new $share/at
        if [ $index -gt $ahead ]; then rm "$chunk_dir/$((index - ahead - 1))"; fi
    done
    wait
}

# set_window BYTES: keep so much of the image at most: half of it ahead of the writer, half for neighbours
set_window() {
    ahead=$(($1 / 2 / chunk_bytes))
    if [ $ahead -lt 2 ]; then ahead=2; fi
}

# watch_chunks PHASE FROM TO: how much of the image is here, as a percentage, until all is
watch_chunks() {
    local here
    while sleep 1; do
        set -- "$1" "$2" "$3"
        here=$(ls "$chunk_dir" | wc -l)
        tell_share $((here * chunk_bytes)) "$share_bytes" "$1" "$2" "$3"
        [ "$here" -lt "$chunks" ] || break
    done
}
