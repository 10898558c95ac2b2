"""The certificate of the daemon's own CA in the operator API: what firmware and loaders have to trust for HTTPS."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from aiohttp import web

from provisioner.boot.trust import der, fingerprint
from provisioner.errors import ConflictError
from provisioner.firstuse import at_hand
from provisioner.web.ports import Route
from provisioner.web.replies import json_reply
from provisioner.web.views import when


class CaView(msgspec.Struct, frozen=True):
    """The root's certificate; `tls_port` is where it is used."""

    pem: str
    sha256: str
    until: str | None
    tls_port: int


class CaApi:
    """Reads the certificate where the machines' side keeps it. `tls_port` 0: nothing is served by HTTPS."""

    def __init__(self, certificate: Path, tls_port: int) -> None:
        self._certificate, self._tls_port = certificate, tls_port

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        return (Route("GET", "/v1/ca", self.show),)

    async def show(self, request: web.Request) -> web.Response:
        """Show the root's certificate."""
        if not self._tls_port:
            raise ConflictError("nothing is served by HTTPS, so there is no CA", hint="set http.tls_port")
        pem = await asyncio.to_thread(self._certificate.read_text)
        await at_hand("provisioner.store.authority")
        from provisioner.store.authority import end_of

        return json_reply(CaView(pem, fingerprint(der(pem)), when(end_of(pem)), self._tls_port))
