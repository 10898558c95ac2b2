"""One round: start a server on fresh state, put a rack of clients on it, stop it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import sysconfig
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.dhcp import peers
from tests.bench.dhcp.changes import change
from tests.bench.dhcp.serve import Settings
from tests.bench.dhcp.wire import FIRST, REAL_TIME, Figures, Load, Wire, drive
from tests.store import disk

PATH = os.pathsep.join((str(Path(__file__).parents[3]), sysconfig.get_paths()["purelib"]))
"""Where our server finds itself and the libraries of the virtual environment."""
READY_TRIES = 100
STOP_S = 20.0
Beside = Callable[[], Coroutine[Any, Any, None]]
"""What goes on while the load runs."""
SERVERS = {"kea": peers.kea, "dnsmasq": peers.dnsmasq}


def interpreter() -> str:
    """The distribution's Python, which is what an installed daemon runs on, where it can use our libraries; else ours.

    The peers are the distribution's builds as well. One compiled by hand without its optimizations is a fifth slower.
    """
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    system = Path(f"/usr/bin/python{ours}")
    return str(system) if system.exists() else sys.executable


@dataclass
class Contest:
    """Where rounds are run."""

    wire: Wire
    program: Path
    folder: Path
    rounds: int = 0

    def fresh(self) -> Path:
        """An empty folder for one round's state."""
        self.rounds += 1
        folder = self.folder / f"round{self.rounds}"
        folder.mkdir()
        return folder

    async def ours(self, load: Load, *, stall_ms: int = 0, **settings: Any) -> Figures:
        """A round of our server, on a disk that takes so much longer for every sync."""
        folder = self.fresh()
        process = await self.start_ours(stall_ms, state_dir=str(folder), **settings)
        figures = await self._play(process, load)
        shutil.rmtree(folder)
        return figures

    async def changed(self, load: Load, *, reservations: int, every_s: float) -> tuple[Figures, list[float]]:
        """A round of our server, with so many reservations of which one is changed that often; how long each took."""
        folder, took_s = self.fresh(), list[float]()
        process = await self.start_ours(state_dir=str(folder), reservations=reservations)
        changing = partial(change, folder, count=reservations, every_s=every_s, took_s=took_s)
        figures = await self._play(process, load, changing)
        shutil.rmtree(folder)
        return figures, took_s

    async def start_ours(self, stall_ms: int = 0, **settings: Any) -> asyncio.subprocess.Process:
        """Start our server; it is ready."""
        environment = {"PYTHONPATH": PATH}
        if stall_ms:
            environment |= disk.environment(disk.build(self.folder), stall_ms=stall_ms)
        file = self.folder / "settings.json"
        file.write_text(json.dumps(asdict(Settings(interface=self.wire.server_port, **settings))))
        process = await self._start([interpreter(), "-m", "tests.bench.dhcp.serve", str(file)], environment)
        assert process.stdout is not None
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"our server did not start; see {self.folder / 'server.log'}")
        return process

    async def peer(self, name: str, load: Load) -> Figures:
        """A round of a peer."""
        folder = self.fresh()
        command, environment = SERVERS[name](self.wire, folder)
        figures = await self._play(await self._start(command, environment), load)
        shutil.rmtree(folder)
        return figures

    async def _start(self, command: list[str], environment: dict[str, str]) -> asyncio.subprocess.Process:
        words = self.wire.command(self.wire.server, *REAL_TIME, *command)
        with (self.folder / "server.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *words, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE, stderr=log
            )

    async def _play(self, process: asyncio.subprocess.Process, load: Load, beside: Beside | None = None) -> Figures:
        try:
            await self._until_it_answers(process)
            async with asyncio.TaskGroup() as group:
                other = group.create_task(beside()) if beside is not None else None
                figures = await drive(self.wire, self.program, load)
                if other is not None:
                    other.cancel()
        finally:
            await stop(process)
        if not figures.exchanges:
            raise RuntimeError(f"the server answered nothing; see {self.folder / 'server.log'}")
        return figures

    async def _until_it_answers(self, process: asyncio.subprocess.Process) -> None:
        one = Load(window=1, seconds=0.25, clients=1, first=FIRST - 1)
        for _ in range(READY_TRIES):
            if process.returncode is not None:
                raise RuntimeError(f"the server ended with {process.returncode}; see {self.folder / 'server.log'}")
            if (await drive(self.wire, self.program, one)).exchanges:
                return
        raise RuntimeError(f"the server never answered; see {self.folder / 'server.log'}")


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a server."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()


def rate(play: Callable[[], Awaitable[Figures]]) -> Callable[[], Awaitable[float]]:
    """A contender whose figure is exchanges per second."""

    async def figure() -> float:
        return (await play()).per_s

    return figure
