"""What leases of both families say of names, joined to the servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.clock import SteadyClock
from provisioner.ddns.names import DUID, Owner
from provisioner.ddns.settings import Dns
from provisioner.dhcp.layers import Origin
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp, Reservation, Subnet
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.errors import ConfigError
from provisioner.naming import Naming, key_of
from provisioner.store.db import Database
from tests.ddns.bind import KEY
from tests.dhcp.clients import MAC, NOW, chain, ip, subnet
from tests.dhcp.v6.clients import ip as ip6
from tests.dhcp.v6.clients import subnet as subnet6

ETHER = bytes.fromhex(MAC.replace(":", ""))
UUID = "0f7b8c2e-0000-1000-8000-525400000001"
DNS = Dns(server="127.0.0.1", forward=("example", "rack.example"))
SIX = ip6("fd00::100")
ELSEWHERE = subnet(network="10.1.0.0/24", interface="eth1", pools=("10.1.0.100-10.1.0.109",), router=("10.1.0.1",))


BOTH = (("10.0.0.105", 100.0), ("10.1.0.105", 100.0))


class NoLeases:
    def save(self, leases: object, then: object = None) -> asyncio.Future[None]:
        raise AssertionError("nothing is saved here")

    async def load(self) -> list[Lease]:
        return []


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


def server6(*keys: bytes) -> Dhcp6Server:
    """One that has given an address to each of these."""
    made = Dhcp6Server(Dhcp(subnets6=(subnet6(),)), decide=chain, leases=NoLeases(), observe=lambda _line: None)  # type: ignore[arg-type]
    pool = next(iter(made.site.pools()))
    for number, key in enumerate(keys):
        pool.bind(Lease(SIX + number, key, pool.name, NOW + 100, name="then"))
    return made


def server(*subnets: Subnet, leases: Sequence[tuple[str, float]] = BOTH) -> DhcpServer:
    config = Dhcp(subnets=subnets or (subnet(), ELSEWHERE))
    clock = SteadyClock(wall=lambda: NOW, steady=lambda: 0.0)
    made = DhcpServer(config, decide=chain, leases=NoLeases(), observe=lambda _line: None, clock=clock)  # type: ignore[arg-type]
    for address, seconds in leases:
        net = made.site.net_at(ip(address))
        assert net is not None
        net.pool.bind(Lease(ip(address), ETHER, net.pool.name, NOW + seconds, since=NOW + seconds - 100, name="then"))
    return made


async def test_all_addresses_of_a_machine_have_its_name_of_now(db: Database) -> None:
    v4 = server()
    v4.set_reservation(Reservation(mac=MAC, name="now", uuid=UUID), Origin.MACHINE)
    naming = await Naming.of(DNS, db)
    await naming.open(v4)
    await naming.open6(server6(ETHER, ETHER + b"\1"))
    assert naming.keeper is not None
    wanted = naming.keeper._wanted
    assert {value.name for value in wanted.values()} == {"now.rack.example."}
    assert sorted(len(address) for address in wanted) == [4, 4, 16, 16]
    owner = Owner(DUID, bytes.fromhex("0004" + UUID.replace("-", "")))
    assert {value.owner for value in wanted.values()} == {owner}
    v4.set_reservation(Reservation(mac=MAC, name="later", uuid=UUID), Origin.MACHINE)
    assert {value.name for value in wanted.values()} == {"later.rack.example."}
    v4.remove_reservation(v4.layers.page("", 1)[0], Origin.MACHINE)
    assert wanted == {}  # a stranger may call itself anything


LAB = subnet(domain="lab.example")
OLD = replace(ELSEWHERE, domain="old.rack.example")
HERE, THERE = "10.0.0.105", "10.1.0.105"
DOMAINS: dict[str, tuple[list[tuple[str, float]], str, str]] = {
    # IPv4 leases that are there first, each with how long it lasts; the AAAA's name then, and once 10.0.0.105 is given
    "IPv6 comes first, as at every first boot": ([], "now.rack.example.", "now.lab.example."),
    "a lease of last year elsewhere": ([(THERE, -9e6)], "now.rack.example.", "now.lab.example."),
    "a lease elsewhere, which still lasts": ([(THERE, 50.0)], "now.old.rack.example.", "now.lab.example."),
    "the address is there": ([(HERE, 100.0)], "now.lab.example.", "now.lab.example."),
}


@pytest.mark.parametrize(("leases", "first", "then"), DOMAINS.values(), ids=DOMAINS.keys())
async def test_the_addresses_of_both_families_have_one_domain(
    db: Database, leases: list[tuple[str, float]], first: str, then: str
) -> None:
    v4 = server(OLD, LAB, leases=leases)
    v4.set_reservation(Reservation(mac=MAC, name="now"), Origin.MACHINE)
    naming = await Naming.of(replace(DNS, forward=("rack.example", "lab.example")), db)
    await naming.open(v4)
    await naming.open6(server6(ETHER))
    assert naming.keeper is not None
    assert naming.on_lease is not None
    wanted, six = naming.keeper._wanted, SIX.to_bytes(16, "big")
    assert wanted[six].name == first
    given = Lease(ip(HERE), ETHER, LAB.network, NOW + 100, since=NOW)
    net = v4.site.net_at(given.ip)
    assert net is not None
    net.pool.bind(given)
    naming.on_lease(given)
    assert wanted[six].name == wanted[given.ip.to_bytes(4, "big")].name == then


PORT = bytes.fromhex("5254000000aa")


async def test_a_port_that_is_known_by_its_uuid_has_the_name_of_its_machine(db: Database) -> None:
    v4, v6 = server(leases=()), server6()
    given = Lease(ip("10.0.0.105"), PORT, "10.0.0.0/24", NOW + 100, since=NOW, name="then", machine=ETHER)
    given6 = given._replace(ip=SIX, pool="fd00::/64")
    next(iter(v4.site.pools())).bind(given)
    next(iter(v6.site.pools())).bind(given6)
    naming = await Naming.of(DNS, db)
    await naming.open(v4)
    await naming.open6(v6)
    assert naming.keeper is not None
    wanted = naming.keeper._wanted
    assert wanted == {}
    for name in ("now", "later"):
        v4.set_reservation(Reservation(mac=MAC, name=name, uuid=UUID), Origin.MACHINE)
        assert [value.name for value in wanted.values()] == [f"{name}.rack.example."] * 2
    owner = Owner(DUID, bytes.fromhex("0004" + UUID.replace("-", "")))
    assert {value.owner for value in wanted.values()} == {owner}
    assert naming.on_lease is not None
    naming.on_lease(given._replace(machine=b"", key=ETHER[:5] + b"\xbb"))  # the address is a stranger's by now
    assert sorted(map(len, wanted)) == [16]
    v4.remove_reservation(v4.layers.page("", 1)[0], Origin.MACHINE)
    assert wanted == {}


async def test_a_stranger_has_no_name_by_dhcpv6_either(db: Database) -> None:
    naming = await Naming.of(DNS, db)
    await naming.open(server())
    await naming.open6(server6(ETHER))
    assert naming.keeper is not None
    assert naming.keeper._wanted == {}


async def test_without_a_server_nothing_is_done(db: Database) -> None:
    naming = await Naming.of(Dns(), db)
    await naming.open(server())
    await naming.open6(server6(ETHER))
    await naming.run()
    assert (naming.on_lease, naming.on_lease6, naming.keeper) == (None, None, None)


def test_keys(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    key = key_of(Dns(key_file=str(file)))
    assert key is not None
    assert (key.name, key_of(Dns())) == ("provisioner", None)
    with pytest.raises(ConfigError, match="No such file"):
        key_of(Dns(key_file=str(tmp_path / "none")))
