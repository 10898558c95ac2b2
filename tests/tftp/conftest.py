"""A server on a loopback port with a handful of files."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from provisioner.boot.files import FileTable, Make, ServedFile
from provisioner.errors import NotFoundError
from provisioner.model.net import Mac, parse_mac
from provisioner.model.trace import TraceLine
from provisioner.tftp.places import Bounds
from provisioner.tftp.server import TftpServer
from provisioner.tftp.trace import Trace

PER_CLIENT = 40
MAC = parse_mac("52:54:00:00:00:17")
SMALL = b"loader\r\n" * 20_000
LARGE = bytes(range(256)) * 12_000


@dataclass
class Served:
    """A running server, and what it said."""

    server: TftpServer
    table: FileTable
    trace: list[TraceLine] = field(default_factory=list)
    leases: dict[str, Mac] = field(default_factory=dict)
    fetched: list[tuple[Mac, str]] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        return self.server.addresses[0]

    def events(self) -> list[str]:
        return [line.event for line in self.trace]

    async def idle(self) -> None:
        """Wait until the last acknowledgements were read."""
        async with asyncio.timeout(10):
            while self.server.transfers:
                await asyncio.sleep(0)


def put(folder: Path, name: str, content: bytes) -> ServedFile:
    path = folder / hashlib.sha256(content).hexdigest()
    path.write_bytes(content)
    return ServedFile(name, path, len(content), path.name)


async def made_for(client: str) -> bytes:
    return f"for {client}\n".encode()


async def not_for(client: str) -> bytes:
    raise NotFoundError(f"{client} has no lease")


async def faulty() -> bytes:
    raise ZeroDivisionError


def render(name: str, client: str) -> Make | None:
    return {
        "grub/grub.cfg": lambda: made_for(client),
        "grub.cfg": lambda: not_for(client),
        "fault": faulty,
    }.get(name)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    files = {"snponly.efi": SMALL, "vmlinuz": LARGE, "empty": b"", "dir/grubx64.efi": b"grub"}
    table = FileTable([put(tmp_path, name, content) for name, content in files.items()])
    trace: list[TraceLine] = []
    leases, fetched = {"127.0.0.1": MAC}, list[tuple[Mac, str]]()
    told = Trace(trace.append, leases.get, fetched=lambda mac, name: fetched.append((mac, name)))
    bounds = Bounds(transfers=100, per_client=PER_CLIENT)
    server = TftpServer([("127.0.0.1", 0), ("::1", 0)], table=table, trace=told, render=render, bounds=bounds)
    await server.start()
    yield Served(server, table, trace, leases, fetched)
    await server.stop()
    assert server.transfers == 0
