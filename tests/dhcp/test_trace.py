"""What is told of each packet, and how much of it."""

from __future__ import annotations

import pytest

from provisioner.dhcp.backlog import LIMIT
from provisioner.dhcp.budget import LATE_COUNT, LINES_BURST
from provisioner.dhcp.case import Arrival
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import Packet, encode
from provisioner.dhcp.trace import EACH, Trace
from provisioner.model.trace import Channel, TraceLine
from tests.dhcp.clients import DIRECT, MAC, NOW, PROXY_PORT, UEFI, ask, discover, packet, request, site, subnet


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


def test_one_machine_has_a_budget_and_what_is_beyond_is_told_as_one() -> None:
    lines: list[TraceLine] = []
    trace, here = Trace(lines.append), site()
    for _ in range(100):
        trace.answered(discover(), DIRECT, ask(here, discover()), NOW)
    trace.answered(request("10.9.9.9"), DIRECT, ask(here, request("10.9.9.9")), NOW)
    assert len(lines) == EACH.burst
    trace.budget.tell_late(NOW)
    assert len(lines) == EACH.burst  # its budget is used up: it has to wait
    trace.budget.tell_late(NOW + 10)
    assert [line.text for line in lines[EACH.burst :]] == [
        f"DISCOVER on eth0: 10.0.0.100 chain to iPXE ({100 - EACH.burst} times)",
        "REQUEST on eth0: 10.9.9.9 is not an address of this network",
    ]
    assert {line.at for line in lines} == {NOW}
    assert (trace.counts["dhcp.offer"], trace.counts["dhcp.untold"], len(trace.budget.late)) == (100, 0, 0)


def mac_of(number: int) -> str:
    return f"02:00:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


def test_all_machines_together_have_a_budget_and_the_rest_is_told_late() -> None:
    lines: list[TraceLine] = []
    trace, found = Trace(lines.append), ask(site(), discover())
    for number in range(2 * LINES_BURST):
        trace.answered(discover(mac_of(number)), DIRECT, found, NOW)
    assert len(lines) == LINES_BURST
    for _ in range(LINES_BURST // LATE_COUNT + 1):
        trace.budget.tell_late(NOW + 1)
    assert [line.mac for line in lines] == [mac_of(number) for number in range(2 * LINES_BURST)]
    assert not trace.counts["dhcp.untold"]


@pytest.mark.slow
def test_a_flood_of_strangers_costs_no_known_machine_its_line() -> None:
    lines: list[TraceLine] = []
    trace, found = Trace(lines.append, known=lambda key: key.hex(":") == MAC), ask(site(), discover())
    for number in range(LIMIT + LINES_BURST + 10):
        trace.answered(discover(mac_of(number)), DIRECT, found, NOW)
    assert trace.counts["dhcp.untold"] == 10
    trace.answered(discover(), DIRECT, found, NOW)
    trace.budget.tell_late(NOW, 1)
    assert lines[-1].mac == MAC
    assert len(trace.budget.late) == LIMIT


def test_malformed_packets_are_told_by_their_sender() -> None:
    lines: list[TraceLine] = []
    trace = Trace(lines.append)
    for _ in range(100):
        trace.malformed(bytes(28) + bytes.fromhex("525400000001"), DIRECT, "too short", NOW)
    assert len(lines) == EACH.burst
    trace.budget.tell_late(NOW + 10)
    assert (lines[0].event, lines[0].mac, lines[0].text) == ("dhcp.malformed", MAC, "from 0.0.0.0: too short")
    assert lines[-1].text == f"from 0.0.0.0: too short ({100 - EACH.burst} times)"


def test_a_fault_of_ours_is_in_the_machines_trace() -> None:
    lines: list[TraceLine] = []
    trace = Trace(lines.append)
    trace.fault(encode(discover()), DIRECT, NOW)
    assert [(line.event, line.mac, line.ok) for line in lines] == [("dhcp.fault", MAC, False)]
    assert trace.counts["dhcp.fault"] == 1


def test_machines_without_hardware_address_are_told_apart() -> None:
    lines: list[TraceLine] = []
    trace, here = Trace(lines.append), site()
    for name in (b"one", b"two"):
        asked = discover("", {Opt.CLIENT_ID: name}, htype=32)
        trace.answered(asked, DIRECT, ask(here, asked), NOW)
    assert [line.mac for line in lines] == [(b"\0id" + name).hex(":") for name in (b"one", b"two")]


def test_what_names_nobody_can_be_told_of() -> None:
    lines: list[TraceLine] = []
    nobody = discover("", htype=32)._replace(op=2)
    Trace(lines.append).answered(nobody, DIRECT, ask(site(), nobody), NOW)
    assert [line.text for line in lines] == ["DISCOVER on eth0: not a request"]
