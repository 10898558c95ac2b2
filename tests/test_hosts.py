"""Our own addresses, in a namespace of the test's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.dhcp.subnets import Dhcp, Subnet
from provisioner.dhcp.v6.subnets import Subnet6
from provisioner.errors import ListenError
from provisioner.hosts import host6, hosts_of, own_address_towards
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
    config = Dhcp(subnets6=(Subnet6(network="fd44::/64", interface="eth0", server_address="fd44::9"),))
    assert await hosts_of(config) == ["fd44::9"]


WRONG = {
    "no address in the network": ("fd09::/64", "eth0", "eth0: no address of ours in fd09::/64"),
    "no interface": ("fd44::/64", "eth9", "eth9: no such interface"),
}


@pytest.mark.parametrize(("network", "interface", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong(here: Wires, network: str, interface: str, words: str) -> None:
    with pytest.raises(ListenError, match=words):
        host6(Subnet6(network=network, interface=interface))


def test_the_address_that_the_kernel_would_answer_from(here: Wires) -> None:
    assert own_address_towards("10.44.0.9") == "10.44.0.1"
    assert own_address_towards("192.0.2.1") == "127.0.0.1"
    assert own_address_towards("2001:db8::1") == "::1"
