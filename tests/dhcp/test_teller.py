"""What waits is told in time, by a clock that is not waited for."""

from __future__ import annotations

import asyncio

import pytest

from provisioner.clock import SteadyClock
from provisioner.dhcp.budget import LATE_COUNT, LINES_BURST, Budget
from provisioner.dhcp.teller import LAST_WORDS, Teller
from provisioner.dhcp.trace import Trace
from provisioner.model.trace import TraceLine
from tests.dhcp.clients import DIRECT, NOW, ask, discover, site
from tests.dhcp.test_trace import mac_of


def flooded(lines: list[TraceLine], count: int) -> Budget:
    """A budget with so many lines beyond it."""
    trace, found = Trace(lines.append), ask(site(), discover())
    for number in range(LINES_BURST + count):
        trace.answered(discover(mac_of(number)), DIRECT, found, NOW)
    lines.clear()
    return trace.budget


@pytest.mark.looptime
async def test_all_is_told_a_little_at_a_time() -> None:
    lines: list[TraceLine] = []
    budget = flooded(lines, 2 * LATE_COUNT)
    teller = Teller(budget, SteadyClock())
    teller.wake()
    teller.wake()
    await asyncio.sleep(0.15)
    assert len(lines) == LATE_COUNT
    await asyncio.sleep(1)
    assert len(lines) == 2 * LATE_COUNT


async def test_the_last_is_told_when_we_stop() -> None:
    lines: list[TraceLine] = []
    teller = Teller(flooded(lines, LAST_WORDS), SteadyClock())
    teller.wake()
    teller.stop()
    assert len(lines) == LAST_WORDS
