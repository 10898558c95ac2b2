"""A console over SSH: the only home of asyncssh in the daemon. Its exceptions become ours here.

Nothing of the user's own SSH counts: no configuration, no keys, no agent, no list of known hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import asyncssh

from provisioner.bmc.hostkeys import HostKeys
from provisioner.errors import BmcBusy, BmcConsoleRefused, BmcError, BmcNotTrusted, BmcProtocolError, BmcUnreachable

CONNECT_S = 5.0
LOGIN_S = 30.0
"""BMCs have slow processors: the exchange of keys alone takes some of them ten seconds."""
ALIVE_S, ALIVE_MISSED = 20.0, 3
"""A BMC that is gone is noticed after a minute, though a console may be silent for days."""
GOODBYE_S = 5.0
CHUNK_BYTES = 4096
BREAK_MS = 500
TERMINAL, SIZE = "vt100", (80, 24)


@dataclass(frozen=True, slots=True)
class Login:
    """Where, and as whom."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)


class _Client(asyncssh.SSHClient):
    """Judges the host's key, and gives the password once: a second try of the same would count as a failure, too."""

    def __init__(self, login: Login, keys: HostKeys) -> None:
        self._login = login
        self._pinned, self._first_use = keys.pinned(login.host, login.port), keys.first_use
        self._tried = False
        self.shown = ""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = key.get_fingerprint()
        return self.shown == self._pinned if self._pinned else self._first_use

    def password_auth_requested(self) -> str | None:
        return self._once(self._login.password)

    def kbdint_auth_requested(self) -> str | None:
        return self._once("")

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        """Answer the one question that is for the password; others we have no answer to."""
        return [self._login.password] * len(prompts) if len(prompts) <= 1 else None

    def _once(self, answer: str) -> str | None:
        answer_now = None if self._tried else answer
        self._tried = True
        return answer_now

    def distrust(self, where: str) -> BmcNotTrusted:
        """Make the error for a key that is not the one."""
        if not self._pinned:
            hint = "--trust, if this is the BMC's key"
            return BmcNotTrusted(f"{where}: the SSH host key is not known: it shows {self.shown}", hint=hint)
        return BmcNotTrusted(
            f"{where}: the SSH host key is not the one that was pinned: it shows {self.shown}, not {self._pinned}",
            hint="if the BMC made new keys, put it on record again: provisionctl bmc add; if not, somebody listens in",
        )


class SshConsole:
    """An open console (`capabilities.ConsoleLine`)."""

    def __init__(
        self, where: str, connection: asyncssh.SSHClientConnection, process: asyncssh.SSHClientProcess[bytes]
    ) -> None:
        self._where = where
        self._connection = connection
        self._process = process
        self._closed = False

    async def output(self) -> AsyncIterator[bytes]:
        """Yield what the machine prints; end when we close it, raise when it is lost."""
        try:
            while data := await self._process.stdout.read(CHUNK_BYTES):
                yield data
        except (asyncssh.Error, OSError) as error:
            if not self._closed:
                raise BmcUnreachable(f"{self._where}: the console was lost: {error}") from error
        if not self._closed:
            raise BmcUnreachable(f"{self._where}: the BMC ended the console")

    async def type(self, keys: bytes) -> None:
        """Type keys into the machine."""
        with self._lost():
            self._process.stdin.write(keys)
            async with asyncio.timeout(GOODBYE_S):
                await self._process.stdin.drain()

    async def send_break(self) -> None:
        """Send a serial break (RFC 4335)."""
        with self._lost():
            self._process.send_break(BREAK_MS)

    async def close(self) -> None:
        """End the console and the session."""
        self._closed = True
        self._connection.close()
        with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._connection.wait_closed()

    @contextlib.contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except (asyncssh.Error, OSError) as error:  # TimeoutError is one of OSError's
            raise BmcUnreachable(f"{self._where}: the console takes no keys: {error}") from error


async def open_ssh(where: str, login: Login, keys: HostKeys, command: str = "") -> SshConsole:
    """Log in and open the console; `command` is what the board's own shell wants to hear first."""
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    client = _Client(login, keys)
    try:
        connection, _ = await asyncssh.create_connection(
            lambda: client, login.host, login.port, username=login.username, config=None, agent_path=None,
            client_keys=None, known_hosts=([], [], []), gss_host=None, public_key_auth=False, host_based_auth=False,
            preferred_auth="password,keyboard-interactive", connect_timeout=CONNECT_S, login_timeout=LOGIN_S,
            keepalive_interval=ALIVE_S, keepalive_count_max=ALIVE_MISSED,
        )  # fmt: skip
    except asyncssh.HostKeyNotVerifiable as error:
        raise client.distrust(where) from error
    except (asyncssh.Error, OSError) as error:
        raise _failure(f"{where}: SSH to port {login.port}", error) from error
    keys.pin(login.host, login.port, client.shown)
    try:
        async with asyncio.timeout(LOGIN_S):
            process = await connection.create_process(
                term_type=TERMINAL, term_size=SIZE, encoding=None, stderr=asyncssh.STDOUT
            )
            if command:
                process.stdin.write(command.encode() + b"\r")
    except (asyncssh.Error, OSError) as error:
        connection.abort()
        raise _failure(f"{where}: SSH to port {login.port}", error) from error
    except BaseException:
        connection.abort()
        raise
    return SshConsole(where, connection, process)


def _failure(where: str, error: Exception) -> BmcError:
    """Say what an error of asyncssh means to the caller."""
    match error:
        case asyncssh.PermissionDenied():
            return BmcConsoleRefused(
                f"{where}: refused this user or password",
                hint="may the account log in by SSH? Its Redfish may, for all else",
            )
        case asyncssh.ChannelOpenError():
            return BmcBusy(f"{where}: no console is free: {error}")
        case asyncssh.ConnectionLost() | OSError():
            return BmcUnreachable(f"{where}: {error or 'no answer'}", hint="is SSH let through to the BMC?")
        case _:
            return BmcProtocolError(f"{where}: {error}")
