"""The agent's shell code and jobs: when one is over, what ends with it, and how often it tells of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.discovery.shell import run

PAUSES = {
    "a post that takes no time": ("100.50", "100.52", "2"),
    "a fifth of the time goes into telling": ("100.50", "101.25", "3"),
    "over a full second": ("99.90", "101.50", "6"),
    "a sign of life is due": ("100.50", "130.50", "10"),
}


@pytest.mark.parametrize(("began", "ended", "pause"), PAUSES.values(), ids=PAUSES.keys())
def test_telling_takes_a_fifth_of_the_time_at_most(tmp_path: Path, began: str, ended: str, pause: str) -> None:
    said = run(f". $PROVISIONER_LIB/work.sh; pause_after {began} {ended}", tmp_path)
    assert said.stdout.decode() == f"{pause}\n", said.stderr


ENDS = {
    "a job that ends well": ("echo fine", "0"),
    "a job that fails": ("echo fine; false", "1"),
    "a job that is refused what it fetches while something watches": ("(while sleep 1; do :; done) & exit 7", "7"),
}


@pytest.mark.parametrize(("script", "status"), ENDS.values(), ids=ENDS.keys())
def test_a_job_is_over_when_its_script_is(tmp_path: Path, script: str, status: str) -> None:
    """What it left running would hold its output open: the reader would wait for ever."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "script").write_text(script)
    run(". $PROVISIONER_LIB/work.sh; execute j1 | cat", tmp_path, part="lib.sh")
    assert (work / "status").read_text().strip() == status


STOPPED = """
set +e  # as the agent runs, unlike its jobs
. $PROVISIONER_LIB/work.sh
log() { echo "$@" >>$state/said; }
stamp() { cat >/dev/null; }
call() { case $2 in job/*) cp $state/job "$3" && echo 200 ;; *) echo 410 ;; esac; }
post() { echo "$2" >>$state/posted; if [ -s $state/writer ]; then echo 410; else echo 204; fi; }
persist() { return 1; }
sleep() { command sleep 0.1; }
run_job j1
while grep -qsv ') Z ' /proc/$(cat $state/writer)/stat; do usleep 10000; done
echo nobody writes any more
"""


def test_a_job_whose_run_is_over_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    """410 is the answer to what it says of itself: nothing is written any more, by it or by what it left running."""
    (tmp_path / "job").write_text("(while sleep 0.05; do :; done) & echo $! >$PROVISIONER_STATE/writer; sleep 60")
    done = run(STOPPED, tmp_path, part="lib.sh")
    assert done.stdout.decode().endswith("nobody writes any more\n"), done.stderr
    assert (tmp_path / "work" / "status").read_text().strip() == "137"
    assert "the run of this job is over: it is stopped" in (tmp_path / "said").read_text()


def test_a_job_that_is_about_to_begin_when_its_run_is_over_is_stopped_all_the_same(tmp_path: Path) -> None:
    """The daemon says so once: what is not found then would go on to the end, and write to the disk."""
    begins = """
        . $PROVISIONER_LIB/work.sh
        log() { echo "$@"; }
        usleep() { : >$state/tried; command usleep "$@"; }
        stop_job &
        until [ -e $state/tried ]; do sleep 0.01; done
        setsid sh -c 'while :; do sleep 0.05; done' & echo $! >$work/group
        for job in %2 %1; do wait $job || echo $?; done
    """
    done = run(begins, tmp_path, part="lib.sh")
    assert done.stdout.decode().splitlines() == ["the run of this job is over: it is stopped", "137"], done.stderr


def test_a_job_that_has_ended_as_it_is_to_be_stopped_shares_nothing_any_more(tmp_path: Path) -> None:
    ended = """
        . $PROVISIONER_LIB/work.sh
        log() { :; }
        mkdir -p $state/share
        sh -c 'while :; do sleep 0.05; done' & echo $! >$state/share/httpd
        stop_job &
        wait %1 || echo $?
        kill %2
    """
    done = run(ended, tmp_path, part="lib.sh")
    assert done.stdout == b"143\n", done.stderr


def test_what_an_agent_that_died_was_at_ends_before_the_next_one_reports(tmp_path: Path) -> None:
    """It would write to the disk of the job that is given again."""
    left = """
        . $PROVISIONER_LIB/work.sh
        log() { echo "$@"; }
        setsid sh -c 'while :; do sleep 0.05; done' & echo $! >$work/group
        sh -c 'while :; do sleep 0.05; done' & echo $! >$work/poster
        until runs $(cat $work/group); do usleep 10000; done
        end_left_job
        for pid in %1 %2; do wait $pid || echo $?; done
        ls $work
    """
    done = run(left, tmp_path, part="lib.sh")
    assert done.stdout.decode().splitlines() == ["an agent before this one left a job: it is stopped", "137", "143"]


def test_an_agent_that_begins_finds_nothing(tmp_path: Path) -> None:
    done = run(". $PROVISIONER_LIB/work.sh; end_left_job; echo fine", tmp_path, part="lib.sh")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"fine\n", b"")
