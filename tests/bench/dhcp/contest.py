"""One round: start a server on fresh state, put a rack of clients on it, stop it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.dhcp import peers
from tests.bench.dhcp.serve import Settings
from tests.bench.dhcp.wire import FIRST, REAL_TIME, Figures, Load, Wire, drive

READY_TRIES = 100
STOP_S = 20.0
SERVERS = {"kea": peers.kea, "dnsmasq": peers.dnsmasq}


@dataclass
class Contest:
    """Where rounds are run."""

    wire: Wire
    program: Path
    folder: Path
    told: dict[str, Any] = field(default_factory=dict)
    """What our server said at the end of its last round."""
    rounds: int = 0

    def fresh(self) -> Path:
        """An empty folder for one round's state."""
        self.rounds += 1
        folder = self.folder / f"round{self.rounds}"
        folder.mkdir()
        return folder

    async def ours(self, load: Load, **settings: Any) -> Figures:
        """A round of our server."""
        folder = self.fresh()
        process = await self.start_ours(state=str(folder / "leases.db"), **settings)
        figures, output = await self._play(process, load)
        self.told = json.loads(output.splitlines()[-1])
        shutil.rmtree(folder)
        return figures

    async def start_ours(self, **settings: Any) -> asyncio.subprocess.Process:
        """Start our server; it is ready."""
        file = self.folder / "settings.json"
        file.write_text(json.dumps(asdict(Settings(interface=self.wire.server_port, **settings))))
        process = await self._start([sys.executable, "-m", "tests.bench.dhcp.serve", str(file)], {})
        assert process.stdout is not None
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"our server did not start; see {self.folder / 'server.log'}")
        return process

    async def peer(self, name: str, load: Load) -> Figures:
        """A round of a peer."""
        folder = self.fresh()
        command, environment = SERVERS[name](self.wire, folder)
        figures, _ = await self._play(await self._start(command, environment), load)
        shutil.rmtree(folder)
        return figures

    async def _start(self, command: list[str], environment: dict[str, str]) -> asyncio.subprocess.Process:
        words = self.wire.command(self.wire.server, *REAL_TIME, *command)
        with (self.folder / "server.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *words, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE, stderr=log
            )

    async def _play(self, process: asyncio.subprocess.Process, load: Load) -> tuple[Figures, bytes]:
        try:
            await self._until_it_answers(process)
            figures = await drive(self.wire, self.program, load)
        finally:
            output = await stop(process)
        if not figures.exchanges:
            raise RuntimeError(f"the server answered nothing; see {self.folder / 'server.log'}")
        return figures, output

    async def _until_it_answers(self, process: asyncio.subprocess.Process) -> None:
        one = Load(window=1, seconds=0.25, clients=1, first=FIRST - 1)
        for _ in range(READY_TRIES):
            if process.returncode is not None:
                raise RuntimeError(f"the server ended with {process.returncode}; see {self.folder / 'server.log'}")
            if (await drive(self.wire, self.program, one)).exchanges:
                return
        raise RuntimeError(f"the server never answered; see {self.folder / 'server.log'}")


async def stop(process: asyncio.subprocess.Process) -> bytes:
    """End a server; what it said."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
    return output


def rate(play: Callable[[], Awaitable[Figures]]) -> Callable[[], Awaitable[float]]:
    """A contender whose figure is exchanges per second."""

    async def figure() -> float:
        return (await play()).per_s

    return figure
