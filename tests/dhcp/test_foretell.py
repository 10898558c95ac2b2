"""What a machine would be told, on each link that it may be on, and that nothing of it stays."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from provisioner.dhcp.asking import Ask
from provisioner.dhcp.foretell import Foretold, foretell
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Mode, Reservation, Subnet
from provisioner.dhcp.topology import Net
from provisioner.model.boot import Arch, BootClient, LoadFile, LocalDisk, Plan
from provisioner.model.net import Mac

MAC = Mac("52:54:00:77:00:11")
KEY = bytes.fromhex("525400770011")
NEAR = Subnet(network="10.0.8.0/24", name="near", interface="eth1", pools=("10.0.8.100-10.0.8.110",))
FAR = Subnet(network="10.0.9.0/24", name="far", server_address="10.0.8.1", pools=("10.0.9.100-10.0.9.110",))
OFF = Subnet(network="10.0.10.0/24", name="off", interface="eth2", mode=Mode.OFF)
FULL = Subnet(network="10.0.8.0/24", name="near", interface="eth1")
UEFI = Ask(MAC, Arch.EFI_X64)


def number(address: str) -> int:
    return int(IPv4Address(address))


def site(*subnets: Subnet, fixed: str = "", lease: str = "", relay: str = "") -> Site:
    found = Site(lambda _: LocalDisk("nothing was asked for it"))
    found.addresses = {"eth1": (number("10.0.8.1"),)}
    found.ours = frozenset({number("10.0.8.1")})
    for subnet in subnets:
        found.set_net(Net(subnet))
    found.set_reservation(Reservation(mac=MAC, name="node17", address=fixed))
    if lease:
        given = Lease(number(lease), KEY, "far", 50.0, relay=number(relay) if relay else 0)
        found.topology.take_over([given], 0.0)
    return found


def decide(client: BootClient) -> Plan:
    return LoadFile("snponly.efi", "it is to be installed")


def told(link: str, address: str) -> Foretold:
    return Foretold(link, address, "10.0.8.1", "snponly.efi", "it is to be installed")


CASES: dict[str, tuple[Site, list[Foretold]]] = {
    "a machine that was never seen, on every link": (
        site(NEAR, FAR, OFF), [told("near", "10.0.8.100"), told("far", "10.0.9.100")]),
    "one with a fixed address, on its own": (site(NEAR, FAR, fixed="10.0.8.5"), [told("near", "10.0.8.5")]),
    "one with a lease, where that is": (
        site(NEAR, FAR, lease="10.0.9.103", relay="10.0.9.2"), [told("far", "10.0.9.103")]),
    "no address left": (
        site(FULL), [Foretold("near", reason="no address left in near", silent=True)]),
    "no subnet": (site(), []),
}  # fmt: skip


@pytest.mark.parametrize(("here", "expected"), CASES.values(), ids=CASES.keys())
def test_what_would_be_said(here: Site, expected: list[Foretold]) -> None:
    before = [pool.used(0.0) for pool in here.pools()]
    for _ in range(2):
        assert foretell(here, UEFI, decide, 0.0) == expected
    assert [pool.used(0.0) for pool in here.pools()] == before


def test_what_was_really_offered_is_kept() -> None:
    here = site(NEAR)
    (pool, *_) = here.pools()
    pool.offer(KEY, number("10.0.8.104"), 0.0)
    assert foretell(here, UEFI, decide, 1.0) == [told("near", "10.0.8.104")]
    assert pool.offered(KEY) == number("10.0.8.104")


def test_the_server_decides_as_before() -> None:
    here = site(NEAR)
    foretell(here, UEFI, decide, 0.0)
    assert here.decide(BootClient(MAC, "pxe")) == LocalDisk("nothing was asked for it")  # type: ignore[arg-type]
