"""BMCs are found on loopback: the lab's boards, OpenIPMI's simulator, and a service that announces itself."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from provisioner.bmc.find import Found, listen, look, scan, targets
from provisioner.bmc.ssdp import Announced
from provisioner.errors import ConfigError
from provisioner.model.bmc import BmcAddress
from tests.bmc.simulated import IPMI_PORT, REDFISH_PORT, host, simulated

FIRST = 200


@pytest.mark.peer
async def test_scan_finds_who_answers_and_nobody_else(tmp_path: Path) -> None:
    async with simulated(3, tmp_path, first=FIRST):
        hosts = [host(FIRST + number) for number in range(6)]
        found: list[Found] = []
        await scan(hosts, found.append, rate=1000, ipmi_port=IPMI_PORT, redfish_port=REDFISH_PORT)
    assert sorted(one.host for one in found) == sorted(hosts[:3])
    assert all(one.redfish for one in found)
    assert len({one.uuid for one in found}) == 3


@pytest.mark.peer
async def test_the_ping_is_answered_by_a_program_that_others_wrote(openipmi: BmcAddress) -> None:
    assert await look("127.0.0.1", openipmi.port, 9) == Found("127.0.0.1", ipmi=True)


@pytest.mark.slow
async def test_what_is_no_bmc() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dumb:
        dumb.bind(("127.0.0.1", 0))
        assert await look("127.0.0.1", dumb.getsockname()[1], mute.getsockname()[1]) == Found("127.0.0.1")


RANGES = {
    "a single address": (["192.0.2.7"], ["192.0.2.7"]),
    "a network without its ends": (["192.0.2.0/30"], ["192.0.2.1", "192.0.2.2"]),
    "overlaps once": (["192.0.2.1", "192.0.2.0/30"], ["192.0.2.1", "192.0.2.2"]),
    "a pair": (["192.0.2.0/31"], ["192.0.2.0", "192.0.2.1"]),
    "IPv6": (["fd00::10/126"], ["fd00::11", "fd00::12", "fd00::13"]),
}


@pytest.mark.parametrize(("texts", "hosts"), RANGES.values(), ids=RANGES.keys())
def test_targets(texts: list[str], hosts: list[str]) -> None:
    assert targets(texts) == hosts


@pytest.mark.parametrize("text", ["10.0.0.0/8", "fd00::/64", "bmc17", "10.0.0.300"])
def test_targets_that_are_none_or_too_many(text: str) -> None:
    with pytest.raises(ConfigError):
        targets([text])


async def test_services_that_announce_themselves() -> None:
    """A unicast stand-in for the group: loopback carries no multicast here."""
    answers = []
    searches = 0

    class Service(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            answers.append(data)
            usn = "uuid:92384634-2938-2342-8820-489239905423"
            head = f"HTTP/1.1 200 OK\r\nST: urn:dmtf-org:service:redfish-rest:1:9\r\nUSN: {usn}\r\n"
            for al in ("https://127.0.0.1:8443/redfish/v1", "https://192.0.2.66/redfish/v1", "nonsense"):
                self.transport.sendto(f"{head}AL: {al}\r\n\r\n".encode(), addr)  # type: ignore[attr-defined]

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Service, local_addr=("127.0.0.1", 0))
    try:
        port = transport.get_extra_info("sockname")[1]
        async with asyncio.timeout(20):
            found: list[Announced] = []
            while not found:  # this process had no time to answer
                searches += 1
                found = await listen(0.3, "127.0.0.1", ("127.0.0.1", port))
    finally:
        transport.close()
    assert [(one.host, one.port) for one in found] == [("127.0.0.1", 8443)]
    assert b"M-SEARCH" in answers[0]
    assert searches <= len(answers), "it listened, and had not asked"
