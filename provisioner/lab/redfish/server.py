"""HTTPS in front of the service: one listening socket for each simulated BMC."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import time

from aiohttp import web

from provisioner.errors import ListenError
from provisioner.lab.board import Board
from provisioner.lab.redfish.answer import Answer
from provisioner.lab.redfish.request import Request
from provisioner.lab.redfish.service import METADATA, Service

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
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.page:
            return web.Response(status=answer.status, text=answer.page, content_type="text/html")
        if answer.body is not None:
            return await self._json(request, answer)
        text = METADATA if answer.headers.get("Content-Type") == "application/xml" else ""
        return web.Response(status=answer.status, text=text or None, headers=answer.headers)

    async def _json(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        data = json.dumps(answer.body).encode()
        headers = answer.headers | {"Content-Type": "application/json", "Content-Length": str(len(data))}
        if not answer.is_cut:
            return web.Response(status=answer.status, body=data, headers=headers)
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        if request.transport is not None:
            request.transport.abort()
        return response
