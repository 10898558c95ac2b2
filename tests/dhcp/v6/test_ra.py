"""Router advertisements on a real interface, also on one that was deleted and made again."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from provisioner.dhcp.v6.advert import ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION
from provisioner.dhcp.v6.ra import RouterAdvertiser
from tests.dhcp.netns import inside
from tests.dhcp.v6.wires import add, until_ready
from tests.dhcp.wires import Wires, wires

pytestmark = [pytest.mark.netns, pytest.mark.slow]
SOLICITATION = struct.pack("!BBHI", ROUTER_SOLICITATION, 0, 0, 0)


def join(lan: Wires) -> None:
    lan.cable("server", "eth0", "host", "eth0")
    lan.ip("server", "addr", "add", "fd00::1/64", "dev", "eth0", "nodad")
    until_ready(lan, server="eth0", host="eth0")


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Wires]:
    with wires(tmp_path) as it:
        add(it, "server", "host")
        join(it)
        yield it


@asynccontextmanager
async def advertising(lan: Wires, *networks: str) -> AsyncIterator[RouterAdvertiser]:
    advertiser = RouterAdvertiser("eth0", networks=networks)
    with inside(lan.names["server"]):
        advertiser.start()
    try:
        yield advertiser
    finally:
        advertiser.stop()


async def solicited(lan: Wires) -> bytes:
    """Ask all routers, as often as one answers nothing; the advertisement."""
    with inside(lan.names["host"]):
        host = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
        index = socket.if_nametoindex("eth0")
    with host:
        host.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        host.sendto(SOLICITATION, ("ff02::2", 0, 0, index))
        async with asyncio.timeout(10):
            while (heard := await asyncio.get_running_loop().sock_recv(host, 2048))[0] != ROUTER_ADVERTISEMENT:
                pass
    return heard


@pytest.mark.parametrize("networks", [("fd00::/64",), ()], ids=["of IPv6 subnets", "of our addresses"])
async def test_an_interface_that_was_made_anew_is_answered_again(lan: Wires, networks: tuple[str, ...]) -> None:
    async with advertising(lan, *networks) as advertiser:
        assert advertiser.sent == 1
        await solicited(lan)
        lan.ip("server", "link", "del", "eth0")
        with inside(lan.names["server"]):
            advertiser.keep_up()
            advertiser._send()  # nothing escapes, or there would be no next one
        join(lan)
        with inside(lan.names["server"]):
            advertiser.keep_up()
        await solicited(lan)
