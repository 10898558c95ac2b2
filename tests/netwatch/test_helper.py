"""netwatch's real process on real wires: hosts that own an address, hosts behind a router, and floods."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from provisioner.netwatch.helper import READ_BURST, READ_PER_S
from provisioner.netwatch.messages import Asked, Heard, Kind
from provisioner.netwatch.supervisor import Netwatch
from tests.dhcp import netns
from tests.dhcp.clients import ip
from tests.dhcp.wires import Wires, wires
from tests.netwatch.rig import LIMIT_S, dnsmasq, inside, mac_of, until, watching

pytestmark = [pytest.mark.netns, pytest.mark.peer]
US = ip("10.61.0.1")


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Wires]:
    """Our namespace with a bridge, and two others on it."""
    with wires(tmp_path) as it:
        it.add("server")
        it.bridge("server", "10.61.0.1/24", {"p1": "one", "p2": "two"})
        yield it


@pytest.fixture
async def watch(lan: Wires) -> AsyncIterator[Netwatch]:
    """netwatch, which listens on the bridge."""
    netwatch = Netwatch(command=inside(lan, "server"), limit_s=LIMIT_S)
    netwatch.listen(["br0"])
    async with watching(netwatch):
        await until(lambda: not netwatch.fault)
        yield netwatch


async def test_the_host_that_owns_an_address_is_named(lan: Wires, watch: Netwatch) -> None:
    lan.ip("one", "addr", "add", "10.61.0.50/24", "dev", "eth0")
    assert await watch.look("br0", ip("10.61.0.50"), US) == mac_of(lan, "one")
    assert await watch.look("br0", ip("10.61.0.51"), US) == ""
    assert watch.counts == {"used": 1, "free": 1}


async def test_nobody_learns_an_address_of_ours_by_being_asked(lan: Wires, watch: Netwatch) -> None:
    """RFC 5227: a probe names no sender, so no cache of anybody holds what is not so."""
    lan.ip("one", "addr", "add", "10.61.0.50/24", "dev", "eth0")
    await watch.look("br0", ip("10.61.0.50"))
    assert lan.ip("one", "neigh", "show", "dev", "eth0") == ""


async def test_a_host_that_answers_no_arp_is_found_by_its_echo(lan: Wires, watch: Netwatch) -> None:
    lan.ip("one", "addr", "add", "10.61.0.50/24", "dev", "eth0")
    lan.run("one", "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=8", "net.ipv4.conf.eth0.arp_ignore=8")
    assert await watch.look("br0", ip("10.61.0.50")) == "", "without an address of ours there is no echo"
    netwatch_again = await watch.look("br0", ip("10.61.0.50"), US)
    assert netwatch_again == "", "a moment ago it was free"
    lan.ip("one", "addr", "add", "10.61.0.52/24", "dev", "eth0")
    assert await watch.look("br0", ip("10.61.0.52"), US) == mac_of(lan, "one")


async def test_a_host_behind_a_router_is_found_by_its_echo(lan: Wires, watch: Netwatch) -> None:
    lan.ip("one", "addr", "add", "10.61.0.2/24", "dev", "eth0")
    lan.ip("one", "addr", "add", "10.62.0.50/32", "dev", "lo")
    lan.ip("server", "route", "add", "10.62.0.0/24", "via", "10.61.0.2")
    assert await watch.look("", ip("10.62.0.50")) != ""
    assert await watch.look("", ip("10.62.0.51")) == ""
    assert await watch.look("", ip("10.99.0.1")) == "", "no route leads there"


async def test_somebody_else_who_probes_for_the_address_is_a_conflict(lan: Wires, watch: Netwatch) -> None:
    """RFC 5227 section 2.1.1: two hosts that are about to take the same address find each other."""
    from scapy.layers.l2 import ARP

    probe = Ether(src="02:00:00:00:00:07", dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc="02:00:00:00:00:07", psrc="0.0.0.0", pdst="10.61.0.77"
    )
    with netns.inside(lan.names["two"]), wire("eth0") as sock:
        looked = watch.look("br0", ip("10.61.0.77"))
        while not looked.done():
            sock.send(bytes(probe))
            await asyncio.sleep(0.02)
    assert looked.result() == "02:00:00:00:00:07"


async def test_a_rack_that_powers_on_at_once(lan: Wires, watch: Netwatch) -> None:
    lan.ip("one", "addr", "add", "10.61.0.200/24", "dev", "eth0")
    found = await asyncio.gather(*(watch.look("br0", ip("10.61.0.100") + n) for n in range(101)))
    assert found == [""] * 100 + [mac_of(lan, "one")]
    await asyncio.gather(*(watch.look("br0", ip("10.61.64.0") + n) for n in range(1000)))
    assert watch.counts["used"] == 1
    assert sum(watch.counts.values()) == 1101


class Wire:
    """Frames out of one port."""

    def __init__(self, port: str) -> None:
        import socket

        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind((port, 0))

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)


wire = Wire


def offer(server: str, *, kind: str = "offer", address: str = "10.61.0.9", client: bytes = b"\2\0\0\0\0\1") -> bytes:
    """What a DHCP server says to all."""
    head = Ether(src="02:00:00:00:00:99", dst="ff:ff:ff:ff:ff:ff") / IP(src=server, dst="255.255.255.255")
    bootp = BOOTP(op=2, yiaddr=address, chaddr=client, xid=7)
    return bytes(
        head / UDP(sport=67, dport=68) / bootp / DHCP(options=[("message-type", kind), ("server_id", server), "end"])
    )


async def test_what_other_servers_say_is_heard(lan: Wires, watch: Netwatch) -> None:
    heard: list[Heard] = []
    watch.on_heard = heard.append
    with netns.inside(lan.names["two"]), wire("eth0") as sock:
        sock.send(offer("10.61.0.66"))
        sock.send(offer("10.61.0.66", kind="ack"))
        sock.send(offer("10.61.0.66", kind="nak", address="0.0.0.0"))
    await until(lambda: len(heard) == 3)
    assert [each.kind for each in heard] == [Kind.OFFER, Kind.ACK, Kind.NAK]
    assert heard[0] == Heard(
        "br0",
        Kind.OFFER,
        ip("10.61.0.66"),
        bytes.fromhex("020000000099"),
        b"\2\0\0\0\0\1",
        ip("10.61.0.9"),
        asked=False,
    )


async def test_vlans_on_the_same_cable_and_our_own_answers_are_not_heard(lan: Wires, watch: Netwatch) -> None:
    heard: list[Heard] = []
    watch.on_heard = heard.append
    frame = offer("10.61.0.66")
    tagged = bytes(Ether(frame[:12] + b"\x81\0") / Dot1Q(vlan=20, type=0x0800)) + frame[14:]
    with netns.inside(lan.names["server"]), wire("br0") as sock:
        sock.send(offer("10.61.0.1"))
    with netns.inside(lan.names["two"]), wire("eth0") as sock:
        sock.send(tagged)
        sock.send(offer("10.61.0.67"))
    await until(lambda: heard)
    assert [each.server for each in heard] == [ip("10.61.0.67")]


async def test_our_question_is_answered_by_a_real_server(lan: Wires, watch: Netwatch) -> None:
    heard: list[Heard] = []
    watch.on_heard = heard.append
    lan.ip("one", "addr", "add", "10.61.0.66/24", "dev", "eth0")
    dnsmasq(lan, "one", "10.61.0.200", "10.61.0.250")
    while not heard:
        watch.ask("br0")
        await asyncio.sleep(0.1)
    assert (heard[0].server, heard[0].kind, heard[0].asked) == (ip("10.61.0.66"), Kind.OFFER, True)
    assert heard[0].client[:3] == b"\x02pr", "our questions are marked"
    assert heard[0].mac.hex(":") == mac_of(lan, "one")


async def test_a_flood_is_left_unread_and_looks_go_on(lan: Wires, watch: Netwatch) -> None:
    heard: list[Heard] = []
    watch.on_heard = heard.append
    lan.ip("one", "addr", "add", "10.61.0.50/24", "dev", "eth0")
    frames = [offer(f"10.61.{number}.66")[: 300 - number] for number in range(50)]
    owner = mac_of(lan, "one")
    began = time.monotonic()
    with netns.inside(lan.names["two"]), wire("eth0") as sock:
        for _ in range(200):
            for frame in frames:
                sock.send(frame)
    assert await watch.look("br0", ip("10.61.0.50"), US) == owner
    await until(lambda: watch.unread > 0)
    assert 0 < len(heard) <= READ_BURST + READ_PER_S * (time.monotonic() - began)
    assert not watch.fault


async def test_an_interface_that_is_not_there_is_told_and_heard_again_when_it_comes(
    lan: Wires, watch: Netwatch
) -> None:
    watch.listen(["br0", "late0"])
    await until(lambda: "late0" in watch.deaf)
    assert "br0" not in watch.deaf
    lan.ip("server", "link", "add", "late0", "type", "bridge")
    lan.ip("server", "link", "set", "late0", "up")
    await until(lambda: "late0" not in watch.deaf)
    lan.ip("server", "link", "del", "late0")
    await until(lambda: "late0" in watch.deaf)
    lan.ip("server", "link", "add", "late0", "type", "bridge")
    await until(lambda: "late0" not in watch.deaf)
    assert not watch.fault


async def test_questions_that_have_left_are_told_and_no_others(lan: Wires, watch: Netwatch) -> None:
    asked: list[Asked] = []
    watch.on_asked = asked.append
    watch.listen(["br0", "late0"])
    await until(lambda: "late0" in watch.deaf)
    watch.ask("late0")
    watch.ask("br0")
    await until(lambda: asked)
    assert asked == [Asked("br0", six=False)]


async def test_a_question_that_has_no_address_to_leave_from_is_told_of_and_leaves_once_there_is_one(
    lan: Wires, watch: Netwatch
) -> None:
    asked: list[Asked] = []
    watch.on_asked = asked.append
    lan.ip("server", "link", "add", "plain0", "type", "bridge")
    lan.ip("server", "link", "set", "plain0", "addrgenmode", "none")
    lan.ip("server", "link", "set", "plain0", "up")
    watch.listen(["br0", "plain0"], ["plain0"])
    watch.ask6("plain0")
    await until(lambda: "plain0" in watch.deaf)
    assert "link-local" in watch.deaf["plain0"]
    watch.ask6("plain0")
    watch.ask("plain0")
    await until(lambda: asked)
    assert asked == [Asked("plain0", six=False)]
    lan.ip("server", "addr", "add", "fe80::17/64", "dev", "plain0", "nodad")
    await until(lambda: "plain0" not in watch.deaf)
    await until(lambda: len(asked) == 2)
    assert asked[1] == Asked("plain0", six=True)


async def test_it_keeps_one_capability_and_no_way_to_more(watch: Netwatch) -> None:
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{watch.pid}/status").read_text().splitlines() if ":\t" in line
    )
    net_raw = f"{1 << 13:016x}"
    assert (status["CapEff"], status["CapPrm"]) == (net_raw, net_raw)
    assert (status["CapInh"], status["CapAmb"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
