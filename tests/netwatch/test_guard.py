"""Rogue servers: real ones on a real wire, and a stand-in for netwatch where only the rules matter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp, Mode, Rogue, Subnet
from provisioner.dhcp.v6.subnets import Mode6, Subnet6
from provisioner.errors import StoreError
from provisioner.model.net import Mac
from provisioner.model.trace import TraceLine
from provisioner.netwatch.guard import Guard
from provisioner.netwatch.messages import Asked, Heard, Heard6, Kind
from provisioner.netwatch.rogues import GONE_AFTER, How
from provisioner.netwatch.supervisor import Netwatch
from tests.dhcp import netns
from tests.dhcp.clients import MAC, US, chain, ip, subnet
from tests.dhcp.v6.clients import subnet as subnet6
from tests.dhcp.v6.wires import add, until_ready
from tests.dhcp.wires import Wires, wires
from tests.netwatch.rig import DNSMASQ, dnsmasq, inside, mac_of, until, watching

EVERY_S = 1.0
"""A server that does not get to run for four of these is gone."""
ROGUE = "10.0.0.66"


class NoLeases:
    """A store that keeps nothing."""

    def save(self, leases: object, then: object = None) -> asyncio.Future[None]:
        saved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        saved.set_result(None)
        return saved

    async def load(self) -> list[Any]:
        return []


class Memory:
    """What outlives the daemon; `refuse` counts writes that fail first."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.refuse = 0

    def _write(self) -> None:
        if self.refuse:
            self.refuse -= 1
            raise StoreError("the disk is full")

    async def load(self) -> Mapping[str, str]:
        return dict(self.rows)

    async def put(self, subnet: str, server: str) -> None:
        self._write()
        self.rows[subnet] = server

    async def remove(self, subnet: str) -> None:
        self._write()
        self.rows.pop(subnet, None)


class Rig:
    """A server, a guard, and what it told."""

    def __init__(
        self, config: Dhcp, netwatch: Netwatch, six: tuple[Subnet6, ...] = (), memory: Memory | None = None
    ) -> None:
        self.lines: list[TraceLine] = []
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.refuse = 0
        self.netwatch = netwatch
        leases: Any = NoLeases()
        self.server = DhcpServer(config, decide=chain, leases=leases, observe=self.lines.append)
        self.server.site.ours = frozenset({ip(US)})
        self.memory = memory if memory is not None else Memory()
        self.guard = Guard(
            self.server,
            netwatch,
            self.tell,
            self.lines.append,
            time.monotonic,
            memory=self.memory,
            subnets6=lambda: six,
        )
        self.server.site.on_other_server = self.guard.chosen

    async def tell(self, kind: str, data: Mapping[str, Any]) -> None:
        if self.refuse:
            self.refuse -= 1
            raise StoreError("the disk is full")
        self.events.append((kind, data))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def mode(self) -> Mode:
        (net,) = self.server.site.topology
        return net.mode

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.guard.run())
            try:
                yield
            finally:
                task.cancel()


SIX = subnet6(router_advertisements=True)


def falling(**more: Any) -> Subnet:
    return subnet(rogue=Rogue.FALLBACK, **more)


# on a wire, against a real server


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Wires]:
    """A server's namespace and another one's, joined."""
    with wires(tmp_path) as it:
        add(it, "server", "other")
        it.cable("server", "eth0", "other", "eth0")
        it.ip("server", "addr", "add", f"{US}/24", "dev", "eth0")
        it.ip("other", "addr", "add", f"{ROGUE}/24", "dev", "eth0")
        until_ready(it, server="eth0", other="eth0")
        yield it


