"""Writes down what machines print while a run is under way: to a file each, and the telling lines to the boot trace.

A board whose console cannot be opened is left alone; a run never fails for want of its console. Files are named by the
machines' ids, and go with them: another machine may get the name of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from provisioner.bmc.consoles import Consoles, Lines, Reader
from provisioner.model.bmc import BmcAddress
from provisioner.model.machine import Machine
from provisioner.model.trace import NOW, Channel, Observe, TraceLine, hidden
from provisioner.services import Apart

STILL_S = 1.0
"""A line without an end that stands so long is a prompt: it is told, too."""

BURST_LINES = 20
LINES_A_SECOND = 0.2
"""A kernel prints a thousand lines in ten seconds: the trace takes the first of a burst, the file takes all.

Lines that speak for a fault, or say that a system came up, have a budget of their own, one for each kind: a panic and
a login prompt come after all those lines."""

ASK_AGAIN_S = 600.0
"""A board that has no console is not asked for it by every run: a rack's worth of such boards answers little else."""

SUFFIXES = (".log", ".old")
"""Of a record, and of the one before it."""
FILE_BYTES = 4 << 20
"""Two files of this size for each machine: some twenty boots."""

WRITE_S = 1.0
MAX_TAIL_BYTES = 4096
"""A line that has no end yet waits for it, up to so much: a secret could stand where it is cut."""


Board = tuple[BmcAddress | None, ...]
Shows = Callable[[str], str]
"""Says for which fault a line speaks, or how far the machine has come, of a few that there are; "" for neither."""


class Recorder:
    """Follows machines, and reads the console of each that a run is under way on. Use as `async with`."""

    def __init__(self, consoles: Consoles, observe: Observe, shows: Shows, folder: Path | None = None) -> None:
        self._consoles = consoles
        self._observe = observe
        self._shows = shows
        self._folder = folder
        self._running: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._ending: dict[str, set[asyncio.Task[None]]] = {}
        """Records that are over and still written, by machine."""
        self._silent: dict[str, tuple[Board, float]] = {}
        """Boards without a console, by machine, and when they are asked again, on the loop's clock."""
        self._tasks = Apart()

    async def __aenter__(self) -> Recorder:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for _, task in self._running.values():
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def __call__(self, before: Machine | None, machine: Machine | None) -> None:
        """Hear of a change: begin with a run, end with it; a machine that is gone takes its record along."""
        if machine is None:
            if before is not None:
                self._forget(before)
            return
        run = machine.run.id if machine.run is not None and machine.run.step else ""
        held = self._running.get(machine.id)
        if held is not None and held[0] != run:
            self._end(machine)
            held = None
        if run and held is None and machine.bmc is not None and not self._is_silent(machine):
            self._running[machine.id] = (
                run,
                self._tasks.create_task(self._record(machine, run), f"record {machine.name}"),
            )

    def _forget(self, machine: Machine) -> None:
        self._silent.pop(machine.id, None)
        self._end(machine)
        if self._folder is not None:
            work = _remove(self._folder, machine.id, tuple(self._ending.get(machine.id, ())))
            self._tasks.create_task(work, f"remove the record of {machine.name}")

    def _end(self, machine: Machine) -> None:
        if (held := self._running.pop(machine.id, None)) is None:
            return
        recording, ending = held[1], self._ending.setdefault(machine.id, set())
        recording.cancel()
        ending.add(recording)

        def over(_: object) -> None:
            ending.discard(recording)
            if not ending and self._ending.get(machine.id) is ending:
                del self._ending[machine.id]

        recording.add_done_callback(over)

    async def _record(self, machine: Machine, run: str) -> None:
        async with self._consoles.read(machine) as reader:
            await self._write_down(machine, run, reader)
        self._silent[machine.id] = board_of(machine), asyncio.get_running_loop().time() + ASK_AGAIN_S

    def _is_silent(self, machine: Machine) -> bool:
        board, until = self._silent.get(machine.id, (None, 0.0))
        return board == board_of(machine) and asyncio.get_running_loop().time() < until

    async def _write_down(self, machine: Machine, run: str, reader: Reader) -> None:
        """Write down what is read; return where the board has no console."""
        budgets: defaultdict[str, Budget] = defaultdict(lambda: Budget(time.monotonic()))
        lines = Lines()

        def tell(found: list[str]) -> None:
            for text in found:
                if budgets[self._shows(text)].take(time.monotonic()):
                    self._observe(TraceLine(NOW, Channel.CONSOLE, "console.line", text, machine=machine.id, run=run))

        path = self._folder and self._folder / f"{machine.id}{SUFFIXES[0]}"
        async with LogFile(path, tuple(self._ending.get(machine.id, ()))) as file:
            output = reader.output()
            while True:
                try:
                    async with asyncio.timeout(STILL_S):
                        data = await anext(output, None)
                except TimeoutError:
                    output = reader.output()
                    tell(lines.rest())
                    continue
                if data is None:
                    return
                file.write(data)
                tell(lines.feed(data))


