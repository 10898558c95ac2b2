"""Where a machine is on the network without asking: the address that its parameters fix for a port. No I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from provisioner.boot.medium import place_of
from provisioner.catalog import nics
from provisioner.errors import RenderError
from provisioner.model.boot import Place
from provisioner.model.facts import Nic
from provisioner.model.net import Mac


def static_place(params: Mapping[str, Any], known: Sequence[Nic], mac: Mac) -> Place | None:
    """Say which IPv4 address `net.interfaces` gives the port with this MAC; None where it is to ask DHCP.

    A port of a bond or with VLANs only has no address before the system that makes them.
    """
    try:
        links = nics.plan(params["net"], known, mac)
    except RenderError:
        return None
    for link in links:
        if link.mac == mac and link.kind is nics.LinkKind.ETHERNET:
            for address in link.addresses:
                if isinstance(address, ipaddress.IPv4Interface):
                    gateway = link.gateway if "." in link.gateway else ""
                    servers = tuple(one for one in params["net"]["dns"]["servers"] if "." in one)
                    return place_of(str(address), gateway, servers)
    return None
