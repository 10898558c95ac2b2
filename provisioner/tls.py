"""The machines' side by HTTPS: our certificate, which names every address that is served, and the root's."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from pathlib import Path

from provisioner.store.authority import Authority
from provisioner.web.files import document
from provisioner.web.ports import Route


class Tls:
    """One server's keys and certificates in `folder`. Blocks. Raises `StoreError`."""

    def __init__(self, folder: Path, addresses: Sequence[str]) -> None:
        self._folder = folder
        self._addresses: tuple[str, ...] = ()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """For every listening socket; connections that come later get the certificate of then."""
        self.root = b""
        """The root's certificate, for whoever wants to trust it."""
        self.name(*addresses)

    def name(self, *addresses: str) -> None:
        """Have the certificate name these addresses, too. Blocks. Raises `StoreError`."""
        if self._addresses and set(addresses) <= set(self._addresses):
            return
        wanted = tuple(dict.fromkeys((*self._addresses, *addresses)))
        authority = Authority(self._folder, time.time())
        if wanted:  # a daemon may begin with no subnet
            self.context.load_cert_chain(authority.server_certificate(wanted))
        self.root, self._addresses = authority.certificate_file.read_bytes(), wanted

    def route(self) -> Route:
        """Where machines get the root's certificate."""
        return document("/ca.pem", self.root, "application/x-pem-file")