def board_of(machine: Machine) -> Board:
    """Say by which ways a machine's board is asked."""
    return (machine.bmc, *machine.more_bmcs)


class Budget:
    """How many lines may be told: a burst, then so many a second."""

    def __init__(self, now: float) -> None:
        self._left = float(BURST_LINES)
        self._at = now

    def take(self, now: float) -> bool:
        """Say whether one more may be told."""
        self._left = min(self._left + (now - self._at) * LINES_A_SECOND, float(BURST_LINES))
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class LogFile:
    """A file that is written in a thread, once a second, and begun anew when it is full. None writes nothing.

    Nothing is written before the records of `before` have ended, which are of the same file.
    """

    def __init__(self, path: Path | None, before: Collection[asyncio.Task[None]] = ()) -> None:
        self._path, self._before = path, before
        self._waiting = bytearray()
        self._tasks = asyncio.TaskGroup()
        self._writer: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        """A thread, which goes on where the writer is cancelled."""

    async def __aenter__(self) -> LogFile:
        await self._tasks.__aenter__()
        if self._path is not None:
            self._writer = self._tasks.create_task(self._write_often(self._path))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._writer is not None:
            self._writer.cancel()
        await self._tasks.__aexit__(None, None, None)

    def write(self, data: bytes) -> None:
        """Take output."""
        if self._path is not None:
            self._waiting += data

    async def _write_often(self, path: Path) -> None:
        try:
            while True:
                await asyncio.sleep(WRITE_S)
                await self._flush(path, self._waiting.rfind(b"\n") + 1)
        finally:
            if self._writing is not None:
                await asyncio.wait([self._writing])
            await self._flush(path, len(self._waiting))

    async def _flush(self, path: Path, size: int) -> None:
        if len(self._waiting) - size > MAX_TAIL_BYTES:
            size = len(self._waiting)
        data, self._waiting = bytes(self._waiting[:size]), self._waiting[size:]
        if data:
            self._writing = self._tasks.create_task(_written(path, data, self._before))
            await asyncio.shield(self._writing)


async def _written(path: Path, data: bytes, before: Collection[asyncio.Task[None]]) -> None:
    if before:
        await asyncio.wait(before)
    with contextlib.suppress(OSError):  # a full disk costs the log of a console, not the run
        await asyncio.to_thread(_append, path, data)


async def _remove(folder: Path, machine: str, ending: Collection[asyncio.Task[None]]) -> None:
    if ending:
        await asyncio.wait(ending)  # they write down what came last
    await asyncio.to_thread(_drop, [folder / f"{machine}{suffix}" for suffix in SUFFIXES])


def settle(folder: Path, machines: Mapping[str, str]) -> None:
    """At a start: remove the records of machines that are gone (a crash may have left them). Blocks.

    `machines` are the ids of those that are on record, by name: records were called by that once, and are called anew.
    """
    for path in _records(folder):
        own = machines.get(path.stem)
        if own is not None and not (called := path.with_name(f"{own}{path.suffix}")).exists():
            path.rename(called)
    ids = set(machines.values())
    _drop([path for path in _records(folder) if path.stem not in ids])


def _records(folder: Path) -> list[Path]:
    return [path for suffix in SUFFIXES for path in folder.glob(f"*{suffix}")]


def _drop(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # what cannot be removed now goes at the next start
            path.unlink()


def _append(path: Path, data: bytes) -> None:
    """Write output down, without the secrets in it. Blocks."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > FILE_BYTES:
            path.replace(path.with_suffix(SUFFIXES[1]))
    with path.open("ab") as file:
        file.write(hidden(data.decode("latin-1")).encode("latin-1"))
