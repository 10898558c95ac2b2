"""A plan put into DHCP's words: which file or URL this client is told, in which field. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from provisioner.boot.files import url_path
from provisioner.dhcp.identify import Kind
from provisioner.dhcp.packet import address
from provisioner.dhcp.pxe import HTTP_CLIENT
from provisioner.model.boot import Asker, Plan
from provisioner.model.net import Mac


@dataclass(frozen=True, slots=True, eq=False)
class Boot:
    """What a client is told to fetch. Without `name` it gets an address and boots nothing from us.

    Compared by identity: one that is kept (`Net.boots`) keys the option fields that were made for it.
    """

    name: bytes = b""
    siaddr: int = 0
    vendor_class: bytes = b""
    kept: bool = True
    """False: `name` holds the machine's own address, and is not worth keeping."""


NOTHING = Boot()


class Where(NamedTuple):
    """Our side as this client reaches it: address, and port of `scheme` (http or https)."""

    us: int
    port: int
    scheme: str = "http"

    @property
    def base(self) -> str:
        """Our URL, without the slash at its end."""
        return f"{self.scheme}://{address(self.us)}:{self.port}"


def load_file(kind: Kind, name: str, where: Where) -> Boot:
    """Tell firmware to load a file of ours, by the means that it has."""
    if kind.asker is Asker.OS:
        return NOTHING
    if kind.asker is Asker.HTTP:
        url = f"{where.base}/{url_path(name)}"
        return Boot(url.encode("ascii"), where.us, HTTP_CLIENT)
    return Boot(name.encode("ascii"), where.us)


def run_script(kind: Kind, mac: Mac, where: Where) -> Boot:
    """Tell iPXE to run the machine's script; nothing else runs scripts."""
    if kind.asker is not Asker.IPXE:
        return NOTHING
    url = f"{where.base}/boot/{mac}/script.ipxe"
    return Boot(url.encode("ascii"), where.us, kept=False)


def reason_of(plan: Plan, url: bytes) -> str:
    """Say why a client is told to fetch this, and that it comes by HTTPS where it does."""
    return f"{plan.reason}; by HTTPS, as it trusts our CA" if url.startswith(b"https:") else plan.reason
