"""Processes on record: found again, ended, and never another one in their place."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest

from provisioner.lab.process import Recorded, end, recall, spawn, start_time, wait_until


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
