"""HTTPS in front of the service: one listening socket for each simulated BMC."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import tempfile
import time
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from provisioner.errors import ListenError
from provisioner.lab.board import Board
from provisioner.lab.redfish.answer import Answer, error_body
from provisioner.lab.redfish.request import Request
from provisioner.lab.redfish.service import METADATA, Service

GRACE_S = 1.0
"""How long open connections may finish when the board is unplugged."""


class _Handler(web.RequestHandler):
    """Refuses methods that HTTP does not know as the specification wants it (DSP0266 section 7.1)."""

    def handle_error(
        self, request: Any, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if not isinstance(exc, BadHttpMethod):
            return super().handle_error(request, status, exc, message)
        response = web.json_response(error_body("OperationNotAllowed", "The method is not known."), status=501)
        response.force_close()
        return response


class _Server(web.Server):
    """Takes requests with our handler."""

    def __call__(self) -> web.RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


class RedfishServer:
    """One BMC's Redfish over TLS."""

    def __init__(self, board: Board) -> None:
        self.service = Service(board, lambda: secrets.token_hex(16))
        self._runner: web.ServerRunner | None = None
        self._context: ssl.SSLContext | None = None

    async def start(self, host: str, port: int, context: ssl.SSLContext | None, certificate: str = "") -> None:
        """Listen; raise `ListenError`. Without a context it speaks plain HTTP; `certificate` is what it shows (PEM)."""
        self.service.board.settings.certificate = certificate
        self._runner = web.ServerRunner(_Server(self._answer, access_log=None), shutdown_timeout=GRACE_S)
        self._context = context
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
        shown = self.service.board.settings.certificate
        asked = Request(request.method, request.path, request.headers, body, tuple(request.query))
        answer = self.service.handle(asked, time.time())
        if self.service.board.settings.certificate != shown:
            await asyncio.to_thread(self._show_certificate)
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.page:
            return web.Response(status=answer.status, text=answer.page, content_type="text/html")
        if answer.body is not None:
            return await self._json(request, answer)
        text = METADATA if answer.headers.get("Content-Type") == "application/xml" else ""
        return web.Response(status=answer.status, text=text or None, headers=answer.headers)

    def _show_certificate(self) -> None:
        """Have new connections see the certificate that was installed."""
        settings = self.service.board.settings
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(settings.key + settings.certificate)
            file.flush()
            if self._context is not None:
                self._context.load_cert_chain(file.name)

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
