"""Our own addresses, in a namespace of the test's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.cli.doctor import _own_addresses
from provisioner.dhcp.subnets import Dhcp, Mode, Subnet
from provisioner.dhcp.v6.subnets import Mode6, Subnet6
from provisioner.errors import ListenError
from provisioner.hosts import hosts_for, hosts_of, own_address_towards, settled
from tests.dhcp.netns import inside
from tests.dhcp.wires import Wires, wires

pytestmark = pytest.mark.netns


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Wires]:
    with wires(tmp_path) as it:
        it.add("here")
        it.ip("here", "link", "add", "eth0", "type", "bridge")
        it.ip("here", "addr", "add", "10.44.0.1/24", "dev", "eth0")
        it.ip("here", "addr", "add", "fd43::1/64", "dev", "eth0")
        it.ip("here", "addr", "add", "fd44::1/64", "dev", "eth0")
        it.ip("here", "link", "set", "eth0", "up")
        with inside(it.names["here"]):
            yield it


@pytest.mark.slow
async def test_hosts_of_both_families_are_ready_to_be_listened_on(here: Wires) -> None:
    """The kernel has just begun to look whether our addresses are taken."""
    config = Dhcp(
        subnets=(Subnet(network="10.44.0.0/24", interface="eth0"),),
        subnets6=(Subnet6(network="fd44::/64", interface="eth0"),),
    )
    assert await hosts_of(config) == ["10.44.0.1", "fd44::1"]


RELAYED = {
    "by any interface": ((), ["10.44.0.1", "fd43::1", "fd44::1"]),
    "by the one that is named": (("eth0",), ["10.44.0.1", "fd43::1", "fd44::1"]),
    "by one that has no address": (("eth7",), []),
}


@pytest.mark.parametrize(("named", "hosts"), RELAYED.values(), ids=RELAYED.keys())
async def test_machines_behind_relays_reach_us(here: Wires, named: tuple[str, ...], hosts: list[str]) -> None:
    config = Dhcp(subnets=(Subnet(network="10.9.0.0/24"),), subnets6=(Subnet6(network="fd09::/64"),), interfaces=named)
    assert sorted(await hosts_of(config)) == hosts


async def test_an_address_that_is_not_ours_is_not_waited_for_for_ever(
    here: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.hosts.SETTLE_S", 0.1)
    await settled("fd44::9")


WRONG = {
    "no address in the network": ("fd09::/64", "eth0", "eth0: no address of ours in fd09::/64"),
    "no interface": ("fd44::/64", "eth9", "eth9: no such interface"),
}


@pytest.mark.parametrize(("network", "interface", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong(here: Wires, network: str, interface: str, words: str) -> None:
    with pytest.raises(ListenError, match=words):
        hosts_for(Subnet6(network=network, interface=interface), ())


@pytest.fixture
def several(here: Wires) -> None:
    """More addresses of the interface, of other networks."""
    for address in ("10.45.0.1/24", "10.45.0.2/24"):
        here.ip("here", "addr", "add", address, "dev", "eth0")


OFF, OFF6 = Mode.OFF, Mode6.OFF
PLACES: dict[str, tuple[Subnet | Subnet6, list[str]]] = {
    "all of those in its network": (Subnet(network="10.45.0.0/24", interface="eth0"), ["10.45.0.1", "10.45.0.2"]),
    "the first of its interface, where none is": (Subnet(network="10.9.0.0/24", interface="eth0"), ["10.44.0.1"]),
    "also the one that clients are told": (
        Subnet(network="10.44.0.0/24", interface="eth0", server_address="10.45.0.2"), ["10.45.0.2", "10.44.0.1"],
    ),
    "not one that they are told, and that is another host's": (
        Subnet(network="10.44.0.0/24", interface="eth0", server_address="192.0.2.1"), ["10.44.0.1"],
    ),
    "the same of IPv6": (
        Subnet6(network="fd44::/64", interface="eth0", server_address="2001:db8::1"), ["fd44::1"],
    ),
    "none of its network, and a name for us": (
        Subnet6(network="fd09::/64", interface="eth0", server_address="2001:db8::1"), ["fd44::1"],
    ),
    "a subnet that is off": (Subnet(network="10.9.0.0/24", interface="eth9", mode=OFF), []),
    "one of IPv6 that is off": (Subnet6(network="fd09::/64", interface="eth9", mode=OFF6), []),
}  # fmt: skip


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize(("subnet", "hosts"), PLACES.values(), ids=PLACES.keys())
def test_machines_are_served_where_dhcp_sends_them(subnet: Subnet | Subnet6, hosts: list[str]) -> None:
    assert sorted(hosts_for(subnet, ())) == sorted(hosts)


def test_the_address_that_the_kernel_would_answer_from(here: Wires) -> None:
    assert own_address_towards("10.44.0.9") == "10.44.0.1"
    assert own_address_towards("192.0.2.1") == "127.0.0.1"
    assert own_address_towards("2001:db8::1") == "::1"


@pytest.mark.usefixtures("several")
def test_an_offer_from_any_address_of_an_interface_is_ours_to_doctor() -> None:
    subnet = Subnet(network="10.45.0.0/24", interface="eth0", server_address="192.0.2.1")
    assert _own_addresses("eth0", subnet) == {"10.44.0.1", "10.45.0.1", "10.45.0.2", "192.0.2.1"}
