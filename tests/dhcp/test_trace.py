"""What is told of each packet, and how much of it."""

from __future__ import annotations

import pytest

from provisioner.dhcp.case import Arrival
from provisioner.dhcp.options import Type
from provisioner.dhcp.packet import Packet
from provisioner.dhcp.trace import LINES_BURST, MAC_BURST, Trace
from provisioner.model.trace import Channel, TraceLine
from tests.dhcp.clients import DIRECT, MAC, NOW, PROXY_PORT, UEFI, acquire, ask, discover, packet, request, site, subnet


def told(question: Packet, arrival: Arrival = DIRECT) -> TraceLine:
    """The line about one packet."""
    lines: list[TraceLine] = []
    here = site(subnet(pools=("10.0.0.100-10.0.0.100",)))
    Trace(lines.append).answered(question, arrival, ask(here, question, arrival), NOW)
    return lines[0]


LINES = {
    "an offer": (
        discover(options=UEFI),
        DIRECT,
        ("dhcp.offer", "DISCOVER on eth0: 10.0.0.100 chain to iPXE", True, Channel.DHCP),
    ),
    "through a relay": (
        discover(giaddr="10.0.0.254"),
        DIRECT,
        ("dhcp.offer", "DISCOVER by relay 10.0.0.254: 10.0.0.100 chain to iPXE", True, Channel.DHCP),
    ),
    "a refusal": (
        request("10.9.9.9"),
        DIRECT,
        ("dhcp.nak", "REQUEST on eth0: 10.9.9.9 is not an address of this network", False, Channel.DHCP),
    ),
    "a silence": (
        request("10.0.0.100", server="10.0.0.77"),
        DIRECT,
        ("dhcp.silence", "REQUEST on eth0: the client chose another server, 10.0.0.77", False, Channel.DHCP),
    ),
    "on port 4011": (
        packet(Type.REQUEST, options=UEFI, ciaddr="10.0.0.100"),
        PROXY_PORT,
        ("dhcp.ack", "REQUEST on eth0: chain to iPXE", True, Channel.PROXY),
    ),
}


@pytest.mark.parametrize(("question", "arrival", "expected"), LINES.values(), ids=LINES.keys())
def test_lines(question: Packet, arrival: Arrival, expected: tuple[str, str, bool, Channel]) -> None:
    line = told(question, arrival)
    assert (line.event, line.text, line.ok, line.channel) == expected
    assert line.mac == MAC


def test_one_machine_has_a_budget() -> None:
    lines: list[TraceLine] = []
    trace, here = Trace(lines.append), site()
    for _ in range(100):
        trace.answered(discover(), DIRECT, ask(here, discover()), NOW)
    assert len(lines) == MAC_BURST
    assert (trace.counts["dhcp.offer"], trace.counts["dhcp.untold"]) == (100, 100 - MAC_BURST)
    trace.answered(discover(), DIRECT, ask(here, discover()), NOW + 10)
    assert len(lines) == MAC_BURST + 1


def test_all_machines_together_have_a_budget() -> None:
    lines: list[TraceLine] = []
    trace = Trace(lines.append)
    for number in range(2 * LINES_BURST):
        mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        trace.answered(discover(mac), DIRECT, ask(site(), discover(mac)), NOW)
    assert len(lines) == LINES_BURST


def test_malformed_packets_are_told_by_their_sender() -> None:
    lines: list[TraceLine] = []
    trace = Trace(lines.append)
    for _ in range(100):
        trace.malformed(bytes(28) + bytes.fromhex("525400000001"), DIRECT, "too short", NOW)
    assert len(lines) == MAC_BURST
    assert (lines[0].event, lines[0].mac, lines[0].text) == ("dhcp.malformed", MAC, "from 0.0.0.0: too short")


def test_a_rack_of_a_thousand_machines_is_told_whole() -> None:
    lines: list[TraceLine] = []
    trace, here = Trace(lines.append), site(subnet(network="10.0.0.0/16", pools=("10.0.4.0-10.0.250.0",), new_per_s=0))
    for number in range(1000):
        mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        acquire(here, mac)
        for _ in range(2):
            trace.answered(discover(mac), DIRECT, ask(here, discover(mac)), NOW + number / 100)
    assert len(lines) == 2000
    assert not trace.counts["dhcp.untold"]
