"""Processes on record: found again, ended, and never another one in their place."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.lab.process import Recorded, bound, end, recall, spawn, start_time, wait_until


def test_spawned_recalled_and_ended(tmp_path: Path) -> None:
    record = tmp_path / "x.json"
    started = spawn(["sleep", "60"], tmp_path / "x.log", record)
    assert recall(record) == started
    end(started)
    assert recall(record) is None
    end(started)


def test_what_it_says_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    spawn(
        [sys.executable, "-c", "import os; print(os.getcwd(), os.getsid(0) == os.getpid())"], log, tmp_path / "x.json"
    )
    assert wait_until(lambda: log.read_text() == "/ True\n", 10)


PARENT = """
import subprocess, sys
from provisioner.lab.process import bound
print(subprocess.Popen(bound("sleep", "600")).pid, flush=True)
sys.stdin.read()
"""


def test_what_is_bound_to_us_ends_with_us_however_we_do() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        child = Recorded(pid, start_time(pid) or 0)
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not child.is_alive, 60)


def test_what_is_bound_to_us_does_not_begin_under_another_parent(tmp_path: Path) -> None:
    """One that was killed before the kernel was asked leaves its child to the next: nobody would end that."""
    assert subprocess.run(bound("touch", str(tmp_path / "ours")), check=False).returncode == 0
    adopted = ["sh", "-c", '"$@"; exit $?', "sh", *bound("touch", str(tmp_path / "adopted"))]
    assert subprocess.run(adopted, check=False).returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_a_lock_that_we_were_started_with_is_not_held_on(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        started = spawn(["sleep", "60"], tmp_path / "x.log", tmp_path / "x.json")
        assert wait_until(lambda: str(tmp_path / "lock") not in held(started.pid), 10)
    end(started)


def held(pid: int) -> list[str]:
    """The files that a process holds open; it may close some while we look."""
    found = []
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(handle.readlink()))
    return found


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    started = spawn(["no-such-program"], log, tmp_path / "x.json")
    assert wait_until(lambda: not started.is_alive, 10)
    assert "no-such-program" in log.read_text()


def test_another_process_with_the_same_id_is_not_it(tmp_path: Path) -> None:
    record = tmp_path / "x.json"
    ours = Recorded(os.getpid(), (start_time(os.getpid()) or 0) - 1)
    record.write_text(json.dumps(dataclasses.asdict(ours)))
    assert recall(record) is None
    end(ours)


RECORDS = {"none": None, "empty": "", "another thing": "[1, 2]", "other keys": '{"a": 1}'}


@pytest.mark.parametrize("text", RECORDS.values(), ids=RECORDS.keys())
def test_no_record(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    assert recall(tmp_path / "x.json") is None


def test_time_is_up() -> None:
    assert wait_until(lambda: False, 0.0) is False
