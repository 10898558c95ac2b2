"""What a link for DHCPv6 tells of a message: whose frame it came in, in a namespace."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.dhcp.v6.case import Arrival6
from provisioner.dhcp.v6.link import ALL_AGENTS, Link6
from tests.dhcp.netns import inside
from tests.dhcp.v6.wires import joined
from tests.dhcp.wires import Wires

pytestmark = pytest.mark.netns
US, RELAY = "fd00::1", "fd00::fe"
IPV6_FREEBIND = 78


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Wires]:
    with joined(tmp_path, US, RELAY) as it:
        yield it


@pytest.fixture
def many(lan: Wires) -> Iterator[list[socket.socket]]:
    """Many machines on the relay's wire, each with an address of its own."""
    with inside(lan.names["relay"]):
        found = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(400)]
    for number, each in enumerate(found):
        each.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        each.bind((f"fd00::{number + 0x1000:x}", 546))
    yield found
    for each in found:
        each.close()


def heard(link: Link6, clients: list[socket.socket], size: int) -> list[Arrival6]:
    for each in clients:
        each.sendto(bytes(size), (US, 547))
    found: list[Arrival6] = []
    while len(found) < len(clients) and select.select([link], [], [], 10)[0]:
        found += [arrival for _, arrival in link.receive()]
    return found


@pytest.mark.parametrize("size", [200, 4000], ids=["whole", "in fragments"])
def test_in_a_burst_every_message_has_the_frame_that_it_came_in(
    lan: Wires, many: list[socket.socket], size: int
) -> None:
    with inside(lan.names["server"]):
        link = Link6("eth0")
    mac = bytes.fromhex(lan.ip("relay", "link", "show", "eth0").split("link/ether ")[1][:17].replace(":", ""))
    assert {(each.mac, each.lost) for each in heard(link, many, size)} == {(mac, False)}
    link.close()


def test_a_message_says_that_its_frame_was_lost(lan: Wires, many: list[socket.socket]) -> None:
    with inside(lan.names["server"]):
        link = Link6("eth0")
    assert link._frames is not None
    link._frames.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    found = heard(link, many, 200)
    assert len(found) == len(many)
    assert {(each.lost, bool(each.mac)) for each in found} == {(False, True), (True, False)}
    link.close()


def test_what_this_host_asks_itself_came_in_no_frame_and_is_not_lost(lan: Wires) -> None:
    with inside(lan.names["server"]), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        link = Link6("eth0")
        client.sendto(b"question", (ALL_AGENTS, 547, 0, link.index))
        select.select([link], [], [], 10)
        found = link.receive()
    assert [(data, each.mac, each.lost) for data, each in found] == [(b"question", b"", False)]
    link.close()
