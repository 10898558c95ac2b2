# What every part of the agent uses: arguments, log, JSON, calls to the daemon. Sourced, POSIX sh plus `local`.

export PATH=/usr/bin HOME=/root LC_ALL=C
state=${PROVISIONER_STATE:-/run/provisioner}

# argument NAME: the value of NAME=value on the kernel command line, empty if it is not there
argument() {
    local word
    for word in $(cat /proc/cmdline); do
        case $word in "$1"=*) printf '%s\n' "${word#*=}" && return ;; esac
    done
}

# uptime: seconds since the kernel started
uptime_s() {
    local up
    read -r up _ </proc/uptime
    printf '%s\n' "$up"
}

# consoles: the devices that the kernel prints on
consoles() {
    local name
    for name in $(cat /sys/class/tty/console/active); do
        printf '/dev/%s\n' "$name"
    done
}

# stamp [FILE]: copy standard input to every console and to the agent's log, each line with its time; to FILE, too
stamp() {
    local line up devices kept=${1:-/dev/null}
    devices=$(consoles)
    while IFS= read -r line || [ -n "$line" ]; do
        read -r up _ </proc/uptime
        # shellcheck disable=SC2086 # one word for each console
        printf '[%9s] %s\r\n' "$up" "$line" | tee -a $devices "$kept" >>$state/console.log
    done
}

log() {
    printf '%s\n' "$*" | stamp
}

# first_line FILE...: the first line of the first file that has one, without blanks around it
first_line() {
    local file line
    for file in "$@"; do
        line=
        { read -r line <"$file" || [ -n "$line" ]; } 2>/dev/null || continue
        printf '%s\n' "$line"
        return
    done
}

# json_string: standard input as a JSON string. Anything but printable ASCII, tab and newline is dropped.
json_string() {
    tr -cd '\11\12\40-\176' | awk '
        BEGIN { printf "\"" }
        { gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); printf "%s%s", (NR > 1 ? "\\n" : ""), $0 }
        END { printf "\"" }'
}

# json_object: lines "key value" from standard input as an object of strings
json_object() {
    tr -cd '\11\12\40-\176' | awk '
        BEGIN { printf "{" }
        {
            key = $1; sub(/^[^ ]* ?/, ""); sub(/ +$/, ""); gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); gsub(/\t/, "\\t")
            printf "%s\"%s\": \"%s\"", (NR > 1 ? ", " : ""), key, $0
        }
        END { printf "}" }'
}

# call SECONDS PATH OUT [CURL ARGUMENTS]: ask the daemon; prints the HTTP status, 000 where there was no answer. The
# answer's headers lie beside it.
call() {
    local limit=$1 path=$2 out=$3 status
    shift 3
    : >"$out"
    # curl says 200 even where the body was cut off: only its exit status tells
    status=$(curl --silent --output "$out" --dump-header "$out.headers" --write-out '%{http_code}' --connect-timeout 5 --max-time "$limit" \
        --header @$state/authorization "$@" "$(cat $state/url)/agent/v1/$path") || status=000
    printf '%s\n' "$status"
}

# post SECONDS PATH OUT FILE: send a JSON file
post() {
    call "$1" "$2" "$3" --header 'Content-Type: application/json' --data-binary @"$4"
}

# set_clock HEADERS: take the daemon's time where ours is more than a minute off (a dead battery, local time in it): lists of
# packages, and certificates, are good from a time on
set_clock() {
    local said there off
    said=$(tr -d '\r' <"$1" | sed -n 's/^[Dd]ate: //p' | tail -n 1)
    there=$(date -u -D '%a, %d %b %Y %H:%M:%S GMT' -d "$said" +%s 2>/dev/null) || return 0
    off=$((there - $(date +%s)))
    if [ ${off#-} -gt 60 ]; then
        date -s "@$there" >/dev/null
        log "the clock was $off s off: it is set to $said"
    fi
}
