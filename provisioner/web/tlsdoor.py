"""Connections whose hands are shaken before an application has them, so that who refuses is seen: asyncio's own server
keeps that to itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

HANDSHAKE_S = 20.0
"""Firmware takes a second or two; who takes longer holds a descriptor for nothing."""
FULL_S = 1.0
"""Before another try to accept where no descriptor is left, as asyncio's own server has it."""
COMPLAIN_EVERY_S = 10.0
Refused = Callable[[str], None]
"""Told OpenSSL's name of the reason why somebody shook no hands; empty where it just left."""
Greets = Callable[[str], Refused]
"""Told the address of whoever comes, while that is whose it was; gives who is told where it shakes no hands."""
Application = Callable[[], asyncio.BaseProtocol]


@dataclass(frozen=True, slots=True)
class DoorBounds:
    """How many hands are shaken at once. Each takes 0.3 MiB of ours until it is shaken, and costs its peer nothing."""

    greetings: int = 512
    """160 MiB. Behind them connections wait in the kernel's queue, as long as nobody takes too long."""
    per_address: int = 32
    """A machine opens two or three. More are closed at once, as long as nobody of them takes too long."""
    prompt_s: float = 5.0
    """Who takes longer goes first when another comes: firmware takes a second or two."""


DEFAULT = DoorBounds()


@dataclass(eq=False, slots=True)
class _Greeting:
    """A connection whose hand is being shaken, since `began` on the loop's clock."""

    address: str
    began: float
    refused: Refused
    task: asyncio.Task[None] | None = None
    is_open: bool = False
    """Its task has the connection, and closes it when it is cancelled."""


class TlsDoor:
    """Takes connections of one listening socket. `serve` runs until it is cancelled; then the socket is closed."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        application: Application,
        greets: Greets,
        bounds: DoorBounds = DEFAULT,
    ):
        self._sock, self._context, self._application, self._greets = sock, context, application, greets
        self._bounds = bounds
        self._greetings: dict[_Greeting, None] = {}  # the oldest first, as in each of the others
        self._by_address: dict[str, dict[_Greeting, None]] = {}
        self._left = asyncio.Event()
        self._turned_away, self._complained_at = 0, -COMPLAIN_EVERY_S

    async def serve(self) -> None:
        """Take whoever comes."""
        loop = asyncio.get_running_loop()
        with self._sock:
            async with asyncio.TaskGroup() as group:
                while True:
                    try:
                        connection, peer = await loop.sock_accept(self._sock)
                    except OSError as error:
                        log.error("http.accept-failed error=%s", error)
                        await asyncio.sleep(FULL_S)
                        continue
                    try:
                        await self._room()
                    except asyncio.CancelledError:
                        connection.close()
                        raise
                    self._take(group, connection, str(peer[0]).removeprefix("::ffff:"))

    async def _room(self) -> None:
        """Wait while as many hands are shaken as may be, and none of them takes too long."""
        while len(self._greetings) >= self._bounds.greetings:
            oldest = next(iter(self._greetings))
            if self._end_slow(oldest):
                return
            self._left.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(oldest.began + self._bounds.prompt_s):
                    await self._left.wait()

    def _take(self, group: asyncio.TaskGroup, connection: socket.socket, address: str) -> None:
        mine = self._by_address.setdefault(address, {})
        if len(mine) >= self._bounds.per_address and not self._end_slow(next(iter(mine))):
            connection.close()
            self._complain(address)
            return
        greeting = _Greeting(address, asyncio.get_running_loop().time(), self._greets(address))
        self._greetings[greeting] = self._by_address.setdefault(address, {})[greeting] = None
        greeting.task = group.create_task(self._greet(connection, greeting))
        greeting.task.add_done_callback(lambda _: self._forget(greeting))

    def _end_slow(self, greeting: _Greeting) -> bool:
        """End a greeting that takes too long; say whether it was one."""
        took_s = asyncio.get_running_loop().time() - greeting.began
        if greeting.task is None or not greeting.is_open or took_s < self._bounds.prompt_s:
            return False
        greeting.task.cancel()
        self._forget(greeting)
        self._complain(greeting.address)
        return True

    def _forget(self, greeting: _Greeting) -> None:
        if greeting not in self._greetings:
            return
        del self._greetings[greeting]
        mine = self._by_address[greeting.address]
        del mine[greeting]
        if not mine:
            del self._by_address[greeting.address]
        self._left.set()

    def _complain(self, address: str) -> None:
        """Count who was turned away for others, and log it at most every COMPLAIN_EVERY_S."""
        self._turned_away += 1
        now = asyncio.get_running_loop().time()
        if now - self._complained_at >= COMPLAIN_EVERY_S:
            self._complained_at = now
            log.warning("http.tls-busy client=%s now=%d count=%d", address, len(self._greetings), self._turned_away)

    async def _greet(self, connection: socket.socket, greeting: _Greeting) -> None:
        """Shake hands; from then on the connection is the application's."""
        greeting.is_open = True
        guard = _Guard(self._application(), greeting.refused)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: guard, connection, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S
            )
        except ssl.SSLError as error:
            greeting.refused(error.reason or "")
        except OSError:
            greeting.refused("")
        except Exception:
            log.exception("http.fault address=%s", greeting.address)


class _Guard(asyncio.Protocol):
    """The application's protocol, with an ear for alerts: by TLS 1.3 a client refuses when we have shaken hands."""

    def __init__(self, application: asyncio.BaseProtocol, refused: Refused) -> None:
        assert isinstance(application, asyncio.Protocol)
        self._application, self._refused = application, refused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._application.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._application.data_received(data)

    def eof_received(self) -> bool | None:
        return self._application.eof_received()

    def pause_writing(self) -> None:
        self._application.pause_writing()

    def resume_writing(self) -> None:
        self._application.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell of an alert."""
        if isinstance(error, ssl.SSLError):
            self._refused(error.reason or "")
        self._application.connection_lost(error)
