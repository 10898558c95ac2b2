"""A simulated board's SSH server: password logins for the board's users, and the machine's serial console.

The console comes at once, as with OpenBMC, or from the board's own shell (`faults.Fault.CONSOLE_IN_SHELL`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from pathlib import Path

import asyncssh

from provisioner.errors import ListenError
from provisioner.lab.board import Board, Role
from provisioner.lab.faults import Fault

COMMAND = "console"
"""What the board's own shell wants to hear."""
PROMPT = b"bmc> "
READ_BYTES = 4096


def host_key(path: Path) -> str:
    """The board's key; made once, and stays, so that it can be pinned."""
    if not path.exists():
        path.touch(0o600)
        path.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    return str(path)


class _Door(asyncssh.SSHServer):
    """Lets the board's operators and administrators in."""

    def __init__(self, board: Board, guests: set[asyncssh.SSHServerConnection]) -> None:
        self._board = board
        self._guests = guests
        self._guest: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._guest = conn
        self._guests.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._guest is not None:
            self._guests.discard(self._guest)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        account = self._board.accounts.named(username)
        if account is None or account.role not in (Role.OPERATOR, Role.ADMINISTRATOR):
            return False
        return hmac.compare_digest(account.password.encode(), password.encode())


class SshServer:
    """One board's SSH."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._guests: set[asyncssh.SSHServerConnection] = set()

    async def start(self, host: str, port: int, key: str) -> None:
        """Listen, and have Redfish tell of it; raise `ListenError`."""
        try:
            self._acceptor = await asyncssh.create_server(
                lambda: _Door(self._board, self._guests), host, port, server_host_keys=[key],
                process_factory=self._serve, encoding=None, line_editor=False, config=None,
                public_key_auth=False, gss_host=None,
            )  # fmt: skip
        except OSError as error:
            raise ListenError(f"SSH: {host}:{port}/tcp: {error.strerror}") from error
        self._board.ssh_port = port

    async def close(self) -> None:
        """Hang up on everybody."""
        for guest in tuple(self._guests):
            guest.abort()
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        with contextlib.suppress(asyncssh.Error, ConnectionError):
            if not self._board.faults.on(Fault.CONSOLE_IN_SHELL) or await self._asked(process):
                await self._carry(process)
        process.close()

    async def _asked(self, process: asyncssh.SSHServerProcess[bytes]) -> bool:
        """Be the board's shell until somebody asks for the console; false where they leave."""
        line = b""
        process.stdout.write(PROMPT)
        while key := await process.stdin.read(1):
            process.stdout.write(key)
            if key not in b"\r\n":
                line += key
            elif line.strip() == COMMAND.encode():
                return True
            else:
                process.stdout.write(b"\n" + line[:40] + b": unknown command\r\n" + PROMPT)
                line = b""
        return False

    async def _carry(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Show what the machine prints, and type what comes, until the client leaves."""
        console = self._board.chassis.hardware.console
        with console.watch() as printed:
            async with asyncio.TaskGroup() as tasks:
                showing = tasks.create_task(_show(printed, process))
                while True:
                    try:
                        keys = await process.stdin.read(READ_BYTES)
                    except asyncssh.BreakReceived:
                        self._board.chassis.note("serial break")
                        continue
                    if not keys:
                        break
                    console.type(keys)
                showing.cancel()


async def _show(printed: asyncio.Queue[bytes], process: asyncssh.SSHServerProcess[bytes]) -> None:
    with contextlib.suppress(asyncssh.Error, ConnectionError):
        while True:
            process.stdout.write(await printed.get())
            await process.stdout.drain()
