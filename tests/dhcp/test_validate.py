"""What is wrong with settings is said before anything is served, all of it at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from provisioner.dhcp.sound import between
from provisioner.dhcp.subnets import Dhcp, Mode, Overrides, PortRule, Reservation, Rogue, Subnet
from provisioner.dhcp.v6.subnets import Reservation6, Subnet6
from provisioner.dhcp.validate import faults_of, faults_of_subnets, faults_without_tls
from provisioner.model.boot import Trust, Unknown
from provisioner.settings import docs_of
from tests.dhcp.clients import MAC, OTHER_MAC, subnet

UUID = "4C4C4544-0042-3510-8052-b4c04f4e3132"
OTHER = {"network": "10.1.0.0/24", "pools": ("10.1.0.100-10.1.0.109",), "router": (), "dns": ()}

PROXY: dict[str, Any] = {"mode": Mode.PROXY, "pools": (), "router": (), "dns": (), "domain": ""}


def one(**changes: Any) -> Dhcp:
    """A configuration of one subnet."""
    return Dhcp(subnets=(subnet(**changes),))


def two(first: dict[str, Any], second: dict[str, Any]) -> Dhcp:
    """A configuration of two subnets."""
    return Dhcp(subnets=(subnet(**first), subnet(**{**OTHER, **second})))


def known(*reservations: Reservation, **settings: Any) -> Dhcp:
    """A configuration with reservations."""
    return Dhcp(subnets=(subnet(),), reservations=reservations, **settings)


RIGHT = {
    "nothing at all": Dhcp(),
    "the subnet of the tables": one(),
    "no pool where nobody unknown gets an address": one(unknown=Unknown.IGNORE, pools=()),
    "a proxy": one(mode=Mode.PROXY, pools=(), router=(), dns=(), domain=""),
    "a proxy with a loader of its own": one(
        mode=Mode.PROXY, pools=(), router=(), dns=(), domain="", loader={"efi-arm64": "ipxe-arm64.efi"}
    ),
    "a proxy when it has to be": one(rogue=Rogue.FALLBACK),
    "other servers that may answer": Dhcp(subnets=(subnet(),), allowed_servers=("10.0.0.7",), watch_s=0),
    "reservations only": one(mode=Mode.RESERVATIONS_ONLY, pools=()),
    "quarantine": one(unknown=Unknown.QUARANTINE, quarantine_pools=("10.0.0.200-10.0.0.210",)),
    "two subnets": two({}, {"interface": "eth1"}),
    "a shared network": two({"shared_network": "lab"}, {"shared_network": "lab"}),
    "a relayed subnet beside a direct one": two({}, {"interface": ""}),
    "a pool of one address": one(pools=("10.0.0.7",)),
    "a pool written as a network": one(pools=("10.0.0.64/26",)),
    "a /31 uses both of its addresses": one(network="10.0.0.0/31", pools=("10.0.0.1",), router=(), dns=()),
    "a fixed address": known(Reservation(mac=MAC, address="10.0.0.50", name="node1")),
    "two machines": known(Reservation(mac=MAC, name="node1"), Reservation(mac=OTHER_MAC, name="node2")),
    "the longest name of an interface": one(interface="x" * 15),
    "the longest name of a loader": one(loader={"bios": "x" * 127}),
    "a profile": known(Reservation(mac=MAC, profile="gpu"), profiles={"gpu": Overrides(loader={"efi-x64": "x.efi"})}),
    "a name server that is a machine with a reservation": known(Reservation(mac=MAC, address="10.0.0.2")),
    "the whole of a /31 is for machines": Dhcp(
        subnets=(subnet(network="10.0.0.0/31", pools=("10.0.0.1",), router=(), dns=()),),
        reservations=(Reservation(mac=MAC, address="10.0.0.0"),),
    ),
    "a UUID": known(Reservation(mac=MAC, uuid=UUID)),
    "an option that a reservation has otherwise than its profile": known(
        Reservation(mac=MAC, profile="gpu", options={"tftp-server-name": "b"}),
        profiles={"gpu": Overrides(options={"66": "a"})},
    ),
    "one machine on two switches": Dhcp(
        subnets=(subnet(),),
        ports=(
            PortRule(circuit_id="p1", name="node1", address="10.0.0.50"),
            PortRule(circuit_id="p2", name="node1", address="10.0.0.50"),
        ),
    ),
    "GRUB where only another subnet is a proxy's": Dhcp(
        subnets=(subnet(), subnet(**OTHER | PROXY | {"interface": "eth1"})),
        profiles={"gpu": Overrides(loader={"efi-x64": "grubx64.efi"})},
        reservations=(Reservation(mac=MAC, profile="gpu"), Reservation(mac=OTHER_MAC, loader={"efi-x64": "core.efi"})),
    ),
    "GRUB where nothing is served": one(mode=Mode.OFF, loader={"efi-x64": "grubx64.efi"}),
    "no limit": one(new_per_s=0, port_per_s=0),
    "another port, for tests": Dhcp(server_port=6767),
    "a switch port": Dhcp(subnets=(subnet(),), ports=(PortRule(circuit_id="p1", name="node1"),)),
}


@pytest.mark.parametrize("config", RIGHT.values(), ids=RIGHT.keys())
def test_right(config: Dhcp) -> None:
    assert faults_of(config) == []


NET = "subnet 10.0.0.0/24"
ALREADY = "already: leave one of them out"
NOT_OURS = "mode proxy gives no addresses and no settings, the other server does: leave it out"
WRONG = {
    "a proxy with a domain": (one(**PROXY | {"domain": "a.example"}), f"{NET}: domain: {NOT_OURS}"),
    "a proxy with time servers": (one(**PROXY, ntp=("10.0.0.9",)), f"{NET}: ntp: {NOT_OURS}"),
    "a proxy that is to acknowledge": (one(**PROXY, rapid_commit=True), f"{NET}: rapid_commit: {NOT_OURS}"),
    "GRUB beside another server": (
        one(**PROXY, loader={"efi-x64": "grubx64.efi"}),
        f"{NET}: loader: efi-x64: grubx64.efi does not work beside another DHCP server: name an iPXE loader",
    ),
    "a proxy that falls back to what it is": (
        one(**PROXY, rogue=Rogue.FALLBACK),
        f"{NET}: rogue: fallback makes a proxy of an authoritative subnet, and its mode is proxy: leave it out",
    ),
    "a fallback that gives no addresses to those in quarantine": (
        one(rogue=Rogue.FALLBACK, unknown=Unknown.QUARANTINE, quarantine_pools=("10.0.0.200-10.0.0.210",)),
        f"{NET}: rogue: fallback gives no addresses, and unknown is quarantine, which needs some: report, or discover",
    ),
    "a fallback that sees no wire": (
        one(rogue=Rogue.FALLBACK, interface=""),
        f"{NET}: rogue: fallback needs an interface to see whether the other server is still there",
    ),
    "a fallback with a loader that fails beside another server": (
        one(rogue=Rogue.FALLBACK, loader={"efi-x64": "shimx64.efi"}),
        f"{NET}: loader: rogue is fallback, and efi-x64: shimx64.efi does not work beside another DHCP server: "
        "name an iPXE loader",
    ),
    "a fallback that never asks whether it is over": (
        Dhcp(subnets=(subnet(rogue=Rogue.FALLBACK),), watch_s=0),
        f"{NET}: rogue: fallback ends when the other server is gone, and watch_s 0 never asks",
    ),
    "questions without a pause": (Dhcp(watch_s=1), "watch_s: 1: from 5 to 3600, or 0"),
    "a name for a server that may answer": (Dhcp(allowed_servers=("dhcp1",)), "allowed_servers: "),
    "subnets of one wire that do different things about a rogue server": (
        two({"shared_network": "lab", "rogue": Rogue.FALLBACK}, {"shared_network": "lab"}),
        "subnets 10.0.0.0/24 and 10.1.0.0/24: they share lab, but differ in rogue: change them together",
    ),
    "no network": (one(network=""), "subnets[0]: network: "),
    "host bits set": (one(network="10.0.0.1/24"), "subnet 10.0.0.1/24: network: 10.0.0.1/24 has host bits set"),
    "a proxy with a pool": (one(mode=Mode.PROXY, router=(), dns=()), f"{NET}: pools: mode proxy gives no addresses"),
    "a proxy with settings": (one(mode=Mode.PROXY, pools=(), dns=()), f"{NET}: router: mode proxy gives no addresses"),
    "a proxy in quarantine": (
        one(mode=Mode.PROXY, pools=(), router=(), dns=(), unknown=Unknown.QUARANTINE),
        f"{NET}: unknown: quarantine needs addresses of ours",
    ),
    "reservations only, with a pool": (one(mode=Mode.RESERVATIONS_ONLY), f"{NET}: pools: mode reservations-only"),
    "discovery without a pool": (one(pools=()), f"{NET}: pools: unknown is discover, and there is no pool"),
    "quarantine without a pool": (one(unknown=Unknown.QUARANTINE), f"{NET}: quarantine_pools: unknown is quarantine"),
    "a quarantine that nobody gets into": (
        one(quarantine_pools=("10.0.0.200-10.0.0.210",)),
        f"{NET}: quarantine_pools: unknown is discover, so nobody gets these",
    ),
    "advertisements without an interface": (
        one(interface="", router_advertisements=True),
        f"{NET}: router_advertisements: needs an interface",
    ),
    "a pool outside": (one(pools=("10.1.0.1-10.1.0.5",)), f"{NET}: pools: 10.1.0.1-10.1.0.5: not inside 10.0.0.0/24"),
    "a pool backwards": (one(pools=("10.0.0.9-10.0.0.5",)), f"{NET}: pools: 10.0.0.9-10.0.0.5: ends before it begins"),
    "a pool with the broadcast address": (
        one(pools=("10.0.0.9-10.0.0.255",)),
        "holds the network's own or its broadcast",
    ),
    "a pool with the router": (one(pools=("10.0.0.1-10.0.0.5",)), "holds 10.0.0.1, which is the subnet's router"),
    "a pool with our own address": (
        one(server_address="10.0.0.105"),
        "pools: 10.0.0.100-10.0.0.109: holds 10.0.0.105, which is the subnet's server_address",
    ),
    "pools that overlap": (one(pools=("10.0.0.10-10.0.0.20", "10.0.0.20-10.0.0.30")), "overlap"),
    "pool and quarantine overlap": (
        one(unknown=Unknown.QUARANTINE, quarantine_pools=("10.0.0.105-10.0.0.120",)),
        "overlap",
    ),
    "a pool that is none": (one(pools=("ten",)), f"{NET}: pools: pool 'ten': "),
    "a lease of seconds": (one(lease_s=5), f"{NET}: lease_s: 5: from 60"),
    "an offer for an hour": (one(offer_s=3600), f"{NET}: offer_s: 3600: from 5 to 300"),
    "more spare than there is": (one(known_spare=101), f"{NET}: known_spare: 101"),
    "a port that is none": (one(http_port=70000), f"{NET}: http_port: 70000"),
    "an option that is none": (one(options={"colour": "red"}), f"{NET}: options: 'colour' is no option"),
    "an option that is ours": (one(options={"51": "60"}), f"{NET}: options: option 51 is set by the server itself"),
    "a value of another kind": (one(options={"ntp-servers": "clock.example"}), f"{NET}: options: "),
    "a number that does not fit": (one(options={"interface-mtu": "70000"}), "70000 does not fit into 2 bytes"),
    "a route that is none": (one(routes=("10.9.0.0/16",)), "'10.9.0.0/16' is no route"),
    "a router that is none": (one(router=("gateway",)), f"{NET}: options: "),
    "a search domain that is none": (one(search=("a..b",)), "'a..b' is no domain name"),
    "a group's network": (one(network="224.0.0.0/24", pools=()), "224.0.0.0/24 is no network that machines are on"),
    "our own network": (one(network="127.0.0.0/8", pools=()), "127.0.0.0/8 is no network that machines are on"),
    "all addresses": (one(network="0.0.0.0/0", pools=()), "0.0.0.0/0 is no network that machines are on"),
    "an interface that cannot be": (one(interface="eth0/x"), f"{NET}: interface: 'eth0/x' is none: 1 to 15 characters"),
    "an interface that is too long": (one(interface="x" * 16), "is none: 1 to 15 characters"),
    "an interface that is a folder": (one(interface=".."), "interface: '..' is none"),
    "an architecture that is none": (one(loader={"z80": "x"}), f"{NET}: loader: unknown architecture 'z80'"),
    "a loader whose name is not ASCII": (one(loader={"bios": "größe.0"}), "loader: bios: 'größe.0' cannot be told"),
    "a loader without a name": (one(loader={"bios": ""}), "loader: bios: '' cannot be told to firmware"),
    "a loader whose name is too long": (one(loader={"bios": "x" * 128}), "cannot be told to firmware"),
    "an address of ours that is none": (one(server_address="us"), f"{NET}: server_address: "),
    "networks that overlap": (
        two({}, {"network": "10.0.0.0/16", "interface": "eth1", "pools": ("10.0.9.1",)}),
        "overlap",
    ),
    "the same name twice": (two({"name": "a"}, {"name": "a", "interface": "eth1"}), "both are called a"),
    "two subnets on one wire that do not say so": (two({}, {}), "both on eth0: give them the same shared_network"),
    "a shared network of two modes": (
        two({"shared_network": "lab"}, {"shared_network": "lab", "mode": Mode.OFF}),
        "they share lab, but differ in mode",
    ),
    "routers twice": (one(options={"routers": "10.0.0.99"}), f"options: router writes option 3 {ALREADY}"),
    "name servers twice": (one(options={"6": "10.0.0.99"}), f"options: dns writes option 6 {ALREADY}"),
    "a domain twice": (one(options={"15": "a.example"}), f"options: domain writes option 15 {ALREADY}"),
    "search domains twice": (
        one(search=("a.example",), options={"domain-search": "b.example"}),
        f"options: search writes option 119 {ALREADY}",
    ),
    "time servers twice": (
        one(ntp=("10.0.0.9",), options={"42": "10.0.0.8"}),
        f"options: ntp writes option 42 {ALREADY}",
    ),
    "routes twice": (
        one(routes=("10.9.0.0/16 via 10.0.0.7",), options={"121": "10.8.0.0/16 via 10.0.0.7"}),
        f"options: routes writes option 121 {ALREADY}",
    ),
    "a mask of another network": (
        one(options={"subnet-mask": "255.0.0.0"}),
        f"options: network writes option 1 {ALREADY}",
    ),
    "an option by name and by number": (
        one(options={"66": "a", "tftp-server-name": "b"}),
        "options: 66 and tftp-server-name are one option: leave one of them out",
    ),
    "an option of a profile by name and by number": (
        Dhcp(profiles={"gpu": Overrides(options={"66": "a", "tftp-server-name": "b"})}),
        "profile gpu: options: 66 and tftp-server-name are one option",
    ),
    "an option of a machine by name and by number": (
        known(Reservation(mac=MAC, options={"66": "a", "tftp-server-name": "b"})),
        f"reservation {MAC}: options: 66 and tftp-server-name are one option",
    ),
    "no new machine at once": (one(new_burst=0), f"{NET}: new_burst: 0: from 1 to 2147483647"),
    "no new machine at once on a port": (one(port_burst=0), f"{NET}: port_burst: 0: from 1"),
    "fewer than no machines a second": (one(new_per_s=-5), f"{NET}: new_per_s: -5: from 0"),
    "a number of machines that is none": (one(port_per_s=float("nan")), f"{NET}: port_per_s: nan: from 0"),
    "out of use for less than no time": (one(decline_s=-1), f"{NET}: decline_s: -1: from 1"),
    "a router for less than no time": (one(ra_lifetime_s=-1), f"{NET}: ra_lifetime_s: -1: from 0 to 65535"),
    "a router for longer than can be said": (one(ra_lifetime_s=10**6), f"{NET}: ra_lifetime_s: 1000000: from 0"),
    "no port at all": (Dhcp(server_port=-1), "server_port: -1: from 1 to 65535, and not 4011"),
    "the port that is served anyhow": (Dhcp(server_port=4011), "server_port: 4011: from 1 to 65535, and not 4011"),
    "reservations only, and quarantine": (
        one(mode=Mode.RESERVATIONS_ONLY, pools=(), unknown=Unknown.QUARANTINE),
        f"{NET}: unknown: quarantine needs addresses of ours, and mode reservations-only gives strangers none",
    ),
}


@pytest.mark.parametrize(("config", "fault"), WRONG.values(), ids=WRONG.keys())
def test_wrong(config: Dhcp, fault: str) -> None:
    found = faults_of(config)
    assert [line for line in found if fault in line], found


def test_a_subnet_that_becomes_a_proxy_is_beside_the_profiles() -> None:
    config = Dhcp(profiles={"gpu": Overrides(loader={"efi-x64": "grubx64.efi"})})
    other = subnet(**OTHER | {"interface": "eth1"})
    assert faults_of_subnets([subnet(**PROXY)], [other], config, ()) == []
    assert faults_of_subnets([subnet(**PROXY)], [], config, ()) == [
        "profile gpu: loader: efi-x64: grubx64.efi does not work beside another DHCP server: name an iPXE loader"
    ]


def test_everything_wrong_is_said_at_once() -> None:
    found = faults_of(one(pools=("10.9.0.1", "x"), lease_s=1, offer_s=1, loader={"z80": "x"}))
    assert len(found) >= 4


@pytest.mark.parametrize("kind", [Subnet, PortRule, Overrides, Reservation, Dhcp])
def test_every_setting_is_explained(kind: type) -> None:
    for name, text in docs_of(kind).items():
        assert text.endswith("."), name


UNTRUSTED = {
    "a subnet": (one(https=Trust.FIRMWARE), "subnet 10.0.0.0/24: https: firmware"),
    "a profile": (known(profiles={"gpu": Overrides(https=Trust.IPXE)}), "profile gpu: https: ipxe"),
    "a machine": (known(Reservation(mac=MAC, https=Trust.FIRMWARE)), f"reservation {MAC}: https: firmware"),
    "a subnet of IPv6": (
        Dhcp(subnets6=(Subnet6(network="fd00::/64", https=Trust.FIRMWARE),)),
        "subnet6 fd00::/64: https: firmware",
    ),
    "a machine on it": (
        Dhcp(reservations6=(Reservation6(address="fd00::1", https=Trust.FIRMWARE),)),
        "reservation6 fd00::1: https: firmware",
    ),
}


@pytest.mark.parametrize(("config", "fault"), UNTRUSTED.values(), ids=UNTRUSTED.keys())
def test_https_where_nothing_is_served_by_it(config: Dhcp, fault: str) -> None:
    assert faults_without_tls(config) == [f"{fault}: nothing is served by HTTPS: set http.tls_port"]


def test_nobody_needs_no_https() -> None:
    assert faults_without_tls(known(Reservation(mac=MAC, https=Trust.NOBODY))) == []


class Counting:
    """A subnet that counts how often each of its settings is read."""

    def __init__(self, subnet: Subnet) -> None:
        self._subnet = subnet
        self.reads: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.reads[name] += 1
        return getattr(self._subnet, name)


def test_subnets_are_not_compared_each_with_all() -> None:
    """With 400 subnets that was 4 s of the start."""
    many: list[Any] = [
        Counting(Subnet(network=f"10.0.{number}.0/24", interface=f"eth{number}", shared_network="x" * (number % 2)))
        for number in range(100)
    ]
    assert list(between(many, ("mode", "interface")))
    assert {each.reads["network"] for each in many} == {1}
    assert max(each.reads.total() for each in many[2:]) < 20


OVERLAPPING = {
    "one in another, whatever their order": (("10.0.0.0/24", "10.0.1.0/24", "10.0.0.0/16"), ["0 2", "1 2"]),
    "behind one that lies in the first": (("10.0.0.0/16", "10.0.0.0/24", "10.0.9.0/24"), ["0 1", "0 2"]),
    "the same": (("10.0.0.0/24", "10.0.0.0/24"), ["0 1"]),
    "neighbours": (("10.0.1.0/24", "10.0.0.0/24", "10.0.2.0/23"), []),
    "of the other family": (("fd00::/64", "fd00::/48", "fd01::/64"), ["0 1"]),
}


@pytest.mark.parametrize(("networks", "pairs"), OVERLAPPING.values(), ids=OVERLAPPING.keys())
def test_which_networks_overlap(networks: tuple[str, ...], pairs: list[str]) -> None:
    subnets = [Subnet(network=text, name=str(at)) for at, text in enumerate(networks)]
    assert sorted(between(subnets, ())) == [f"subnets {pair[0]} and {pair[2]}: the networks overlap" for pair in pairs]
