"""Two network namespaces and a cable: the load generator plays a relay on one end, a server answers on the other."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("dora.c")
RELAY, SERVER = "10.96.0.2", "10.96.0.1"
NETWORK, POOL = "10.96.0.0/14", "10.97.0.0-10.99.255.254"
POOL_SIZE = 196_607
FIRST = 0x10000000
UP_TRIES = 1000
"""The kernel says a moment after both ends are up that the cable is plugged in; Kea does not serve a port before."""
PRIORITY = 10
REAL_TIME = ("chrt", "-r", str(PRIORITY))
"""Load generator and servers alike: what else runs on the machine is then no part of the figures."""


@dataclass(frozen=True, slots=True)
class Wire:
    """The two ends; commands are run in them."""

    client: str = f"dhcpb{os.getpid()}c"
    server: str = f"dhcpb{os.getpid()}s"
    client_port: str = "dbc0"
    server_port: str = "dbs0"

    def command(self, namespace: str, *words: str) -> list[str]:
        """The words, run in a namespace."""
        return ["ip", "netns", "exec", namespace, *words]


@asynccontextmanager
async def wire() -> AsyncIterator[Wire]:
    """Make the namespaces; they go with everything in them."""
    it = Wire()
    for namespace in (it.client, it.server):
        run("ip", "netns", "add", namespace)
    try:
        peer = ("peer", "name", it.server_port, "netns", it.server)
        run("ip", "link", "add", it.client_port, "netns", it.client, "type", "veth", *peer)
        for namespace, port, own in ((it.client, it.client_port, RELAY), (it.server, it.server_port, SERVER)):
            run("ip", "-n", namespace, "addr", "add", f"{own}/14", "dev", port)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("ip", "-n", namespace, "link", "set", port, "up")
        for _ in range(UP_TRIES):
            if '"operstate":"UP"' in run("ip", "-n", it.server, "-j", "link", "show", "dev", it.server_port):
                break
        else:
            raise RuntimeError(f"{it.server_port} has no carrier")
        yield it
    finally:
        for namespace in (it.client, it.server):
            run("ip", "netns", "del", namespace)


def run(*words: str) -> str:
    """Run a short command and give what it says; its error text is the exception's."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def build(folder: Path) -> Path:
    """Compile the load generator."""
    program = folder / "dora"
    run("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(SOURCE))
    return program


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator is asked for."""

    window: int = 64
    seconds: float = 2.0
    clients: int = 150_000
    first: int = FIRST
    record: Path | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What it measured; times in microseconds."""

    exchanges: int
    per_s: float
    p50: float
    p99: float
    offer_p50: float
    offer_p99: float
    offer_max: float
    ack_p50: float
    ack_p99: float
    late: int
    refused: int
    strange: int


async def drive(it: Wire, program: Path, load: Load) -> Figures:
    """Run the load generator to its end."""
    words = [RELAY, SERVER, str(load.window), str(load.seconds), str(load.clients), str(load.first)]
    if load.record is not None:
        words.append(str(load.record))
    process = await start([*it.command(it.client, *REAL_TIME, str(program), *words)])
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"load generator ended with {process.returncode}")
    return Figures(**json.loads(output))


async def start(words: Sequence[str], **more: object) -> asyncio.subprocess.Process:
    """Start a program whose output is read."""
    return await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, **more)  # type: ignore[arg-type]
