"""Which port is which, by what it is, and what is configured on it."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.catalog.nics import Link, LinkKind, declared, plan, primary
from provisioner.errors import RenderError
from provisioner.model.facts import Nic
from provisioner.model.net import Mac

A, B, C, D = (Mac(f"52:54:00:00:00:0{n}") for n in range(1, 5))
NICS = (
    Nic("eth0", A, "igb", True, 1000, "0000:01:00.0", "leaf1", "Eth1"),
    Nic("eth1", B, "igb", False, None, "0000:01:00.1"),
    Nic("eth2", C, "ixgbe", True, 10_000, "0000:02:00.0", "leaf1", "Eth2"),
    Nic("eth3", D, "ixgbe", True, 10_000, "0000:02:00.1", "leaf2", "Eth2"),
)
EMPTY: dict[str, Any] = {"interfaces": [], "bonds": [], "vlans": [], "dns": {"servers": []}}

MATCHED: dict[str, tuple[dict[str, Any], Mac]] = {
    "the one that netboots": ({"boot": True}, A),
    "by MAC": ({"mac": D}, D),
    "by PCI address": ({"pci": "0000:02:00.*"}, C),
    "by driver": ({"driver": "ixgbe"}, C),
    "by name": ({"name": "eth3"}, D),
    "by speed": ({"min_speed": 10_000}, C),
    "by at most a speed": ({"max_speed": 1000}, A),
    "by link": ({"link": False}, B),
    "by the switch it is on": ({"lldp_switch": "leaf2"}, D),
    "by the switch's port": ({"lldp_port": "Eth2"}, C),
    "by several things": ({"driver": "ixgbe", "lldp_switch": "leaf2"}, D),
}


@pytest.mark.parametrize(("match", "mac"), MATCHED.values(), ids=MATCHED.keys())
def test_finds_a_port(match: dict[str, Any], mac: Mac) -> None:
    (link,) = plan(EMPTY | {"interfaces": [{"match": match}]}, NICS, A)
    assert (link.kind, link.mac, link.name, link.named, link.dhcp) == (LinkKind.ETHERNET, mac, "nic0", False, True)


def test_a_port_is_taken_once() -> None:
    match = {"match": {"driver": "ixgbe"}}
    links = plan(EMPTY | {"interfaces": [match, match]}, NICS, A)
    assert [link.mac for link in links] == [C, D]


def test_the_port_that_netboots_is_there_even_without_facts() -> None:
    assert plan(EMPTY | {"interfaces": [{"match": {"boot": True}}]}, (), A)[0].mac == A


def test_an_address_a_gateway_and_routes() -> None:
    item = {
        "name": "lan0",
        "match": {"mac": A},
        "addresses": ["10.0.0.5/24", "fd00::5/64"],
        "gateway": "10.0.0.1",
        "mtu": 9000,
        "routes": [{"to": "10.9.0.0/16", "via": "10.0.0.2"}],
    }
    (link,) = plan(EMPTY | {"interfaces": [item]}, NICS, A)
    assert (link.name, link.named, link.dhcp, link.gateway, link.mtu) == ("lan0", True, False, "10.0.0.1", 9000)
    assert [str(address) for address in link.addresses] == ["10.0.0.5/24", "fd00::5/64"]
    assert (link.routes[0].to, link.routes[0].via) == ("10.9.0.0/16", "10.0.0.2")


def bonded(**more: Any) -> tuple[Link, ...]:
    bond = {"name": "bond0", "match": {"driver": "ixgbe"}} | more
    return plan(
        EMPTY | {"bonds": [bond], "vlans": [{"id": 42, "link": "bond0", "addresses": ["10.42.0.5/24"]}]}, NICS, A
    )


def test_a_bond_with_a_vlan() -> None:
    one, two, bond, vlan = bonded(dhcp=False, mtu=9000)
    assert (one.bond, one.mac, one.dhcp, one.mtu) == ("bond0", C, False, 9000)
    assert bond.members == (one.name, two.name) == ("bond0p0", "bond0p1")
    assert (bond.mode, bond.lacp_rate, bond.hash_policy, bond.dhcp) == ("802.3ad", "fast", "layer3+4", False)
    assert (vlan.kind, vlan.name, vlan.vlan, vlan.parent, vlan.dhcp) == (LinkKind.VLAN, "bond0.42", 42, "bond0", False)


def test_a_bond_that_only_waits_has_no_lacp() -> None:
    bond = bonded(mode="active-backup")[2]
    assert (bond.lacp_rate, bond.hash_policy) == ("", "")


def test_the_default_route_goes_by_the_gateway_or_by_dhcp() -> None:
    dhcp = {"match": {"mac": A}}
    static = {"match": {"mac": C}, "addresses": ["10.0.0.5/24"], "gateway": "10.0.0.1"}
    first = primary(plan(EMPTY | {"interfaces": [dhcp, static]}, NICS, A))
    assert first is not None
    assert first.mac == C
    second = primary(plan(EMPTY | {"interfaces": [{"match": {"mac": D}, "addresses": ["10.1.0.5/24"]}, dhcp]}, NICS, A))
    assert second is not None
    assert second.mac == A
    assert primary(()) is None


def on(mac: Mac, *addresses: str, **more: Any) -> dict[str, Any]:
    return {"match": {"mac": mac}, "addresses": list(addresses)} | more


GATEWAYS: dict[str, dict[str, Any]] = {
    "of IPv6, link-local as routers announce themselves": on(A, "2001:db8::5/64", gateway="fe80::1"),
    "outside of a single address": on(A, "10.0.0.5/32", gateway="192.0.2.1"),
    "outside of one of IPv6": on(A, "2001:db8::5/128", gateway="2001:db8:1::1"),
    "link-local, of a single address of IPv6": on(A, "2001:db8::5/128", gateway="fe80::1"),
    "link-local of IPv4, of a single address": on(A, "10.0.0.5/32", gateway="169.254.1.1"),
    "of IPv6, in the network": on(A, "2001:db8::5/64", gateway="2001:db8::1"),
    "one of two that are alone on their link": on(A, "10.0.0.0/31", gateway="10.0.0.1"),
    "the other of them": on(A, "10.0.0.1/31", gateway="10.0.0.0"),
}


@pytest.mark.parametrize("item", GATEWAYS.values(), ids=GATEWAYS.keys())
def test_takes_a_gateway(item: dict[str, Any]) -> None:
    assert plan(EMPTY | {"interfaces": [item]}, NICS, A)[0].gateway == item["gateway"]


def test_the_other_familys_default_route_is_a_route() -> None:
    item = on(A, "10.0.0.5/24", "fd00::5/64", gateway="10.0.0.1", routes=[{"to": "::/0", "via": "fe80::1"}])
    (link,) = plan(EMPTY | {"interfaces": [item]}, NICS, A)
    assert [(route.to, route.via, route.version) for route in link.routes] == [("::/0", "fe80::1", 6)]


ON_LINK: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a gateway and routers outside of single addresses, each once": (
        on(
            A,
            "10.0.0.5/32",
            "2001:db8::5/128",
            gateway="192.0.2.1",
            routes=[
                {"to": "10.9.0.0/16", "via": "192.0.2.1"},
                {"to": "10.10.0.0/16", "via": "192.0.2.2"},
                {"to": "::/0", "via": "2001:db8:1::1"},
            ],
        ),
        ["192.0.2.1", "192.0.2.2", "2001:db8:1::1"],
    ),
    "one that is link-local is on its link anyway": (on(A, "2001:db8::5/128", gateway="fe80::1"), []),
    "none in a network": (on(A, "10.0.0.5/24", gateway="10.0.0.1"), []),
    "none where one of its addresses has a network": (
        on(A, "10.0.0.5/32", "10.1.0.5/24", gateway="10.1.0.1", routes=[{"to": "10.9.0.0/16", "via": "10.1.0.2"}]),
        [],
    ),
}


@pytest.mark.parametrize(("item", "routers"), ON_LINK.values(), ids=ON_LINK.keys())
def test_routers_that_no_network_holds(item: dict[str, Any], routers: list[str]) -> None:
    assert list(plan(EMPTY | {"interfaces": [item]}, NICS, A)[0].on_link) == routers


def test_each_family_has_a_gateway_of_its_own() -> None:
    items = [on(A, "10.0.0.5/24", gateway="10.0.0.1"), on(B, "fd00::5/64", gateway="fd00::1")]
    assert [link.gateway for link in plan(EMPTY | {"interfaces": items}, NICS, A)] == ["10.0.0.1", "fd00::1"]


def test_what_is_declared_is_known_whatever_else_is_wrong() -> None:
    assert declared(EMPTY | {"interfaces": [on(A, "10.0.0.5/24", "999.1.1.1/24", "fd00::0:5/64")]}) == {
        "10.0.0.5",
        "fd00::5",
    }


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no port fits": (
        {"interfaces": [{"match": {"min_speed": 25_000}}]},
        "net.interfaces[0]: 1 port(s) are wanted, 0 fit: eth0: 1000 Mbit/s is below min_speed; eth1: its speed",
    ),
    "too few for a bond": (
        {"bonds": [{"name": "b", "match": {"driver": "ixgbe"}, "count": 3}]},
        "bond b: 3 port(s) are wanted, 2 fit",
    ),
    "a bond took the port": (
        {"interfaces": [{"match": {"mac": C}}], "bonds": [{"name": "b", "match": {"driver": "ixgbe"}}]},
        "1 port(s) are wanted, 0 fit",
    ),
    "a VLAN on nothing": ({"vlans": [{"id": 1, "link": "x"}]}, "no link is called 'x'"),
    "a VLAN on a bond's member": (
        {"bonds": [{"name": "b", "match": {"driver": "ixgbe"}}], "vlans": [{"id": 1, "link": "bp0"}]},
        "no link is called 'bp0'",
    ),
    "two of a name": (
        {"interfaces": [{"name": "a", "match": {"mac": A}}, {"name": "a", "match": {"mac": B}}]},
        "two links are called a",
    ),
    "a gateway elsewhere": (
        {"interfaces": [{"match": {"mac": A}, "addresses": ["10.0.0.5/24"], "gateway": "10.1.0.1"}]},
        "gateway 10.1.0.1 is in the network of none of its addresses",
    ),
    "no port at all": ({}, "net.interfaces and net.bonds are empty"),
    "the loopback's name": ({"interfaces": [{"match": {"mac": A}, "name": "lo"}]}, "no link can be called lo"),
    "a VLAN's name that is too long": (
        {
            "bonds": [{"name": "storagebond12", "match": {"driver": "ixgbe"}}],
            "vlans": [{"id": 4094, "link": "storagebond12"}],
        },
        "storagebond12.4094 is longer than the 15 characters",
    ),
    **{
        f"an address of no host: {address}": ({"interfaces": [on(A, address)]}, says)
        for address, says in {
            "10.0.0.0/24": "10.0.0.0 is no address of a host: it is that of the network 10.0.0.0/24 itself",
            "10.0.0.255/24": "10.0.0.255 is no address of a host: it is the broadcast address of 10.0.0.0/24",
            "fd00::/64": "fd00:: is no address of a host: it is that of the network fd00::/64 itself",
            "224.0.0.1/24": "is no address of a host",
            "127.0.0.1/32": "is no address of a host",
            "0.0.0.0/32": "is no address of a host",
            "10.0.0.5/99": "'10.0.0.5/99'",
        }.items()
    },
    "a single address as its own gateway": (
        {"interfaces": [on(A, "10.0.0.5/32", gateway="10.0.0.5")]},
        "gateway 10.0.0.5 is its own address",
    ),
    "a gateway of the other family": (
        {"interfaces": [on(A, "10.0.0.5/32", gateway="2001:db8::1")]},
        "gateway 2001:db8::1 is in the network of none",
    ),
    "itself as the gateway": (
        {"interfaces": [on(A, "10.0.0.5/24", gateway="10.0.0.5")]},
        "net: nic0: gateway 10.0.0.5 is its own address",
    ),
    "a link-local gateway without IPv6": (
        {"interfaces": [on(A, "10.0.0.5/24", gateway="fe80::1")]},
        "gateway fe80::1 is in the network of none",
    ),
    "one address twice": (
        {"interfaces": [on(A, "10.0.0.5/24"), on(B, "10.0.0.5/16")]},
        "net: nic0 and nic1 both have the address 10.0.0.5",
    ),
    "two default routes": (
        {
            "interfaces": [
                on(A, "10.0.0.5/24", gateway="10.0.0.1"),
                on(B, "10.1.0.5/24", gateway="10.1.0.1"),
            ]
        },
        "net: nic0 and nic1 both have a gateway",
    ),
    "a name server that is none": (
        {"interfaces": [on(A)], "dns": {"servers": ["10.0.0.1", "999"]}},
        "net.dns.servers: '999' does not appear to be",
    ),
    "an address that is none": (
        {"interfaces": [{"match": {"mac": A}, "addresses": ["10.0.0.500/24"]}]},
        "10.0.0.500/24",
    ),
    "a route from IPv6 to IPv4": (
        {"interfaces": [{"match": {"mac": A}, "routes": [{"to": "fd01::/48", "via": "10.0.0.1"}]}]},
        "one is IPv4 and the other IPv6",
    ),
    "a route of IPv6 where there is none": (
        {
            "interfaces": [
                {"match": {"mac": A}, "addresses": ["10.0.0.5/24"], "routes": [{"to": "fd01::/48", "via": "fd00::1"}]}
            ]
        },
        "a route to fd01::/48, and no address of IPv6",
    ),
    "LACP's rate in a bond without LACP": (
        {"bonds": [{"name": "b", "match": {"driver": "ixgbe"}, "mode": "active-backup", "lacp_rate": "slow"}]},
        "net.bonds: b: lacp_rate means nothing with mode active-backup",
    ),
    "a hash in a bond that hashes nothing": (
        {"bonds": [{"name": "b", "match": {"driver": "ixgbe"}, "mode": "balance-rr", "hash_policy": "layer2"}]},
        "net.bonds: b: hash_policy means nothing with mode balance-rr",
    ),
    "a route to a host's address": (
        {"interfaces": [{"match": {"mac": A}, "routes": [{"to": "10.0.0.1/8", "via": "10.0.0.1"}]}]},
        "has host bits set",
    ),
    "nobody to speak to": (
        {"interfaces": [{"match": {"mac": A}, "dhcp": False}]},
        "no link asks DHCP, and none has an address: the system could never report",
    ),
    "a route by a router elsewhere": (
        {"interfaces": [on(A, "10.0.0.5/24", routes=[{"to": "10.9.0.0/16", "via": "10.1.0.1"}])]},
        "net: nic0: a route to 10.9.0.0/16 via 10.1.0.1, which is in the network of none of its addresses",
    ),
    "a default route beside a gateway": (
        {
            "interfaces": [
                on(A, "10.0.0.5/24", gateway="10.0.0.1"),
                on(B, "10.1.0.5/24", routes=[{"to": "0.0.0.0/0", "via": "10.1.0.1"}]),
            ]
        },
        "net: nic1: a route to 0.0.0.0/0, and nic0 has the default route",
    ),
    "two routes to everywhere": (
        {"interfaces": [on(A, "fd00::5/64", routes=[{"to": "::/0", "via": f"fd00::{n}"} for n in (1, 2)])]},
        "net: nic0: a route to ::/0, and nic0 has the default route",
    ),
    "frames of a VLAN longer than its port's": (
        {"interfaces": [on(A, "10.0.0.5/24", name="a")], "vlans": [{"id": 7, "link": "a", "mtu": 9000}]},
        "net: a.7: mtu 9000 is more than the 1500 of a, which it is on",
    ),
    "an mtu that IPv6 cannot have": (
        {"interfaces": [on(A, "fd00::5/64", mtu=1279)]},
        "net: nic0: IPv6 needs an mtu of 1280 at least",
    ),
    "an mtu of the port below that IPv6 cannot have": (
        {
            "interfaces": [on(A, "10.0.0.5/24", name="a", mtu=600)],
            "vlans": [{"id": 7, "link": "a", "addresses": ["fd00::5/64"]}],
        },
        "net: a.7: IPv6 needs an mtu of 1280 at least",
    ),
}

RIGHT: dict[str, dict[str, Any]] = {
    "a VLAN with the mtu of its port": {
        "interfaces": [on(A, "10.0.0.5/24", name="a", mtu=9000)],
        "vlans": [{"id": 7, "link": "a", "mtu": 9000}],
    },
    "the default route of each family as a route": {
        "interfaces": [
            on(A, "10.0.0.5/24", routes=[{"to": "0.0.0.0/0", "via": "10.0.0.1"}]),
            on(B, "fd00::5/64", routes=[{"to": "::/0", "via": "fe80::1"}]),
        ]
    },
    "a route by a router that DHCP's network may hold": {
        "interfaces": [on(A, dhcp=True, routes=[{"to": "10.9.0.0/16", "via": "10.1.0.1"}])]
    },
    "short frames without IPv6": {"interfaces": [on(A, "10.0.0.5/24", mtu=600)]},
    "one port that is not used": {"interfaces": [on(A, "10.0.0.5/24"), on(B, dhcp=False)]},
}


@pytest.mark.parametrize("params", RIGHT.values(), ids=RIGHT.keys())
def test_takes_what_works(params: dict[str, Any]) -> None:
    assert plan(EMPTY | params, NICS, A)


@pytest.mark.parametrize(("params", "says"), WRONG.values(), ids=WRONG.keys())
def test_refuses(params: dict[str, Any], says: str) -> None:
    with pytest.raises(RenderError) as caught:
        plan(EMPTY | params, NICS, A)
    assert says in str(caught.value)