@pytest.mark.netns
@pytest.mark.peer
async def test_a_real_rogue_server_comes_and_goes(lan: Wires) -> None:
    """It is found within one question; we become its proxy; when it is gone, we serve as before."""
    rig = Rig(Dhcp(subnets=(falling(),), watch_s=EVERY_S), Netwatch(command=inside(lan, "server")))
    with netns.inside(lan.names["server"]):
        await rig.server.start()
    async with watching(rig.netwatch), rig.running():
        await until(lambda: not rig.netwatch.fault)
        assert rig.mode() is Mode.AUTHORITATIVE
        dnsmasq(lan, "other", "10.0.0.200", "10.0.0.250")
        await until(lambda: "dhcp.fallback" in rig.kinds())
        assert rig.mode() is Mode.PROXY
        (rogue,) = rig.guard.rogues()
        assert (rogue.server, rogue.mac, rogue.place) == (ROGUE, mac_of(lan, "other"), "eth0")
        lan.running[-1].kill()
        await until(lambda: "dhcp.restored" in rig.kinds())
        assert rig.mode() is Mode.AUTHORITATIVE
    await rig.server.stop()
    assert rig.kinds() == ["dhcp.rogue", "dhcp.fallback", "dhcp.rogue-gone", "dhcp.restored"]
    assert rig.events[0][1] == {
        "server": ROGUE,
        "mac": mac_of(lan, "other"),
        "place": "eth0",
        "subnets": ["10.0.0.0/24"],
        "how": "offered an address",
    }
    assert rig.events[1][1] == {"subnet": "10.0.0.0/24", "server": ROGUE, "mode": "proxy"}


@pytest.mark.netns
@pytest.mark.peer
async def test_a_real_rogue_dhcpv6_server_and_router(lan: Wires) -> None:
    """Its answers go to whoever asked: it is found since we ask; its advertisements go to all."""
    rig = Rig(Dhcp(watch_s=EVERY_S), Netwatch(command=inside(lan, "server")), six=(SIX,))
    lan.ip("other", "addr", "add", "fd00::66/64", "dev", "eth0", "nodad")
    async with watching(rig.netwatch), rig.running():
        await until(lambda: not rig.netwatch.fault)
        both = ("--dhcp-range=fd00::200,fd00::2ff,64", "--enable-ra")
        lan.start("other", "dnsmasq", *DNSMASQ, "--interface=eth0", *both)

        def hows() -> list[How]:
            return sorted(each.how for each in rig.guard.rogues())

        def seen() -> tuple[object, ...]:
            log = (lan.folder / "dnsmasq.log").read_text()
            return rig.guard.rogues(), rig.netwatch.deaf, lan.ip("server", "-6", "addr"), log

        await until(lambda: hows() == [How.ROUTER, How.OFFER6], tell=seen)
        lan.running[-1].kill()
        # nobody can ask a router whether it is still there
        await until(lambda: hows() == [How.ROUTER] and "dhcp.rogue-gone" in rig.kinds(), tell=seen)
    for _, data in rig.events:
        assert (data["place"], data["mac"]) == ("eth0", mac_of(lan, "other"))
    assert rig.events[0][1]["subnets"] == ["fd00::/64"]


# the rules, with a netwatch that runs no process

SERVER_MAC = bytes.fromhex("525400000066")


def heard(kind: Kind = Kind.OFFER, *, server: str = ROGUE, address: str = "10.0.0.200", asked: bool = False) -> Heard:
    client = b"\x02pr\0\0\1" if asked else bytes.fromhex(MAC.replace(":", ""))
    return Heard("eth0", kind, ip(server), SERVER_MAC, client, ip(address), asked)


@pytest.fixture
def rig() -> Rig:
    return Rig(Dhcp(subnets=(falling(),), allowed_servers=("10.0.0.7",)), Netwatch())


async def settle(rig: Rig) -> None:
    """Let the guard do what follows."""
    async with rig.running():
        for _ in range(10):
            await asyncio.sleep(0)


async def test_ours_and_allowed_servers_are_no_rogues(rig: Rig) -> None:
    rig.server.set_subnet(falling(server_address="10.0.0.8"))
    for server in (US, "10.0.0.7", "10.0.0.8"):
        rig.guard.hear(heard(server=server, asked=True))
    rig.guard.chosen("10.0.0.0/24", ip("10.0.0.7"), Mac(MAC))
    assert rig.guard.rogues() == []


@pytest.mark.parametrize("mode", [Mode.PROXY, Mode.RESERVATIONS_ONLY, Mode.OFF])
async def test_where_we_are_not_alone_another_server_is_no_rogue(mode: Mode) -> None:
    rig = Rig(Dhcp(subnets=(subnet(mode=mode),)), Netwatch())
    rig.guard.hear(heard(asked=True))
    rig.guard.chosen("10.0.0.0/24", ip(ROGUE), Mac(MAC))
    assert (rig.guard.rogues(), rig.lines) == ([], [])


