"""How `doctor` fetches loaders: from every place that machines are sent to, the way that their firmware does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

from provisioner.cli.client import Client
from provisioner.cli.doctor_place import Elsewhere, place_of
from provisioner.cli.doctor_probes import Offer, fetch_http, fetch_tftp
from provisioner.cli.finding import Finding, Findings, Level
from provisioner.cli.text import size
from provisioner.config import Config
from provisioner.errors import ProvisionerError

SERVICES = frozenset({"tftp", "http boot"})
"""Listeners of the daemon that serve loaders."""


class Loaders:
    """Fetches from each service at each address once; by HTTPS with the CA of the daemon that is asked."""

    def __init__(self, client: Client, config: Config) -> None:
        self._client, self._config = client, config
        self._tried: set[tuple[str, str]] = set()

    def offered(self, offer: Offer) -> Findings:
        """Fetch what was offered, the way that firmware does, and over HTTP and HTTPS as newer ones do."""
        http, host = self._config.http, offer.next_server
        for service, port in (("tftp", self._config.tftp.port), ("http", http.port), ("https", http.tls_port)):
            if port:
                self._tried.add((service, host))
                yield _judged(service, host, offer.file, self._fetching(service, host, port, offer.file))

    def served(self) -> Findings:
        """Fetch a loader wherever the daemon listens and no offer has led to: machines on record are sent there, too.

        What listens on addresses that are not of this host is asked in the daemon's network namespace, or not at all.
        """
        rows = self._client.get("/v1/loaders")["loaders"]
        smallest = min(rows, key=lambda row: int(row["size_bytes"]), default=None)
        if smallest is None:
            yield Finding(
                Level.WARN, "loaders", "no boot loader is served", "`apt install ipxe`, then `loaders install`"
            )
            return
        name, place = smallest["name"], place_of(self._client.peer())
        for listener in self._client.get("/v1/info")["listeners"]:
            if listener["service"] in SERVICES:
                service, host, port = where(listener["address"])
                if place.entry is not None or (service, host) not in self._tried:
                    ask = partial(place.run, host, self._fetching(service, host, port, name))
                    yield _judged(service, host, name, ask)

    def _fetching(self, service: str, host: str, port: int, name: str) -> Callable[[], int]:
        if service == "tftp":
            return lambda: fetch_tftp(host, name, port)
        url = f"{service}://{f'[{host}]' if ':' in host else host}:{port}/files/{name}"
        return lambda: fetch_http(url, trusted=self._ca if service == "https" else "")

    @cached_property
    def _ca(self) -> str:
        return str(self._client.get("/v1/ca")["pem"])


def where(address: str) -> tuple[str, str, int]:
    """Read where a service listens: `udp 192.0.2.1:69`, `https://192.0.2.1:8443`. Of all addresses one will do."""
    service, _, at = address.replace("://", " ").partition(" ")
    host, _, port = at.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))
    return "tftp" if service == "udp" else service, host, int(port)


def _judged(service: str, host: str, name: str, fetch: Callable[[], int]) -> Finding:
    try:
        got = fetch()
    except Elsewhere as error:
        return Finding(Level.WARN, service, error.message, error.hint)
    except ProvisionerError as error:
        return Finding(Level.FAIL, service, error.message, error.hint)
    return Finding(Level.OK, service, f"{name} from {host}: {size(got)}")
