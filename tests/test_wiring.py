"""What joins the parts: the address that a machine reaches us at, and what DHCP is told of machines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.catalog.artifacts import ArtifactStore
from provisioner.catalog.load import Content
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp, Reservation, Subnet
from provisioner.dhcp.v6.identify import Identity
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.dhcp.v6.subnets import Subnet6
from provisioner.errors import NotFoundError
from provisioner.holders import Holders
from provisioner.lifecycle.inputs import Begin
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.registry import Machines
from provisioner.lifecycle.steps import advance
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.boot import BootClient, LocalDisk, Plan, Unknown
from provisioner.model.catalog import Artifact, Bootenv, Kind
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from provisioner.store.artifacts import ArtifactIndex
from provisioner.store.db import Database
from provisioner.wiring import Addresses, KnownMachines, SiteArtifacts, booting, cut_short, how_to_get, reservations
from tests.shipped import catalogue

A, B = Mac("52:54:00:00:00:0a"), Mac("52:54:00:00:00:0b")
NODE = Machine("m1", "node17", State.READY, macs=(A,), uuid="u1", profile="small")
SUBNETS = (
    Subnet(network="10.0.0.0/8", server_address="10.0.0.1"),
    Subnet(network="10.0.8.0/24", server_address="10.0.8.1", http_port=80, unknown=Unknown.IGNORE),
)


def test_our_url_is_the_one_of_the_narrowest_subnet() -> None:
    addresses = Addresses(SUBNETS, lambda _address: "192.0.2.1", 8080)
    assert addresses.base_url("10.0.8.7") == "http://10.0.8.1:80"
    assert addresses.base_url("10.9.9.9") == "http://10.0.0.1:8080"
    assert addresses.base_url("172.16.0.9") == "http://192.0.2.1:8080"
    assert addresses.base_url("not an address") == "http://192.0.2.1:8080"


def test_our_url_by_https() -> None:
    addresses = Addresses(SUBNETS, lambda _address: "fd00::1", 8080, (), 8443)
    assert addresses.tls_url("10.0.8.7") == "https://10.0.8.1:8443"
    assert addresses.tls_url("fd00::7") == "https://[fd00::1]:8443"


def test_the_policy_is_the_subnets() -> None:
    addresses = Addresses(SUBNETS, lambda _address: "192.0.2.1", 8080)
    assert addresses.policy("10.0.8.7").unknown is Unknown.IGNORE
    assert addresses.policy("10.9.9.9").unknown is Unknown.DISCOVER
    assert addresses.policy("").unknown is Unknown.DISCOVER


class NoLeases:
    """A store that holds none: nothing is served in these tests."""

    def save(self, leases: object) -> object:
        raise AssertionError("nothing is saved here")

    async def load(self) -> list[object]:
        return []


def decide(client: BootClient) -> Plan:
    return LocalDisk("nothing boots here")


def test_dhcp_knows_the_machines_that_are_and_forgets_those_that_were() -> None:
    dhcp = DhcpServer(Dhcp(), decide=decide, leases=NoLeases(), observe=lambda _line: None)  # type: ignore[arg-type]
    follow = KnownMachines(dhcp)
    follow(None, NODE)
    follow(NODE, replace(NODE, macs=(B,)))
    follow(replace(NODE, macs=(B,)), None)
    assert reservations(NODE) == {A: Reservation(mac=A, name="node17", uuid="u1", profile="small")}


def test_a_fixed_address_of_the_file_outlives_the_enrolment_of_its_machine() -> None:
    """Enrolling a machine says its name and its UUID; it must not take the address that the file fixed."""
    fixed = Reservation(mac=A, address="10.0.8.7", name="old")
    config = Dhcp(subnets=(Subnet(network="10.0.8.0/24"),), reservations=(fixed,))
    dhcp = DhcpServer(config, decide=decide, leases=NoLeases(), observe=lambda _line: None)  # type: ignore[arg-type]
    follow = KnownMachines(dhcp)
    follow(None, NODE)
    assert dhcp.layers.merged(A) == Reservation(mac=A, address="10.0.8.7", name="node17", uuid="u1", profile="small")
    follow(NODE, None)
    assert dhcp.layers.merged(A) == fixed


def test_how_a_missing_artefact_is_to_be_had() -> None:
    fetched, built = Artifact("iso", "http://x"), Artifact("vmlinuz", build="provisionctl images build discovery")
    given = Artifact("bcd", supplied="boot/bcd of the medium")
    assert [how_to_get("x", "amd64", one) for one in (fetched, built, given)] == [
        "run `provisionctl artifacts fetch x`",
        "run `provisionctl images build discovery`",
        "run `provisionctl artifacts import x/amd64/bcd FILE`: boot/bcd of the medium",
    ]


@pytest.fixture
def content() -> Content:
    """Of the catalogue that we ship, which is not read on a loop that runs."""
    return catalogue().content


async def test_what_a_store_with_nothing_in_it_lacks(tmp_path: Path, content: Content) -> None:
    db = Database(tmp_path / "state.db")
    await db.open()
    shelf = SiteArtifacts(ArtifactStore(tmp_path / "artifacts", ArtifactIndex(db)))
    lacks = {name for name, each in content.bootenvs.items() if shelf.missing(each, next(iter(each.arch), "amd64"))}
    assert set(content.bootenvs) - lacks == {"local"}, "a disk of its own starts without any file of ours"
    assert shelf.missing(content.bootenvs["freebsd-14"], "arm64") == ["freebsd-14 has nothing for arm64, only amd64"]
    await db.close()


CATALOGUE = {
    each.name: each
    for each in (
        Bootenv("discovery", "Discovery", Kind.DISCOVERY, "discovery", {}),
        Bootenv("debian-12", "Debian 12", Kind.IMAGE, "debian", {}, installs_with="discovery"),
        Bootenv("rescue", "Rescue", Kind.RESCUE, "rescue", {}),
    )
}


def bootenv(name: str) -> Bootenv:
    if name not in CATALOGUE:
        raise NotFoundError(f"no bootenv {name}")
    return CATALOGUE[name]


def running(verb: Verb, name: str) -> Machine:
    machine, _ = advance(
        replace(NODE, bmc=BmcAddress(Driver.IPMI, "10.0.0.1", 623, "admin")), Begin("r1", verb, name), 0
    )
    return machine


DEPLOYING = running(Verb.DEPLOY, "debian-12")
BOOTING: dict[str, tuple[Machine, set[str]]] = {
    "what nothing runs": (NODE, set()),
    "an image, with the system that writes it": (DEPLOYING, {"debian-12", "discovery"}),
    "a system by itself": (running(Verb.RESCUE, "rescue"), {"rescue"}),
    "a run of no bootenv is of the discovery system": (running(Verb.INSPECT, ""), {"discovery"}),
    "a bootenv that was taken from the catalogue": (running(Verb.DEPLOY, "gone"), {"gone"}),
    "a run that has ended": (replace(DEPLOYING, run=replace(DEPLOYING.run, outcome="failed")), set()),  # type: ignore[type-var]
}


@pytest.mark.parametrize(("machine", "systems"), BOOTING.values(), ids=BOOTING.keys())
def test_what_a_machine_boots(machine: Machine, systems: set[str]) -> None:
    booted = {name for name in (*CATALOGUE, "gone") if booting([machine], name, bootenv)}
    assert booted == systems


def test_who_boots_is_named() -> None:
    assert booting([DEPLOYING, NODE], "discovery", bootenv) == ["node17"]


def test_our_url_for_ipv6() -> None:
    ours = (Subnet6(network="fd00:8::/64", http_port=80), Subnet6(network="fd00::/16", server_address="fd00::9"))
    addresses = Addresses(SUBNETS, lambda _address: "fd00::1", 8080, ours)
    assert addresses.base_url("fd00:8::7") == "http://[fd00::1]:80"
    assert addresses.base_url("fd00:9::7") == "http://[fd00::9]:8080"
    assert addresses.base_url("10.0.8.7") == "http://10.0.8.1:80"
    assert addresses.policy("fd00:8::7").unknown is Unknown.DISCOVER
    addresses.follow(())
    assert addresses.base_url("fd00:9::7") == "http://[fd00::9]:8080"
    assert addresses.base_url("10.0.8.7") == "http://[fd00::1]:8080"


def test_nobody_holds_an_address_before_the_servers_are_there() -> None:
    holders = Holders()
    assert (holders("10.0.0.7"), holders("fd00::7")) == (None, None)
    holders.v4 = DhcpServer(Dhcp(), decide=decide, leases=NoLeases(), observe=lambda _line: None)  # type: ignore[arg-type]
    holders.v6 = Dhcp6Server(Dhcp(), decide=decide, leases=NoLeases(), observe=lambda _line: None)  # type: ignore[arg-type]
    assert (holders("10.0.0.7"), holders("fd00::7%eth0")) == (None, None)


def test_dhcpv6_knows_what_holds_for_a_hardware_address() -> None:
    dhcp = DhcpServer(Dhcp(), decide=decide, leases=NoLeases(), observe=lambda _line: None)  # type: ignore[arg-type]
    dhcp6 = Dhcp6Server(Dhcp(), decide=decide, leases=NoLeases(), observe=lambda _line: None)  # type: ignore[arg-type]
    dhcp.set_reservation(Reservation(mac=B, name="before"))
    dhcp.follow(dhcp6.know)
    follow = KnownMachines(dhcp)
    who = Identity(bytes.fromhex(A.replace(":", "")), b"duid", A)
    follow(None, NODE)
    known = dhcp6.site.reservations.find(who)
    assert known is not None
    assert (known.name, known.uuid) == ("node17", "u1")
    follow(NODE, None)
    assert dhcp6.site.reservations.find(who) is None
    assert dhcp6.site.reservations.find(who._replace(key=bytes.fromhex(B.replace(":", "")))) is not None


def test_whose_rotation_was_cut_short() -> None:
    address = BmcAddress(Driver.REDFISH, "192.0.2.1", 443, "admin")
    with_bmc = [Machine(f"m{at}", f"node{at}", State.READY, bmc=address) for at in (1, 2)]
    machines = Machines([*with_bmc, Machine("m3", "node3", State.READY)])
    kept = ("bmc/m1", "bmc/m1/next", "bmc/m1/ipmi/next", "bmc/m2", "bmc/m2/made", "bmc/m3/next", "bmc/m4/next")
    assert cut_short(kept, machines) == with_bmc[:1]
