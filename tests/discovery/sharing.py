"""Machines that share an image: the daemon's side for real, and the shell code of the discovery system around it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from provisioner.boot.chunks import Chunker, ChunkList
from provisioner.discovery.build.ramdisk import RAMDISK
from provisioner.errors import TicketError
from provisioner.web.app import machine_app
from provisioner.web.ports import Route
from provisioner.web.server import Server
from provisioner.web.share import Sharing
from tests.discovery.shell import STRICT
from tests.ports import free_port

CHUNK = 128 * 1024
CONTENT = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(40_000))
SHA = hashlib.sha256(CONTENT).hexdigest()


def listed(content: bytes = CONTENT) -> ChunkList:
    chunker = Chunker(CHUNK)
    chunker.update(content)
    return chunker.finish()


class Origin:
    """Serves CONTENT with ranges, and the fan-out; a machine's token is its name. `sent` counts bytes of content."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.sent = 0
        self.base = ""
        self.away = False
        self.hashes = {SHA}
        """Those that it has a list for: of CONTENT, whatever was asked for."""

    def agent_machine(self, token: str, address: str) -> str:
        if not token.startswith("node"):
            raise TicketError("this token is not good here")
        return token

    async def chunks(self, sha256: str) -> ChunkList | None:
        return listed() if sha256 in self.hashes else None

    async def image(self, request: web.Request) -> web.Response:
        if self.away:
            return web.Response(status=503)
        span = request.http_range
        part = self.content[span]
        self.sent += len(part)
        return web.Response(body=part, status=206 if span.start is not None else 200)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Sharing]:
        sharing = Sharing(self.agent_machine, self.chunks, observe=lambda line: None)
        server = Server(machine_app([*sharing.routes(), Route("GET", "/image", self.image)]), drain_s=0)
        port = await server.listen_tcp("127.0.0.1", 0)
        self.base = f"http://127.0.0.1:{port}"
        try:
            yield sharing
        finally:
            await server.close()


class Machine:
    """One discovery system's shell, with state of its own."""

    def __init__(self, origin: Origin, folder: Path, number: int) -> None:
        self.state = folder / f"node{number}"
        self.port = free_port()
        (self.state / "work").mkdir(parents=True)
        (self.state / "url").write_text(f"{origin.base}\n")
        (self.state / "authorization").write_text(f"Authorization: Bearer node{number}\n")
        self.image = f"{origin.base}/image"

    async def run(self, script: str) -> tuple[int, bytes, str]:
        """Run a script as a job does; its status, what it wrote, what it said."""
        settings = {
            "PROVISIONER_STATE": str(self.state),
            "PROVISIONER_LIB": str(RAMDISK),
            "PROVISIONER_SHARE_PORT": str(self.port),
        }
        process = await asyncio.create_subprocess_exec(
            *STRICT, f". {RAMDISK}/job.sh\n{script}", env=os.environ | settings, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        out, error = await process.communicate()
        return process.returncode or 0, out, error.decode()

    def end(self) -> None:
        """Stop its server, which outlives the job."""
        pid = self.state / "share" / "httpd"
        if pid.exists():
            try:
                os.kill(int(pid.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                return
