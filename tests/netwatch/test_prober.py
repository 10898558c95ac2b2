"""Where an address is looked for: on the subnet's own wire, behind routers, or not at all."""

from __future__ import annotations

import asyncio

import pytest

from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Subnet
from provisioner.netwatch.prober import Prober
from provisioner.netwatch.supervisor import Netwatch
from tests.dhcp.clients import US, ip, site, subnet


class Asked(Netwatch):
    """Notes where it is asked to look."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int, int]] = []

    def look(self, interface: str, address: int, us: int = 0) -> asyncio.Future[str]:
        self.asked.append((interface, address, us))
        return super().look(interface, address, us)


def relayed(**more: object) -> Subnet:
    return subnet(network="10.9.0.0/24", interface="", pools=("10.9.0.100-10.9.0.109",), router=(), dns=(), **more)


WHERE = {
    "on its own wire, from our address there": ("10.0.0.100", [("eth0", ip("10.0.0.100"), ip(US))]),
    "on a wire where we have no address": ("10.1.0.100", [("eth1", ip("10.1.0.100"), 0)]),
    "behind a relay, by way of the routers": ("10.9.0.100", [("", ip("10.9.0.100"), 0)]),
    "nowhere, where the subnet says so": ("10.2.0.100", []),
    "nowhere, in no subnet of ours": ("192.0.2.1", []),
}


def here() -> Site:
    other = {"pools": (), "router": (), "dns": (), "domain": ""}
    return site(
        subnet(),
        subnet(network="10.1.0.0/24", interface="eth1", **other),
        subnet(network="10.2.0.0/24", interface="eth0", probe=False, **other),
        relayed(),
    )


@pytest.mark.parametrize(("address", "asked"), WHERE.values(), ids=WHERE.keys())
async def test_where_an_address_is_looked_for(address: str, asked: list[tuple[str, int, int]]) -> None:
    netwatch, where = Asked(), here()
    assert await Prober(netwatch, lambda: where)("eth7", ip(address)) == ""
    assert netwatch.asked == asked


async def test_our_own_addresses_are_in_use() -> None:
    netwatch, where = Asked(), here()
    assert await Prober(netwatch, lambda: where)("eth0", ip(US)) == "this server"
    assert netwatch.asked == []
