"""One HTTP application on one listening socket, bound before anything says "ready"."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import socket
import ssl
import stat
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from provisioner.errors import ListenError
from provisioner.listening import hint_for, spelled
from provisioner.web.plaindoor import PlainDoor
from provisioner.web.tlsdoor import Greets, TlsDoor

MAX_HEADER_BYTES = 16 * 1024  # a line; iPXE, UEFI and curl send a few hundred octets
MAX_QUERY_BYTES = 1024 * 1024
"""A line of operators: 10,000 names (`lifecycle.selectors`), each as long as one gets, are two thirds of it."""
DRAIN_S = 1.0
"""How long a stop waits for requests that are under way: event streams and long polls never end by themselves."""
KEEP_ALIVE_S = 30.0
"""How long a connection may be idle, before its first request as between others, with TLS as without."""
LINGER_S = 10.0
"""How long what is left of a body is taken and dropped after the answer, so that who sends it comes to read that."""
BACKLOG = 1024  # a rack that is switched on at once


class SocketFile(NamedTuple):
    """A socket file that we made."""

    path: Path
    device: int
    inode: int


class Server:
    """One application on one listening socket."""

    def __init__(self, app: web.Application, *, drain_s: float = DRAIN_S, line_bytes: int = MAX_HEADER_BYTES) -> None:
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGER_S,
            max_line_size=line_bytes,
            max_field_size=MAX_HEADER_BYTES,
            shutdown_timeout=drain_s,
            handler_cancellation=True,
        )
        self.addresses: tuple[str, ...] = ()
        """Where it listens, as people read it."""
        self._file: SocketFile | None = None
        self._doors = contextlib.AsyncExitStack()
        self.greets: Greets = lambda _address: lambda _reason: None
        """Told of clients by HTTPS, and of those that shake no hands; set before it listens."""

    async def listen_unix(self, path: Path, mode: int = 0o660, gid: int = -1) -> None:
        """Serve on a UNIX socket that only its owner and group may open; `gid` -1 leaves the group as it is.

        A socket file that a dead daemon left is replaced; one that somebody answers on is not, and nothing else is.
        """
        sock, self._file = await asyncio.get_running_loop().run_in_executor(None, _bind_unix, path, mode, gid)
        await self._serve(sock, str(path))

    async def listen_tcp(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Serve on an address of ours; say the port, which differs from `port` only when that was 0."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            raise _refused(host, port, error) from error
        bound: int = sock.getsockname()[1]
        scheme = "http" if tls is None else "https"
        await self._serve(sock, f"{scheme}://{spelled(host, bound)}", tls)
        return bound

    async def _serve(self, sock: socket.socket, address: str, tls: ssl.SSLContext | None = None) -> None:
        sock.setblocking(False)
        await self._runner.setup()
        application = self._runner.server
        assert application is not None
        if tls is None:
            door = PlainDoor(sock, application)
            door.open()
            self._doors.callback(door.close)
        else:
            group = await self._doors.enter_async_context(asyncio.TaskGroup())
            task = group.create_task(TlsDoor(sock, tls, application, self.greets).serve())
            self._doors.callback(task.cancel)
        self.addresses = (*self.addresses, address)

    async def close(self) -> None:
        """Stop listening, give what is under way `drain_s`, then end it."""
        await self._doors.aclose()
        if self._file is not None:
            await asyncio.get_running_loop().run_in_executor(None, _remove, self._file)
            self._file = None
        await self._runner.cleanup()


def _refused(host: str, port: int, error: OSError) -> ListenError:
    hint = hint_for(error, "TCP", host, port)
    return ListenError(f"HTTP: cannot listen on {spelled(host, port)}: {error.strerror or error}", hint=hint)


def _bind_unix(path: Path, mode: int, gid: int) -> tuple[socket.socket, SocketFile]:
    """Bind under another name and link: there is no moment at which the socket stands open to everybody, and none at
    which something that came to lie there meanwhile is replaced."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    _clear(path)
    _clear(beside)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            sock.bind(str(beside))
            try:
                beside.chmod(mode)
                if gid != -1:
                    _give(beside, path, gid)
                sock.listen(BACKLOG)
                made = beside.lstat()
                path.hardlink_to(beside)
            finally:
                beside.unlink()
        except OSError as error:
            raise ListenError(f"{path}: cannot listen on this socket: {error.strerror or error}") from error
        undo.pop_all()
    return sock, SocketFile(path, made.st_dev, made.st_ino)


def _give(beside: Path, path: Path, gid: int) -> None:
    try:
        os.chown(beside, -1, gid)
    except OSError as error:
        hint = "the daemon's user has to be in it: `SupplementaryGroups=` of the unit, by `systemctl edit provisioner`"
        message = f"{path}: cannot be given to the group {grp.getgrgid(gid).gr_name}: {error.strerror}"
        raise ListenError(message, hint=hint) from error


def _clear(path: Path) -> None:
    """Take away a socket file that a dead daemon left; raise `ListenError` where anything else lies at this path."""
    if not look_at(path):
        return
    if not _is_dead(path):
        raise ListenError(f"{path}: another daemon answers on this socket", hint="stop it, or give another path")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ListenError(f"{path}: the socket of a dead daemon cannot be taken away: {error.strerror}") from error


def look_at(path: Path) -> bool:
    """Say whether a socket lies at this path; raise `ListenError` where anything else does."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False  # nothing there, or what making the directory tells better
    if stat.S_ISSOCK(mode):
        return True
    kind = "directory" if stat.S_ISDIR(mode) else "symbolic link" if stat.S_ISLNK(mode) else "file"
    raise ListenError(f"{path}: is a {kind} and no socket; it is left as it is", hint="give another path")


def _is_dead(path: Path) -> bool:
    """Say whether nobody listens on a socket: one whose queue is full, or that is of another type, has an owner."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            return False
    return False


def _remove(made: SocketFile) -> None:
    """Take our socket file away, unless something else lies there since."""
    with contextlib.suppress(FileNotFoundError):
        found = made.path.lstat()
        if (found.st_dev, found.st_ino, stat.S_ISSOCK(found.st_mode)) == (made.device, made.inode, True):
            made.path.unlink()
