"""Serial consoles shared: a machine has one, any number of people and the boot trace read it.

A console is opened when the first reader comes and closed when the last one goes. When it is lost (the BMC restarts,
the network breaks) it is opened again, with growing pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from provisioner.bmc.capabilities import ConsoleLine
from provisioner.errors import BmcUnreachable, BmcUnsupported, BmcWrongState, ProvisionerError
from provisioner.model.machine import Machine
from provisioner.model.trace import hidden
from provisioner.services import Apart, cause

log = logging.getLogger(__name__)

Open = Callable[[Machine], Awaitable[ConsoleLine]]
"""Opens the console of a machine, by the way to its board that can."""

BACKLOG_BYTES = 64 << 10
"""What a new reader sees of before: a whole boot of a kernel."""

MAX_QUEUED = 1024
"""Pieces that wait for a slow reader; beyond it the oldest are dropped."""

PAUSES_S = (1.0, 5.0, 15.0, 60.0)


@dataclass(slots=True)
class Shared:
    """One console and who reads it."""

    machine: Machine
    readers: set[Reader] = field(default_factory=set)
    backlog: deque[bytes] = field(default_factory=deque)
    kept: int = 0
    line: ConsoleLine | None = None
    task: asyncio.Task[None] | None = None
    trouble: str = ""

    def said(self, data: bytes) -> None:
        """Hand output to every reader, and keep the last of it."""
        self.backlog.append(data)
        self.kept += len(data)
        while self.kept > BACKLOG_BYTES:
            self.kept -= len(self.backlog.popleft())
        for reader in self.readers:
            reader.put(data)


class Reader:
    """One reader of a console."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._queue: deque[bytes] = deque([b"".join(shared.backlog)] if shared.backlog else (), MAX_QUEUED)
        self._came = asyncio.Event()
        self._ended = False

    def put(self, data: bytes) -> None:
        """Hand over output."""
        self._queue.append(data)
        self._came.set()

    def end(self) -> None:
        """Tell that nothing more comes."""
        self._ended = True
        self._came.set()

    @property
    def trouble(self) -> str:
        """Why the console is away, or why there is none; empty while it is open."""
        return self._shared.trouble

    async def output(self) -> AsyncIterator[bytes]:
        """Yield what the machine prints, from a little before; ends only where the board has no console."""
        while True:
            while self._queue:
                yield self._queue.popleft()
            if self._ended:
                return
            self._came.clear()
            await self._came.wait()

    async def type(self, keys: bytes) -> None:
        """Type keys; raise `BmcWrongState` while the console is away."""
        away = f"{self._shared.machine.name}: the console is not open"
        if self._shared.line is None:
            raise BmcWrongState(f"{away}: {self._shared.trouble or 'it is being opened'}")
        try:
            await self._shared.line.type(keys)
        except BmcUnreachable as error:
            raise BmcWrongState(f"{away}: {error.message}") from error


class Consoles:
    """The consoles of all machines that somebody reads. Use as `async with`."""

    def __init__(self, open_console: Open) -> None:
        self._open = open_console
        self._shared: dict[str, Shared] = {}
        self._tasks = Apart()

    async def __aenter__(self) -> Consoles:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for shared in list(self._shared.values()):
            if shared.task is not None:
                shared.task.cancel()
        await self._tasks.__aexit__(None, None, None)

    @contextlib.asynccontextmanager
    async def read(self, machine: Machine) -> AsyncIterator[Reader]:
        """Read a machine's console, and type into it."""
        key = machine.id
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = Shared(machine)
            shared.task = self._tasks.create_task(self._keep(shared), f"console {machine.name}")
        shared.machine = machine  # its BMC may be another one since
        reader = Reader(shared)
        shared.readers.add(reader)
        if shared.task is not None and shared.task.done():
            reader.end()
        try:
            yield reader
        finally:
            shared.readers.discard(reader)
            if not shared.readers and self._shared.get(key) is shared:
                del self._shared[key]
                if shared.task is not None:
                    shared.task.cancel()

    async def _keep(self, shared: Shared) -> None:
        """Keep the console open until nobody reads it, or the board turns out to have none."""
        failures = 0
        while True:
            try:
                async for data in self._carried(shared):
                    failures = 0
                    shared.said(data)
                shared.trouble = "the BMC ended it"
            except BmcUnsupported as error:
                shared.trouble = error.message
                log.info("bmc.console-none machine=%s error=%s", shared.machine.name, error.message)
                for reader in shared.readers:
                    reader.end()
                return
            except ProvisionerError as error:
                shared.trouble = error.message
                log.info("bmc.console-lost machine=%s error=%s", shared.machine.name, error.message)
            except Exception as error:  # who reads it is not left alone for a fault of ours
                shared.trouble = cause(error)
                log.exception("bmc.console-lost machine=%s error=%s", shared.machine.name, shared.trouble)
            await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
            failures += 1

    async def _carried(self, shared: Shared) -> AsyncIterator[bytes]:
        line = shared.line = await self._open(shared.machine)
        try:
            async for data in line.output():
                yield data
        finally:
            shared.line = None
            await line.close()


class Lines:
    """Cuts output into lines for people: no escapes, no control characters, bounded."""

    def __init__(self, longest: int = 400) -> None:
        self._longest = longest
        self._text = ""

    def feed(self, data: bytes) -> list[str]:
        """Take output; return the lines that are whole now."""
        self._text = hidden(self._text + data.decode("utf-8", "replace"))
        *whole, self._text = self._text.replace("\r", "\n").split("\n")
        if len(self._text) > self._longest:
            whole.append(self._text)
            self._text = ""
        return [line for text in whole if (line := clean(text, self._longest))]

    def rest(self) -> list[str]:
        """Return what stands without an end: a prompt."""
        text, self._text = self._text, ""
        return [line] if (line := clean(text, self._longest)) else []


def clean(text: str, longest: int) -> str:
    """Take terminal escapes and control characters out of a line."""
    kept: list[str] = []
    escape = ""
    for char in text:
        if escape:
            escape += char
            if _ends(escape) or len(escape) > _LONGEST_ESCAPE:
                escape = ""
        elif char == "\x1b":
            escape = char
        elif char.isprintable():
            kept.append(char)
    return "".join(kept).strip()[:longest]


_LONGEST_ESCAPE = 32


def _ends(escape: str) -> bool:
    """Say whether a terminal escape is whole: ESC and a letter, or ESC [ ... and a letter (ECMA-48)."""
    if len(escape) == 2:
        return escape[1] != "["
    return "@" <= escape[-1] <= "~"