HOW = {
    "an offer to us": (heard(asked=True), How.OFFER, True),
    "boot information only": (heard(address="0.0.0.0", asked=True), How.BOOT, False),
    "an offer to somebody else": (heard(), How.OFFER, False),
    "an address that it gave": (heard(Kind.ACK), How.ACK, False),
    "a refusal": (heard(Kind.NAK, address="0.0.0.0"), How.NAK, False),
}


@pytest.mark.parametrize(("what", "how", "falls"), HOW.values(), ids=HOW.keys())
async def test_what_makes_a_rogue_and_what_makes_us_its_proxy(rig: Rig, what: Heard, how: How, falls: bool) -> None:
    """Only who gives addresses to us, too, can have us as a proxy: any machine can make up what others are told."""
    rig.guard.hear(what)
    await settle(rig)
    assert rig.events[0] == (
        "dhcp.rogue",
        {
            "server": ROGUE,
            "mac": "52:54:00:00:00:66",
            "place": "eth0",
            "subnets": ["10.0.0.0/24"],
            "how": str(how),
        },
    )
    assert (rig.mode() is Mode.PROXY) is falls
    assert rig.guard.fallen() == ({"10.0.0.0/24": ROGUE} if falls else {})


async def test_a_machine_that_chose_another_server_tells_of_it(rig: Rig) -> None:
    rig.guard.chosen("10.0.0.0/24", ip(ROGUE), Mac(MAC))
    await settle(rig)
    assert rig.kinds() == ["dhcp.rogue"]
    (rogue,) = rig.guard.rogues()
    assert (rogue.place, rogue.how, rogue.answers) == ("eth0", How.CHOSEN, False)


async def test_report_only_reports() -> None:
    rig = Rig(Dhcp(subnets=(subnet(),)), Netwatch())
    rig.guard.hear(heard(asked=True))
    await settle(rig)
    assert (rig.kinds(), rig.mode()) == (["dhcp.rogue"], Mode.AUTHORITATIVE)


async def test_what_a_rogue_tells_a_machine_is_in_its_trace_and_bounded(rig: Rig) -> None:
    for kind in (Kind.OFFER, Kind.ACK, *[Kind.OFFER] * 100):
        rig.guard.hear(heard(kind))
    assert [line.text for line in rig.lines[:2]] == [
        "another DHCP server, 10.0.0.66 (52:54:00:00:00:66), offers it 10.0.0.200",
        "another DHCP server, 10.0.0.66 (52:54:00:00:00:66), gave it 10.0.0.200",
    ]
    assert {(line.event, line.mac, line.ok) for line in rig.lines} == {("dhcp.other-server", Mac(MAC), False)}
    assert len(rig.lines) == 4


