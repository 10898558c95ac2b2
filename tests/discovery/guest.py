"""The real discovery system in a machine without firmware, and a daemon that stands in for ours.

The machine reaches nothing but the stand-in: its network is QEMU's own, restricted, with one forwarded address.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from provisioner.discovery.build import cache
from provisioner.lab.accel import QEMU, emulation
from provisioner.lab.daemon import CRYPTO, LAYOUT, TIMER
from tests.lab.driven import KEPT, QUICK, ROOT
from tests.ports import free_port

ADDRESS = "10.0.2.100:8080"
MAC = "52:54:00:77:00:01"
SERIAL = "DISK0"
CHUNK = 1 << 16


@functools.cache  # apt takes 3 s of processor time for a second look
def discovery_system() -> cache.Manifest:
    """Build it, unless it is current, with the kernel that starts in half the time of the lab's."""
    command = [sys.executable, "-m", "provisioner.cli", "images", "build", "discovery", "--kernel", "cloud",
               "--folder", str(QUICK)]  # fmt: skip
    environment = os.environ | {"XDG_CACHE_HOME": str(KEPT)}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    return cache.read_manifest(QUICK / "discovery")


@dataclass
class StandIn:
    """Says what a daemon says. `jobs` are given out in order, each once; then the machine is switched off."""

    jobs: dict[str, str]
    files: dict[str, bytes] = field(default_factory=dict)
    die_after: int | None = None
    """Bytes of a file after which all connections are cut, once, as when the process is killed."""
    away_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    progress: list[dict[str, Any]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    log: str = ""
    look: Callable[[], object] = lambda: None
    """Looks at the machine from outside, when a job has ended."""
    looked: dict[str, object] = field(default_factory=dict)
    """What it saw then."""
    over: frozenset[str] = frozenset()
    """Jobs whose run is over as soon as they say how far they are."""
    deaths: int = 0
    port: int = field(default_factory=free_port)
    _runner: web.AppRunner | None = None
    _rise: asyncio.Task[None] | None = None

    def command(self) -> web.Response:
        """The next command: the first job that did not end, else power off."""
        left = [job for job in self.jobs if job not in self.done]
        text = ("wait 1" if left[0] in self.given else f"run {left[0]}") if left else "poweroff"
        return web.Response(text=text + "\n")

    async def start(self) -> None:
        """Listen, on the same port as before."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_get("/agent/v1/job/{job}", self._job)
        app.router.add_get("/agent/v1/next", self._next)
        app.router.add_get("/files/{name}", self._file)
        app.router.add_post("/agent/v1/{call}", self._post)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Cut every connection."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _job(self, request: web.Request) -> web.Response:
        job = request.match_info["job"]
        if request.headers.get("Authorization") != "Bearer secret" or job in self.given:
            return web.Response(status=401)
        self.given.append(job)
        return web.Response(text=self.jobs[job])

    async def _next(self, request: web.Request) -> web.Response:
        return self.command()

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        match request.match_info["call"]:
            case "facts":
                self.facts = json.loads(body)
                return self.command()
            case "progress":
                if self.over.intersection(self.given[-1:]):
                    return web.Response(status=410)
                self.progress.append(json.loads(body))
            case "log":
                self.log += body.decode()
            case "done":
                said = json.loads(body)
                self.done[said["job"]] = said
                self.looked[said["job"]] = self.look()
                return self.command()
        return web.Response(status=204)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        content = self.files.get(request.match_info["name"])
        if content is None:
            return web.Response(status=404)
        start = request.http_range.start or 0
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        response.content_length = len(content) - start
        await response.prepare(request)
        for at in range(start, len(content), CHUNK):
            if self.die_after is not None and at >= self.die_after:
                self.die_after = None
                self._die(request)
                return response
            await response.write(content[at : at + CHUNK])
        return response

    def _die(self, request: web.Request) -> None:
        self.deaths += 1
        if request.transport is not None:
            request.transport.abort()
        self._rise = asyncio.get_running_loop().create_task(self._die_and_rise())

    async def _die_and_rise(self) -> None:
        await self.stop()
        await asyncio.sleep(self.away_s)
        await self.start()


def command_line(system: cache.Manifest, disk: Path, port: int, memory_mib: int, cpus: int) -> list[str]:
    """QEMU's arguments: kernel and ramdisk straight into memory, one disk, a network that ends at the stand-in."""
    files = {item.name: item.path for item in system.artifacts}
    accelerator = emulation("tests")
    arguments = (
        f"console=ttyS0 quiet panic=-1 {TIMER} {CRYPTO} {LAYOUT} provisioner.url=http://{ADDRESS} "
        f"provisioner.token=secret BOOTIF=01-{MAC.replace(':', '-')}"
    )
    network = f"user,id=n0,restrict=on,guestfwd=tcp:{ADDRESS}-cmd:busybox nc 127.0.0.1 {port}"
    return [
        "setpriv", "--pdeathsig", "KILL", QEMU, "-machine", f"q35,accel={accelerator.name}", "-cpu", accelerator.cpu,
        "-smp", str(cpus), "-m", str(memory_mib), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-serial", "stdio", "-device", "virtio-rng-pci", "-netdev", network,
        "-device", f"virtio-net-pci,netdev=n0,mac={MAC},romfile=",
        "-drive", f"if=none,id=d0,file={disk},format=raw,cache=unsafe,discard=unmap",
        "-device", f"virtio-blk-pci,drive=d0,serial={SERIAL}",
        "-kernel", str(files["vmlinuz"]), "-initrd", str(files["initrd.img"]), "-append", arguments,
    ]  # fmt: skip


@asynccontextmanager
async def listening(daemon: StandIn) -> AsyncIterator[StandIn]:
    """The stand-in, for as long as the block lasts."""
    await daemon.start()
    try:
        yield daemon
    finally:
        await daemon.stop()


async def run_guest(
    system: cache.Manifest, disk: Path, daemon: StandIn, *, memory_mib: int = 512, cpus: int = 1
) -> str:
    """Boot the discovery system and return what it printed, when it has switched itself off."""
    async with listening(daemon):
        arguments = command_line(system, disk, daemon.port, memory_mib, cpus)
        process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
        try:
            assert process.stdout is not None
            return (await process.stdout.read()).decode("utf-8", "replace")
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()
