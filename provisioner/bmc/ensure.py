"""Bring a machine to a power state and see it there: the loop that every driver shares."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from provisioner.bmc.verbs import Press
from provisioner.errors import BmcBusy, BmcError, BmcTimeout, BmcUnreachable, BmcWrongState
from provisioner.model.bmc import BmcAddress, Power

PRESS_FOR = {Power.ON: Press.ON, Power.OFF: Press.OFF}

SETTLE_S = 10.0
"""For so long after a press of ours one reading is not believed: a machine that restarts reads "off" for a moment."""

SECOND_LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an end state is waited for, in seconds.

    `deadline_s` is the whole action (promise: said within two minutes). A press that shows nothing is repeated after
    `again_s`: "on" and "off" name a state, so pressing twice is harmless. `distrust_s` is a board's quirk: for so long
    after a press its power reading may be the old one.
    """

    deadline_s: float = 115.0
    first_poll_s: float = 0.5
    longest_poll_s: float = 5.0
    again_s: float = 30.0
    distrust_s: float = 0.0


PATIENCE = Patience()


class Switch(Protocol):
    """The part of a driver that this loop uses."""

    @property
    def address(self) -> BmcAddress: ...

    @property
    def pressed_at(self) -> float | None:
        """When `press` was last called, on the loop's clock."""
        ...

    async def power(self) -> Power: ...

    async def press(self, press: Press) -> None: ...


async def ensure_power(bmc: Switch, wanted: Power, patience: Patience = PATIENCE) -> None:
    """Bring the machine to `wanted`; return when the BMC reports it. Raises `BmcTimeout` with the last trouble."""
    if await _is_already(bmc, wanted, patience):
        return
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience.deadline_s
    trouble: BmcError | None = None
    while clock() < deadline:
        trouble = await _press(bmc, PRESS_FOR[wanted]) or trouble
        until = min(deadline, clock() + max(patience.again_s, patience.distrust_s * 1.5))
        reached, silent = await _reached(bmc, wanted, patience, until)
        if reached:
            return
        trouble = silent or trouble
    said = f"; last trouble: {trouble.message}" if trouble else ""
    kind = BmcUnreachable if isinstance(trouble, BmcUnreachable) else BmcTimeout
    raise kind(
        f"{bmc.address}: power.{wanted}: not seen within {patience.deadline_s:.0f} s{said}",
        hint="look at the machine's console and front panel",
    )


async def _is_already(bmc: Switch, wanted: Power, patience: Patience) -> bool:
    """Say whether nothing has to be done. A reading shortly after a press has to be confirmed by a second one."""
    if await bmc.power() is not wanted or patience.distrust_s:
        return False
    loop = asyncio.get_running_loop()
    if bmc.pressed_at is None or loop.time() - bmc.pressed_at > SETTLE_S:
        return True
    await asyncio.sleep(SECOND_LOOK_S)
    return await bmc.power() is wanted


async def _press(bmc: Switch, press: Press) -> BmcError | None:
    """Push once; what passes by itself (busy, a lost answer, a state that just changed) is handed back, not raised."""
    try:
        await bmc.press(press)
    except (BmcBusy, BmcUnreachable, BmcTimeout, BmcWrongState) as error:
        return error
    return None


async def _reached(bmc: Switch, wanted: Power, patience: Patience, until: float) -> tuple[bool, BmcError | None]:
    """Poll with growing pauses until `wanted` is read or the time is up; also tell why the last reading failed."""
    loop = asyncio.get_running_loop()
    trusted_from = loop.time() + patience.distrust_s
    pause = patience.first_poll_s
    silent: BmcError | None = None
    while loop.time() < until:
        await asyncio.sleep(min(pause, max(until - loop.time(), 0.0)))
        pause = min(pause * 1.5, patience.longest_poll_s)
        try:
            reading = await bmc.power()
        except (BmcBusy, BmcUnreachable) as error:
            silent = error  # a BMC that restarts with its machine is silent for a while
            continue
        silent = None
        if reading is wanted and loop.time() >= trusted_from:
            return True, None
    return False, silent
