"""What is told of each client, and how much of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from provisioner.clock import SteadyClock
from provisioner.dhcp.budget import LINES_BURST
from provisioner.model.net import Mac, parse_mac
from provisioner.model.trace import Channel, TraceLine
from provisioner.tftp.trace import EACH, WAITING, Trace

MAC, HOST = parse_mac("52:54:00:00:00:17"), "10.0.8.17"
NOW = 1_700_000_000.0
FLOOD = 6000


def trace_of(lines: list[TraceLine]) -> Trace:
    """A trace at one moment, of one known machine."""
    return Trace(lines.append, {HOST: MAC}.get, SteadyClock(lambda: NOW, lambda: NOW))


@pytest.mark.looptime
async def test_who_waits_for_a_file_is_told_at_once_however_many_lines_wait() -> None:
    lines: list[TraceLine] = []
    fetched: list[tuple[Mac, str]] = []
    clock = SteadyClock(lambda: NOW, lambda: NOW)
    trace = Trace(lines.append, {HOST: MAC}.get, clock, lambda mac, name: fetched.append((mac, name)))
    for number in range(FLOOD):
        trace.add(trace.client(HOST), "tftp.refused", f"x{number}: no such file", ok=False)
    trace.done(trace.client(HOST), "snponly.efi", "174080 bytes in 0.10 s")
    trace.done(trace.client("10.0.8.99"), "snponly.efi", "174080 bytes in 0.10 s")  # whose, nobody knows
    assert fetched == [(MAC, "snponly.efi")]
    assert {line.event for line in lines if line.mac == MAC} == {"tftp.refused"}, "the line waits"


@pytest.mark.looptime
async def test_a_client_within_its_budget_is_told_at_once() -> None:
    lines: list[TraceLine] = []
    trace = trace_of(lines)
    trace.add(trace.client(HOST), "tftp.refused", "grub.cfg: nothing is served", ok=False)
    assert lines == [TraceLine(NOW, Channel.TFTP, "tftp.refused", "grub.cfg: nothing is served", MAC, ok=False)]


FLOODS: dict[str, tuple[Callable[[int], str], dict[str, int]]] = {
    "one name asked for without end": (
        lambda _number: "grub.cfg: no such file",
        {f"grub.cfg: no such file ({FLOOD - EACH.burst} times)": 1},
    ),
    "names made up": (
        lambda number: f"x{number}: no such file",
        {
            **{f"x{number}: no such file": 1 for number in range(EACH.burst, EACH.burst + WAITING)},
            f"further ones of this address, left out ({FLOOD - EACH.burst - WAITING} times)": 1,
        },
    ),
}


@pytest.mark.looptime
@pytest.mark.parametrize(("text", "late"), FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_in_the_name_of_a_machine_leaves_its_trace_readable(
    text: Callable[[int], str], late: dict[str, int]
) -> None:
    lines: list[TraceLine] = []
    trace = trace_of(lines)
    for number in range(FLOOD):
        trace.add(trace.client(HOST), "tftp.refused", text(number), ok=False)
    assert [line.text for line in lines] == [text(number) for number in range(EACH.burst)]
    lines.clear()
    for minute in range(5):
        trace.budget.tell_late(NOW + 60 * minute)
    assert Counter(line.text for line in lines) == late
    assert {(line.mac, line.at) for line in lines} == {(MAC, NOW)}


@pytest.mark.looptime
async def test_a_flood_from_everywhere_costs_no_machine_its_line() -> None:
    lines: list[TraceLine] = []
    trace = trace_of(lines)
    for number in range(20_000):
        trace.add(trace.client(f"10.9.{number >> 8}.{number & 255}"), "tftp.refused", "x: no such file", ok=False)
    assert len(lines) == LINES_BURST
    trace.add(trace.client(HOST), "tftp.start", "snponly.efi")
    trace.budget.tell_late(NOW, 1)
    assert (lines[-1].event, lines[-1].mac) == ("tftp.start", MAC)
    assert trace.counts["untold"] > 0
