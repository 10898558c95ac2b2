"""One HTTP application on one listening socket, bound before anything says "ready"."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from pathlib import Path

from aiohttp import web

from provisioner.errors import ListenError
from provisioner.web.tlsdoor import Refused, TlsDoor

MAX_HEADER_BYTES = 16 * 1024  # a line; iPXE, UEFI and curl send a few hundred octets
DRAIN_S = 1.0
"""How long a stop waits for requests that are under way: event streams and long polls never end by themselves."""
KEEP_ALIVE_S = 30.0
BACKLOG = 1024  # a rack that is switched on at once


class Server:
    """One application on one listening socket."""

    def __init__(self, app: web.Application, *, drain_s: float = DRAIN_S) -> None:
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_S,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            shutdown_timeout=drain_s,
            handler_cancellation=True,
        )
        self.addresses: tuple[str, ...] = ()
        """Where it listens, as people read it."""
        self._file: tuple[Path, int] | None = None
        self._doors = contextlib.AsyncExitStack()
        self.refused: Refused = lambda _address, _reason: None
        """Told of clients that shake no hands by HTTPS; set before it listens."""

    async def listen_unix(self, path: Path, mode: int = 0o660, gid: int = -1) -> None:
        """Serve on a UNIX socket that only its owner and group may open; `gid` -1 leaves the group as it is.

        A socket file that a dead daemon left is replaced; one that somebody answers on is not.
        """
        sock, inode = await asyncio.get_running_loop().run_in_executor(None, _bind_unix, path, mode, gid)
        self._file = (path, inode)
        await self._serve(sock, str(path))

    async def listen_tcp(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Serve on an address of ours; say the port, which differs from `port` only when that was 0."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            raise ListenError(f"HTTP: cannot listen on {host}:{port}: {error.strerror}", hint=_in_use(port)) from error
        bound: int = sock.getsockname()[1]
        scheme = "http" if tls is None else "https"
        await self._serve(sock, f"{scheme}://{f'[{host}]' if ':' in host else host}:{bound}", tls)
        return bound

    async def _serve(self, sock: socket.socket, address: str, tls: ssl.SSLContext | None = None) -> None:
        sock.setblocking(False)
        await self._runner.setup()
        if tls is None:
            await web.SockSite(self._runner, sock, backlog=BACKLOG).start()
        else:
            await self._open_door(sock, tls)
        self.addresses = (*self.addresses, address)

    async def _open_door(self, sock: socket.socket, tls: ssl.SSLContext) -> None:
        application = self._runner.server
        assert application is not None
        sock.listen(BACKLOG)
        group = await self._doors.enter_async_context(asyncio.TaskGroup())
        door = TlsDoor(sock, tls, application, self.refused)
        task = group.create_task(door.serve())
        self._doors.callback(task.cancel)

    async def close(self) -> None:
        """Stop listening, give what is under way `drain_s`, then end it."""
        await self._doors.aclose()
        if self._file is not None:
            await asyncio.get_running_loop().run_in_executor(None, _remove, *self._file)
            self._file = None
        await self._runner.cleanup()


def _in_use(port: int) -> str:
    return f"see who holds it with `ss -ltnp 'sport = :{port}'`, or give another address or port"


def _bind_unix(path: Path, mode: int, gid: int) -> tuple[socket.socket, int]:
    """Bind under another name and rename: there is no moment at which the socket stands open to everybody."""
    if _answers(path):
        raise ListenError(f"{path}: another daemon answers on this socket", hint="stop it, or give another path")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        sock.bind(str(beside))
        beside.chmod(mode)
        if gid != -1:
            os.chown(beside, -1, gid)
        sock.listen(BACKLOG)
        inode = beside.stat().st_ino
        beside.rename(path)
    except OSError as error:
        sock.close()
        raise ListenError(f"{path}: cannot listen on this socket: {error.strerror or error}") from error
    return sock, inode


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _remove(path: Path, inode: int) -> None:
    """Take our socket file away, unless another daemon has put its own there since."""
    try:
        if path.stat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        return
