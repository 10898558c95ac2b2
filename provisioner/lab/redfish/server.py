"""HTTPS in front of the service: one listening socket for each simulated BMC."""

from __future__ import annotations

import json
import secrets
import ssl
import time

from aiohttp import web

from provisioner.errors import ListenError
from provisioner.lab.board import Board
from provisioner.lab.redfish.service import METADATA, Request, Service

GRACE_S = 1.0
"""How long open connections may finish when the board is unplugged."""


class RedfishServer:
    """One BMC's Redfish over TLS."""

    def __init__(self, board: Board) -> None:
        self.service = Service(board, lambda: secrets.token_hex(16))
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Listen; raise `ListenError`. Without a context it speaks plain HTTP."""
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=GRACE_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, ssl_context=context).start()
        except OSError as error:
            await self.close()
            raise ListenError(f"Redfish: {host}:{port}/tcp: {error.strerror}") from error

    @property
    def port(self) -> int:
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        answer = self.service.handle(Request(request.method, request.path, request.headers, body), time.time())
        if answer.body is not None:
            text = json.dumps(answer.body)
            return web.Response(
                status=answer.status, text=text, headers=answer.headers, content_type="application/json"
            )  # fmt: skip
        text = METADATA if answer.headers.get("Content-Type") == "application/xml" else ""
        return web.Response(status=answer.status, text=text or None, headers=answer.headers)
