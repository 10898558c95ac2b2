"""The machines' side by HTTPS: our certificate, which names every address that is served, and the root's."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from provisioner.durable import replace
from provisioner.errors import StoreError
from provisioner.store.authority import Authority
from provisioner.store.trouble import hint_for
from provisioner.web.ports import Route

DH_GROUP = """-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""ffdhe2048 (RFC 7919 appendix A.1): for firmware without elliptic curves, EDK2 into 2022."""


class Tls:
    """One server's keys and certificates in `folder`. Blocks. Raises `StoreError`."""

    def __init__(self, folder: Path, addresses: Sequence[str]) -> None:
        self._folder = folder
        self._addresses: tuple[str, ...] = ()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """For every listening socket; connections that come later get the certificate of then."""
        try:
            self.context.load_dh_params(str(_group(folder)))
        except OSError as error:
            raise StoreError(f"{folder}: cannot be written: {error.strerror}", hint=hint_for(folder, error)) from error
        self.root = b""
        """The root's certificate, for whoever wants to trust it."""
        self.name(*addresses)

    def name(self, *addresses: str) -> None:
        """Have the certificate name these addresses, too. Blocks. Raises `StoreError`."""
        if self._addresses and set(addresses) <= set(self._addresses):
            return
        self._addresses = tuple(dict.fromkeys((*self._addresses, *addresses)))
        self.renew(time.time())

    def renew(self, now: float) -> None:
        """Have a new certificate where the one in use nears its end. Blocks. Raises `StoreError`."""
        authority = Authority(self._folder, now)
        if self._addresses:  # a daemon may begin with no subnet
            self.context.load_cert_chain(authority.server_certificate(self._addresses))
        self.root = authority.certificate_file.read_bytes()

    def route(self) -> Route:
        """Where machines get the root's certificate."""

        async def give(_request: web.Request) -> web.Response:
            return web.Response(body=self.root, content_type="application/x-pem-file")

        return Route("GET", "/ca.pem", give)


def _group(folder: Path) -> Path:
    """A file with the group, for OpenSSL reads no other; written where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    file, content = folder / "dh.pem", DH_GROUP.encode()
    if not file.is_file() or file.read_bytes() != content:
        replace(file, content, mode=0o644)
    return file
