# Run one job for the daemon: fetch it once, run it strictly, tell how it goes and how it ended. Sourced by the agent.

work=$state/work
log_limit=65536
message_limit=1500
post_every=2
post_at_least_every=10

# run_job ID: afterwards the answer holds the daemon's next command, or nothing
run_job() {
    local id=$1 poster
    case $id in '' | *[!A-Za-z0-9._-]*) log "job with the impossible id '$id'" && return 0 ;; esac
    rm -rf $work && mkdir -p $work
    fetch_job "$id" || return 0
    log "job $id starts"
    keep_posting "$id" &
    poster=$!
    echo $poster >$work/poster
    echo 0 >$work/printed
    execute "$id" 2>&1 | tee $work/log | stamp $work/timed
    rm -f $work/poster
    kill $poster 2>/dev/null
    wait $poster 2>/dev/null
    log "job $id ended with status $(cat $work/status)"
    finish_job "$id"
}

# fetch_job ID: the daemon gives a job once; a second time it refuses, and then we ask what comes next
fetch_job() {
    local status
    while :; do
        status=$(call 30 "job/$1" $work/script)
        case $status in
            200) pause=1 && return 0 ;;
            000 | 5??) log "job $1: no answer (HTTP $status), again in $pause s" && calm ;;
            *) log "job $1: refused (HTTP $status)" && return 1 ;;
        esac
    done
}

# execute ID: strict: any failing command, any failing part of a pipe and any unset variable ends the job, and with it
# whatever it left running: that would hold the log open, and the job would never be over
execute() {
    local group status=0
    echo 1 >$work/status
    (cd $work && JOB_ID=$1 exec setsid sh -euo pipefail $work/script </dev/null) &
    group=$!
    echo $group >$work/group
    wait $group || status=$?
    kill -KILL -- -$group 2>/dev/null || true
    rm -f $work/group
    echo $status >$work/status
}

# end_left_job: what an agent that died was at goes on without it, and the daemon gives that job again: two would write
# to one disk
end_left_job() {
    local group
    if [ -s $work/poster ]; then kill "$(cat $work/poster)" 2>/dev/null || true; fi
    rm -f $work/poster
    [ -s $work/group ] || return 0
    group=$(cat $work/group)
    if kill -KILL -$group 2>/dev/null; then log "an agent before this one left a job: it is stopped"; fi
    while runs $group; do usleep 100000; done
    rm -f $work/group
}

# runs GROUP: some process of it can still do something
runs() {
    cat /proc/[0-9]*/stat 2>/dev/null |
        awk -v group="$1" '{ sub(/.*\) /, ""); if ($3 == group && $1 != "Z") found = 1 } END { exit !found }'
}

# keep_posting: send the job's progress when it changed, and now and then when it did not, as a sign of life. A fifth of
# the time at most goes into telling: on a slow machine, or one that is emulated, it would be half of what the job takes.
# A post that fails is dropped: the next one says more. 410: the run was ended, so the job is, with all that it started.
keep_posting() {
    local silent=0 said='' now pause=$post_every began
    while sleep $pause; do
        began=$(uptime_s)
        post_output "$1"
        silent=$((silent + pause))
        now=$(cat $work/progress 2>/dev/null)
        [ -n "$now" ] || now='{"phase": "work", "percent": 0, "message": ""}'
        if [ "$now" != "$said" ] || [ $silent -ge $post_at_least_every ]; then
            printf '%s' "$now" >$work/posting
            case $(post 5 progress $work/posted $work/posting) in
                2??) said=$now silent=0 ;;
                410) stop_job && return 0 ;;
            esac
        fi
        pause=$(pause_after "$began" "$(uptime_s)")
    done
}

# pause_after BEGAN ENDED: whole seconds until the next post, after one that took so long by /proc/uptime
pause_after() {
    local pause=$((4 * (${2%.*}${2#*.} - ${1%.*}${1#*.}) / 100))
    if [ $pause -lt $post_every ]; then pause=$post_every; fi
    if [ $pause -gt $post_at_least_every ]; then pause=$post_at_least_every; fi
    printf '%s\n' $pause
}

# stop_job: nothing of the job goes on, and what neighbours may take of it ends with it. On a slow machine its group may
# not be there yet: it is tried until there is one, and nobody tells us again. (After "--", kill says 1 whatever it did.)
stop_job() {
    log "the run of this job is over: it is stopped"
    if [ -s $state/share/httpd ]; then kill "$(cat $state/share/httpd)"; fi
    until kill -KILL "-$(cat $work/group 2>/dev/null)" 2>/dev/null; do usleep 100000; done
}

# post_output ID: what a step of a workflow printed since the last time; of other jobs only the end is kept. 2 where the
# daemon does not want it, 1 where another try may help, as in persist
post_output() {
    local printed piece
    case $1 in *.w[0-9]*) ;; *) return 0 ;; esac
    printed=$(cat $work/printed)
    tail -c +$((printed + 1)) $work/log 2>/dev/null | head -c $log_limit >$work/piece
    piece=$(stat -c %s $work/piece)
    [ "$piece" -gt 0 ] || return 0
    case $(call 30 "output/$1?at=$printed" $work/posted --data-binary @$work/piece) in
        2??) echo $((printed + piece)) >$work/sent && mv $work/sent $work/printed ;;
        408 | 429 | 000 | 5??) return 1 ;;
        *) return 2 ;;
    esac
}

# post_rest ID: what a step of a workflow printed, to its end: what the daemon has not got when it has the result, it
# never gets
post_rest() {
    local refused
    case $1 in *.w[0-9]*) ;; *) return 0 ;; esac
    while [ "$(cat $work/printed)" -lt "$(stat -c %s $work/log)" ]; do
        refused=0
        post_output "$1" || refused=$?
        case $refused in
            0) pause=1 ;;
            1) log "job $1: its output is not taken yet, again in $pause s" && calm ;;
            *) log "job $1: its output is refused" && return 0 ;;
        esac
    done
}

# finish_job ID: all that a step printed, the end of the log (best effort), then the result, until the daemon has it
finish_job() {
    local status
    status=$(cat $work/status)
    post_rest "$1"
    tail -c $log_limit $work/timed >$work/tail
    call 20 "log?up=$(uptime_s)" $work/posted --header 'Content-Type: text/plain' --data-binary @$work/tail >/dev/null
    {
        printf '{"job": "%s", "status": %d, "message": ' "$1" "$status"
        if [ "$status" = 0 ]; then tail -n 1 $work/log; else tail -n 12 $work/log; fi |
            tail -c $message_limit | json_string
        printf '}'
    } >$work/done
    persist "job $1" 30 "done" $work/done || : >$state/answer
}
