"""Bring a machine to a power state and see it there: the loop that every driver shares."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from provisioner.bmc.verbs import Press
from provisioner.errors import BmcBusy, BmcTimeout, BmcUnreachable, BmcWrongState
from provisioner.model.bmc import BmcAddress, Power

PRESS_FOR = {Power.ON: Press.ON, Power.OFF: Press.OFF}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an end state is waited for, in seconds.

    `deadline_s` is the whole action (promise: said within two minutes). A press that shows nothing is repeated after
    `again_s`: "on" and "off" name a state, so pressing twice is harmless. `distrust_s` is a board's quirk: for so long
    after a press its power reading may be the old one.
    """

    deadline_s: float = 120.0
    first_poll_s: float = 0.5
    longest_poll_s: float = 5.0
    again_s: float = 30.0
    distrust_s: float = 0.0


PATIENCE = Patience()


class Switch(Protocol):
    """The part of a driver that this loop uses."""

    @property
    def address(self) -> BmcAddress: ...

    async def power(self) -> Power: ...

    async def press(self, press: Press) -> None: ...


async def ensure_power(bmc: Switch, wanted: Power, patience: Patience = PATIENCE) -> None:
    """Bring the machine to `wanted`; return when the BMC reports it. Raises `BmcTimeout` with the last reading."""
    if await bmc.power() is wanted and not patience.distrust_s:
        return
    loop = asyncio.get_running_loop()
    started = loop.time()
    trouble = ""
    while (passed := loop.time() - started) < patience.deadline_s:
        trouble = await _press(bmc, PRESS_FOR[wanted]) or trouble
        until = min(started + patience.deadline_s, started + passed + max(patience.again_s, patience.distrust_s * 1.5))
        if await _reached(bmc, wanted, patience, until):
            return
    raise BmcTimeout(
        f"{bmc.address}: power did not become {wanted} within {patience.deadline_s:.0f} s"
        + (f"; the BMC said: {trouble}" if trouble else ""),
        hint="look at the machine's console and front panel; its BMC accepted the request",
    )


async def _press(bmc: Switch, press: Press) -> str:
    """Push once; what passes by itself (busy, a lost answer, a state that just changed) is told, not raised."""
    try:
        await bmc.press(press)
    except (BmcBusy, BmcUnreachable, BmcWrongState) as error:
        return error.message
    return ""


async def _reached(bmc: Switch, wanted: Power, patience: Patience, until: float) -> bool:
    """Poll with growing pauses until `wanted` is read (True) or the time is up (False)."""
    loop = asyncio.get_running_loop()
    trusted_from = loop.time() + patience.distrust_s
    pause = patience.first_poll_s
    while loop.time() < until:
        await asyncio.sleep(min(pause, max(until - loop.time(), 0.0)))
        pause = min(pause * 1.5, patience.longest_poll_s)
        try:
            reading = await bmc.power()
        except (BmcBusy, BmcUnreachable):
            continue  # a BMC that restarts with its machine is silent for a while
        if reading is wanted and loop.time() >= trusted_from:
            return True
    return False
