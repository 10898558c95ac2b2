"""Bring a machine to a power state and see it there: the loop that every driver shares."""

from __future__ import annotations

import asyncio
import contextlib
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


@dataclass(slots=True)
class _Trouble:
    """Why nothing is known of the power at this moment; None while the BMC tells it."""

    error: BmcError | None = None


async def ensure_power(bmc: Switch, wanted: Power, patience: Patience = PATIENCE) -> None:
    """Bring the machine to `wanted`; return when the BMC reports it.

    Raises what stood in the way when the time was up: `BmcUnreachable`, `BmcBusy`, or `BmcTimeout` where the BMC told
    the power to the end and it was another.
    """
    if await _is_already(bmc, wanted, patience):
        return
    deadline = asyncio.get_running_loop().time() + patience.deadline_s
    trouble = _Trouble()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):  # a BMC that is silent, or asks for time, may take longer than we have
            await _pressed_until(bmc, wanted, patience, trouble)
            return
    said = f"; last trouble: {trouble.error.message}" if trouble.error else ""
    kind = type(trouble.error) if isinstance(trouble.error, BmcUnreachable | BmcBusy) else BmcTimeout
    raise kind(
        f"{bmc.address}: power.{wanted}: not seen within {patience.deadline_s:.0f} s{said}",
        hint="look at the machine's console and front panel",
    )


async def _pressed_until(bmc: Switch, wanted: Power, patience: Patience, trouble: _Trouble) -> None:
    """Press, and again where that shows nothing, until `wanted` is read; the caller's deadline ends it."""
    while True:
        trouble.error = await _press(bmc, PRESS_FOR[wanted]) or trouble.error
        if await _reached(bmc, wanted, patience, trouble):
            return


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


async def _reached(bmc: Switch, wanted: Power, patience: Patience, trouble: _Trouble) -> bool:
    """Poll with growing pauses until `wanted` is read, or it is time to press again."""
    clock = asyncio.get_running_loop().time
    trusted_from = clock() + patience.distrust_s
    until = clock() + max(patience.again_s, patience.distrust_s * 1.5)
    pause, is_last = patience.first_poll_s, False
    while not is_last:
        left = until - clock()
        is_last = left <= pause  # not "until the clock says so": a timer may fire a rounding error early, for ever
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, patience.longest_poll_s)
        try:
            reading = await bmc.power()
        except (BmcBusy, BmcUnreachable) as error:
            trouble.error = error  # a BMC that restarts with its machine is silent for a while
            continue
        trouble.error = None
        if reading is wanted and clock() >= trusted_from:
            return True
    return False
