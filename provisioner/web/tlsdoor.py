"""Connections whose hands are shaken before an application has them, so that who refuses is seen: asyncio's own server
keeps that to itself."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

log = logging.getLogger(__name__)

HANDSHAKE_S = 20.0
"""Firmware takes a second or two; who takes longer holds a descriptor for nothing."""
FULL_S = 1.0
"""Before another try to accept where no descriptor is left, as asyncio's own server has it."""
Refused = Callable[[str, str], None]
"""Told the address of who shook no hands, and OpenSSL's name of the reason; empty where it just left."""
Application = Callable[[], asyncio.BaseProtocol]


class TlsDoor:
    """Takes connections of one listening socket. `serve` runs until it is cancelled; then the socket is closed."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, application: Application, refused: Refused):
        self._sock, self._context, self._application, self._refused = sock, context, application, refused

    async def serve(self) -> None:
        """Take whoever comes."""
        loop = asyncio.get_running_loop()
        with self._sock:
            async with asyncio.TaskGroup() as greeting:
                while True:
                    try:
                        connection, peer = await loop.sock_accept(self._sock)
                    except OSError as error:
                        log.error("http.accept-failed error=%s", error)
                        await asyncio.sleep(FULL_S)
                    else:
                        greeting.create_task(self._greet(connection, str(peer[0]).removeprefix("::ffff:")))

    async def _greet(self, connection: socket.socket, address: str) -> None:
        """Shake hands; from then on the connection is the application's."""
        guard = _Guard(self._application(), lambda reason: self._refused(address, reason))
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: guard, connection, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S
            )
        except ssl.SSLError as error:
            self._refused(address, error.reason or "")
        except OSError:
            self._refused(address, "")
        except Exception:
            log.exception("http.fault address=%s", address)


class _Guard(asyncio.Protocol):
    """The application's protocol, with an ear for alerts: by TLS 1.3 a client refuses when we have shaken hands."""

    def __init__(self, application: asyncio.BaseProtocol, refused: Callable[[str], None]) -> None:
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
