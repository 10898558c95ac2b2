"""What a site holds: nets, pools and what is fixed, each changed alone."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

from provisioner.dhcp.leases import Lease
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Dhcp, PortRule, Reservation, Subnet
from provisioner.dhcp.topology import Net
from provisioner.model.boot import BootClient, LocalDisk, Plan

SUBNET = Subnet(
    network="10.0.8.0/24", name="lab", pools=("10.0.8.100-10.0.8.110",), quarantine_pools=("10.0.8.120-10.0.8.121",)
)
KEY = bytes.fromhex("525400770011")


class NoLeases:
    """A store that nothing was ever kept in, and that keeps nothing."""

    def save(self, leases: list[Lease], then: object = None) -> asyncio.Future[None]:
        raise AssertionError("nothing is given here")

    async def load(self) -> list[Lease]:
        return []


def decide(client: BootClient) -> Plan:
    return LocalDisk("nothing boots here")


def site() -> Site:
    found = Site(decide)
    found.topology.set(Net(SUBNET))
    return found


def test_an_address_that_is_used_by_others_is_kept_out() -> None:
    here = site()
    (lease,) = here.decline(int(IPv4Address("10.0.8.101")), 5.0, "taken")
    assert (lease.ip, lease.reason) == (int(IPv4Address("10.0.8.101")), "taken")
    (lease,) = here.decline(int(IPv4Address("10.0.8.120")), 5.0, "taken")
    assert lease.ip == int(IPv4Address("10.0.8.120"))
    assert here.decline(int(IPv4Address("192.0.2.1")), 5.0, "taken") == []


def test_the_address_of_a_switch_port_is_kept_for_it_from_the_start() -> None:
    config = Dhcp(subnets=(SUBNET,), ports=(PortRule(circuit_id="p1", address="10.0.8.100"),))
    server = DhcpServer(config, decide=decide, leases=NoLeases(), observe=lambda _line: None)
    pool = next(server.site.pools())
    assert pool.is_fixed(int(IPv4Address("10.0.8.100")))
    assert pool.pick(KEY, 0, 5.0, known=True) == int(IPv4Address("10.0.8.101"))


def test_what_is_fixed_comes_and_goes() -> None:
    here = site()
    here.set_reservation(Reservation(mac="52:54:00:77:00:11", address="10.0.8.5", name="node17"))
    known = here.remove_reservation(KEY)
    assert known is not None
    assert here.remove_reservation(KEY) is None