async def test_an_outbox_that_is_full_is_tried_again_and_nothing_is_lost(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.netwatch.guard.SOON_S", 0.0)
    rig.refuse, rig.memory.refuse = 3, 2
    rig.guard.hear(heard(asked=True))
    await settle(rig)
    assert rig.kinds() == ["dhcp.rogue", "dhcp.fallback"]
    assert rig.memory.rows == {"10.0.0.0/24": ROGUE}


async def test_a_subnet_that_is_added_is_watched_at_once(rig: Rig) -> None:
    async with rig.running():
        await asyncio.sleep(0)
        rig.server.set_subnet(subnet(network="10.1.0.0/24", interface="eth1", pools=(), router=(), dns=()))
        rig.guard.changed(rig.server.subnets())
        await until(lambda: rig.netwatch.interfaces == ("eth0", "eth1"))


async def test_a_subnet_that_an_operator_changes_meanwhile_is_served_as_it_says(rig: Rig) -> None:
    rig.guard.hear(heard(asked=True))
    await settle(rig)
    assert rig.mode() is Mode.PROXY
    rig.server.set_subnet(falling(lease_s=7200))
    await settle(rig)
    assert rig.mode() is Mode.PROXY, "the rogue server is still there"
    rig.server.set_subnet(subnet(lease_s=7200))
    await settle(rig)
    assert (rig.mode(), rig.guard.fallen(), rig.memory.rows) == (Mode.AUTHORITATIVE, {}, {})
    rig.server.set_subnet(falling())
    await settle(rig)
    rig.server.set_subnet(subnet(mode=Mode.OFF))
    await settle(rig)
    assert (rig.mode(), rig.guard.fallen()) == (Mode.OFF, {})


async def test_a_daemon_that_ends_as_a_proxy_starts_as_one_until_the_other_server_is_gone(rig: Rig) -> None:
    rig.guard.hear(heard(asked=True))
    await settle(rig)
    later = Rig(Dhcp(subnets=(falling(lease_s=7200),)), Netwatch(), memory=rig.memory)
    await later.guard.open()
    assert (later.mode(), later.guard.fallen()) == (Mode.PROXY, {"10.0.0.0/24": ROGUE})
    await settle(later)
    assert (later.mode(), later.kinds()) == (Mode.PROXY, ["dhcp.fallback"])
    for _ in range(GONE_AFTER + 1):
        later.guard.asked(Asked("eth0", six=False))
    await settle(later)
    assert (later.mode(), later.memory.rows) == (Mode.AUTHORITATIVE, {})
    assert later.kinds() == ["dhcp.fallback", "dhcp.rogue-gone", "dhcp.restored"]


async def test_where_no_question_leaves_nobody_is_gone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interface is down, or not there yet: the other server may well be, when it comes back."""
    monkeypatch.setattr("provisioner.netwatch.guard.SOON_S", 0.0)
    rig.netwatch.fault = ""
    rig.guard.hear(heard(asked=True))
    for _ in range(2 * GONE_AFTER):
        rig.guard._ask_soon()
        await settle(rig)
        rig.guard.asked(Asked("eth0", six=True))
        rig.guard.asked(Asked("eth1", six=False))
    assert (rig.mode(), rig.guard.fallen()) == (Mode.PROXY, {"10.0.0.0/24": ROGUE})


CHANGED = {
    "the subnet is gone": Dhcp(),
    "it only reports now": Dhcp(subnets=(subnet(),)),
    "the other server may answer now": Dhcp(subnets=(falling(),), allowed_servers=(ROGUE,)),
    "it is switched off": Dhcp(subnets=(subnet(mode=Mode.OFF),)),
}


@pytest.mark.parametrize("config", CHANGED.values(), ids=CHANGED.keys())
async def test_what_was_a_proxy_is_forgotten_where_the_file_says_otherwise_now(config: Dhcp) -> None:
    memory = Memory()
    memory.rows = {"10.0.0.0/24": ROGUE}
    rig = Rig(config, Netwatch(), memory=memory)
    await rig.guard.open()
    assert (rig.guard.fallen(), rig.guard.rogues(), memory.rows) == ({}, [], {})


def heard6(kind: Kind = Kind.ADVERTISE, *, server: str = "fe80::66", asked: bool = False) -> Heard6:
    return Heard6("eth0", kind, IPv6Address(server).packed, SERVER_MAC, asked)


SIXES: dict[str, tuple[Subnet6, Heard6, How | None]] = {
    "an offer to us": (SIX, heard6(asked=True), How.OFFER6),
    "an address that it gave": (SIX, heard6(Kind.REPLY), How.REPLY6),
    "a router beside our advertisements": (SIX, heard6(Kind.ROUTER), How.ROUTER),
    "a router that the site needs": (subnet6(), heard6(Kind.ROUTER), None),
    "an allowed server": (SIX, heard6(server="fe80::7"), None),
    "where we are not alone": (subnet6(mode=Mode6.OFF), heard6(asked=True), None),
    "another interface": (subnet6(interface="eth1"), heard6(asked=True), None),
}


@pytest.mark.parametrize(("where", "what", "how"), SIXES.values(), ids=SIXES.keys())
async def test_what_makes_a_rogue_of_ipv6(where: Subnet6, what: Heard6, how: How | None) -> None:
    rig = Rig(Dhcp(allowed_servers=("fe80:0::7",)), Netwatch(), six=(where,))
    rig.guard.hear6(what)
    await settle(rig)
    told = {"server": "fe80::66", "mac": "52:54:00:00:00:66", "place": "eth0", "subnets": ["fd00::/64"], "how": how}
    assert rig.events == ([("dhcp.rogue", told)] if how is not None else [])


async def test_interfaces_of_both_families_are_watched() -> None:
    rig = Rig(Dhcp(subnets=(subnet(),)), Netwatch(), six=(subnet6(interface="eth1"),))
    async with rig.running():
        await until(lambda: rig.netwatch.interfaces == ("eth0", "eth1"))
