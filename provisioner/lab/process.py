"""Processes that outlive the command which started them: known by id and start time, ended only if still the same."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

STOP_S = 15.0
"""What a process gets to end by itself; the daemon needs a few seconds to close its store."""
TICK_S = 0.05
STDERR = 2
START_TIME = 19
"""Index of `starttime` in /proc/PID/stat, behind the name in parentheses (proc(5): field 22)."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One process. A process id is used again after a while, a pair of id and start time never."""

    pid: int
    started: int

    @property
    def is_alive(self) -> bool:
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None where there is none, or only its remains."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if stat[0] == "Z" else int(stat[START_TIME])


def bound(*command: str) -> list[str]:
    """A command that ends with us, however we do.

    The kernel tells nobody of a parent that went before it was asked to: so the command begins only under us.
    """
    begin = f'[ "$PPID" = {os.getpid()} ] && exec "$@"'
    return ["setpriv", "--pdeathsig", "KILL", "sh", "-c", begin, "sh", *command]


def spawn(arguments: Sequence[str], log: Path, record: Path) -> Recorded:
    """Start a process that is not ours to wait for, and write down which it is."""
    whole = ["env", "--chdir=/", *arguments]
    with log.open("ab") as said, Path(os.devnull).open("rb") as nothing:
        streams = [(os.POSIX_SPAWN_DUP2, end.fileno(), to) for end, to in ((nothing, 0), (said, 1), (said, 2))]
        closed = [(os.POSIX_SPAWN_CLOSE, handle) for handle in _inherited()]
        pid = os.posix_spawnp(whole[0], whole, os.environ, file_actions=[*streams, *closed], setsid=True)
    started = start_time(pid)
    found = Recorded(pid, -1 if started is None else started)
    record.write_text(json.dumps(asdict(found)))
    return found


def _inherited() -> list[int]:
    """What we were started with beside the standard streams: a lock held by it would be held as long as the child."""
    handles = (int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    return [handle for handle in handles if handle > STDERR and _is_open(handle) and os.get_inheritable(handle)]


def _is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:  # the handle that listed the directory
        return False
    return True


def recall(record: Path) -> Recorded | None:
    """The process that was written down, if it still runs."""
    try:
        found = Recorded(**json.loads(record.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.is_alive else None


def end(process: Recorded, number: signal.Signals = signal.SIGTERM) -> None:
    """Ask it to end, then make it; returns when it is gone."""
    for step in (number, signal.SIGKILL):
        if not process.is_alive:
            return
        os.kill(process.pid, step)
        if wait_until(lambda: not process.is_alive, STOP_S):
            return


def wait_until(is_so: Callable[[], bool], limit_s: float, tick_s: float = TICK_S) -> bool:
    """Look again and again until it is so, or the time is up."""
    pause, until = threading.Event(), time.monotonic() + limit_s
    while time.monotonic() < until:
        if is_so():
            return True
        pause.wait(tick_s)
    return is_so()
