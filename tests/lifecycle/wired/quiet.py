"""Whether programs are quiet: whatever was asked is answered, and nothing but time can wake any of them.

A program that works, however slowly, has a thread that runs, waits for a processor or for a disk. All threads sleep at
one moment when two looks at them, one after the other, find each asleep and none that has run in between. What is on
its way through the kernel keeps a connection from being quiet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

PROC = Path("/proc")
LOOK_S = 0.002
"""Between two looks; how long they are apart does not matter to what they say."""
SLEEPS = "S"
SYN_SENT, SYN_RECEIVED, LISTEN = "02", "03", "0A"

Ran = dict[Path, str]
"""How often each thread went to sleep or was put aside so far, by its folder."""


async def quiet(pids: Sequence[int]) -> None:
    """Return when these programs, and all that they started, are quiet."""
    before: Ran | None = None
    while (found := asleep(pids)) is None or found != before or _on_its_way(pids):
        before = found
        await asyncio.sleep(LOOK_S)


def asleep(pids: Sequence[int]) -> Ran | None:
    """Look at all threads once: how often each has run, or None where one is awake."""
    ran: Ran = {}
    for pid in _family(pids):
        for thread in _threads(pid):
            fields = dict(line.split(":\t", 1) for line in _read(thread / "status").splitlines() if ":\t" in line)
            if not fields.get("State", "").startswith(SLEEPS):
                return None
            ran[thread] = fields["voluntary_ctxt_switches"] + "+" + fields["nonvoluntary_ctxt_switches"]
    return ran


def _threads(pid: int) -> Sequence[Path]:
    """List the threads of a process; none of one that has ended meanwhile, which its parent then hears of."""
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return ()


def _family(pids: Sequence[int]) -> Iterator[int]:
    """These processes, and their children's children; those are only looked for once these were seen to sleep."""
    yield from pids
    parents = dict(_parents())
    for pid in parents.keys() - set(pids):
        above = pid
        while above and above not in pids:
            above = parents.get(above, 0)
        if above:
            yield pid


def _parents() -> Iterator[tuple[int, int]]:
    for folder in PROC.iterdir():
        if folder.name.isdecimal() and (told := _read(folder / "stat")):
            yield int(folder.name), int(told.rpartition(")")[2].split()[1])


def _on_its_way(pids: Sequence[int]) -> bool:
    """Say whether a connection is being made, or holds octets that its other end has not confirmed."""
    for pid in pids:
        for line in _read(PROC / str(pid) / "net" / "tcp").splitlines()[1:]:
            _, _, _, state, queues, *_ = line.split()
            if state in (SYN_SENT, SYN_RECEIVED) or (state != LISTEN and int(queues.partition(":")[0], 16)):
                return True
    return False


def _read(path: Path) -> str:
    """Read a file of /proc; nothing of a process that has ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
