"""A daemon for the faults, behind one cable from their world: its settings, artefacts, clock and API."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from provisioner.catalog.artifacts import ArtifactStore
from provisioner.store.artifacts import ArtifactIndex
from provisioner.store.db import Database
from tests.bench.lifecycle.names import HTTP_PORT, PORT, SERVER, TLS_PORT
from tests.bench.lifecycle.wire import Wire, wire
from tests.lifecycle.wired.quiet import quiet

STAND_INS = {
    ("discovery", "amd64", "vmlinuz"): 8 << 10,
    ("discovery", "amd64", "initrd.img"): 16 << 20,  # more than sockets hold: who stops reading is noticed
    ("debian-12", "amd64", "disk.raw.zst"): 1 << 10,
}
LOADERS = ("snponly.efi", "ipxe.efi", "shimx64.efi", "grubx64.efi")
START_S = 60.0
COMMON = {"server_address": SERVER, "dns": [SERVER], "probe": False}
SUBNETS = (
    {"network": "10.96.0.0/15", "interface": PORT, "pools": ["10.97.0.1-10.97.3.254"], **COMMON},
    {"network": "10.98.100.0/24", "pools": ["10.98.100.10-10.98.100.10"], **COMMON},
    {"network": "10.98.101.0/24", "mode": "reservations-only", **COMMON},
)
"""One for whoever is where it belongs; one with a single address; one for reservations; relays may be in none."""


@dataclass
class Site:
    """The daemon and its world, both running."""

    api: aiohttp.ClientSession
    daemon: asyncio.subprocess.Process
    world: asyncio.subprocess.Process

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self.api.request(method, path, json=body) as response:
            said = await response.json()
            assert response.status < 300, said
            return said

    async def quiet(self) -> None:
        """Wait until both ends have done all that there is to do now."""
        await quiet((self.daemon.pid, self.world.pid))

    async def pass_time(self, seconds: float) -> None:
        """Move the clock of both ends on, once nothing waits for anything but time."""
        await self.quiet()
        assert self.daemon.stdin is not None
        assert self.world.stdin is not None
        self.world.stdin.write(f"pass {seconds}\n".encode())
        self.daemon.stdin.write(f"{seconds}\n".encode())

    def late(self, at: int) -> None:
        """Let a machine do what it does late."""
        assert self.world.stdin is not None
        self.world.stdin.write(f"late {at}\n".encode())

    async def hear(self) -> list[str]:
        """Read the next line of the world, in words."""
        assert self.world.stdout is not None
        async with asyncio.timeout(START_S):
            words = (await self.world.stdout.readline()).decode().split()
        assert words, "the world has ended"
        return words


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """Lay the cable, and start both ends."""
    with wire() as it:
        async with AsyncExitStack() as stack:
            config = await prepare(folder)
            words = (sys.executable, "-m", "tests.lifecycle.wired.clocked", "--config", str(config))
            daemon = await stack.enter_async_context(program(it, it.daemon, *words))
            connector = aiohttp.UnixConnector(str(folder / "api.sock"))
            api = await stack.enter_async_context(aiohttp.ClientSession("http://localhost", connector=connector))
            await answers(api, daemon)
            words = (sys.executable, "-m", "tests.lifecycle.wired.world", str(folder))
            world = await stack.enter_async_context(program(it, it.racks, *words))
            found = Site(api, daemon, world)
            assert await found.hear() == ["ready"]
            yield found


@asynccontextmanager
async def program(it: Wire, namespace: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program at one end."""
    command = ["ip", "netns", "exec", namespace, *words]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def answers(api: aiohttp.ClientSession, daemon: asyncio.subprocess.Process) -> None:
    """Wait until the daemon answers."""
    async with asyncio.timeout(START_S):
        while daemon.returncode is None:
            try:
                async with api.get("/v1/machines") as response:
                    await response.read()
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
    raise AssertionError("the daemon did not start")


async def prepare(folder: Path) -> Path:
    """Write the configuration and stand-ins for the artefacts; the configuration's path."""
    settings = {
        "store": {"state_dir": str(folder / "state")},
        "api": {"socket": str(folder / "api.sock")},
        "dhcp": {"subnets": SUBNETS},
        "tftp": {"addresses": [SERVER]},
        "catalogue": {"loaders": [str(folder / "loaders")]},
        "http": {"addresses": [SERVER], "port": HTTP_PORT, "tls_port": TLS_PORT},
        "log": {"level": "error"},
    }
    path = folder / "provisioner.yaml"
    path.write_text(json.dumps(settings))
    (folder / "loaders").mkdir()
    for name in LOADERS:
        (folder / "loaders" / name).write_bytes(name.encode().ljust(20_000, b"\0"))
    db = Database(folder / "state" / "state.db")
    await db.open()
    artifacts = ArtifactStore(folder / "state" / "artifacts", ArtifactIndex(db))
    await artifacts.open()
    for names, size in STAND_INS.items():
        stand_in = folder / "stand-in"
        stand_in.write_bytes("/".join(names).encode().ljust(size, b"\0"))
        await artifacts.import_file(names, stand_in, "stand-in")
    await db.close()
    return path
