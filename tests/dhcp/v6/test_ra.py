"""Router advertisements on a real interface, also on one that was deleted and made again."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.dhcp.v6.advert import ROUTER_SOLICITATION
from provisioner.dhcp.v6.advertising import Advertising
from provisioner.dhcp.v6.ra import RouterAdvertiser
from provisioner.dhcp.v6.subnets import Mode6, Subnet6
from tests.dhcp.netns import inside
from tests.dhcp.v6.clients import subnet
from tests.dhcp.v6.wires import add, until_ready
from tests.dhcp.wires import Wires, wires

pytestmark = [pytest.mark.netns, pytest.mark.slow]
ICMPV6_FILTER = 1
ONLY_ADVERTS = struct.pack("=8I", *(0xFFFFFFFF & ~(1 << 6 if word == 4 else 0) for word in range(8)))
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


def host_socket(lan: Wires) -> socket.socket:
    """What hears adverts alone."""
    with inside(lan.names["host"]):
        host = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    host.setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, ONLY_ADVERTS)
    return host


async def advert(host: socket.socket) -> bytes:
    """Wait for the next one."""
    async with asyncio.timeout(10):
        return await asyncio.get_running_loop().sock_recv(host, 2048)


async def solicited(lan: Wires) -> bytes:
    """Ask all routers, as often as one answers nothing; the advertisement."""
    with inside(lan.names["host"]):
        index = socket.if_nametoindex("eth0")
    with host_socket(lan) as host:
        host.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        host.sendto(SOLICITATION, ("ff02::2", 0, 0, index))
        return await advert(host)


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


def lifetime(advert: bytes) -> int:
    return int.from_bytes(advert[6:8], "big")


ROUTED = subnet(router_advertisements=True, ra_lifetime_s=1800)
CHANGES: dict[str, tuple[Subnet6, tuple[Subnet6, ...], list[int]]] = {
    # what is advertised, what then, and which lifetimes are heard until we have stopped
    "it is gone": (ROUTED, (), [1800, 0]),
    "it is switched off": (ROUTED, (replace(ROUTED, mode=Mode6.OFF, pools=()),), [1800, 0]),
    "we stop": (ROUTED, (ROUTED,), [1800, 0]),
    "another lifetime": (ROUTED, (replace(ROUTED, ra_lifetime_s=900),), [1800, 900, 0]),
    "no router any more": (ROUTED, (replace(ROUTED, ra_lifetime_s=0),), [1800, 0]),
    "never a router": (replace(ROUTED, ra_lifetime_s=0), (), [0]),
}


@pytest.mark.parametrize(("before", "after", "told"), CHANGES.values(), ids=CHANGES.keys())
async def test_who_ceases_to_be_a_router_says_so(
    lan: Wires, before: Subnet6, after: tuple[Subnet6, ...], told: list[int]
) -> None:
    """Hosts would keep a default router that is none for up to 18 hours."""
    advertising = Advertising()
    advertising.follow6((before,))
    with host_socket(lan) as host, inside(lan.names["server"]):
        advertising.start()
        advertising.follow6(after)
        advertising.stop()
        heard = [lifetime(await advert(host)) for _ in told]
        with pytest.raises(BlockingIOError):
            host.recv(2048)
    assert heard == told
