"""Power states are waited for, read back and never taken on a single doubtful reading. Virtual time."""

from __future__ import annotations

import asyncio

import pytest

from provisioner.bmc.ensure import Patience, ensure_power
from provisioner.bmc.verbs import Press
from provisioner.errors import BmcAuthError, BmcBusy, BmcError, BmcTimeout, BmcUnreachable
from provisioner.model.bmc import Power
from tests.bmc.contract import check_contract
from tests.bmc.fake import FakeBmc

pytestmark = pytest.mark.looptime


async def test_the_fake_keeps_the_contract() -> None:
    await check_contract(FakeBmc(lag=3.0))


SETTLES = {
    "at once": (FakeBmc(), 1, 1),
    "a slow board": (FakeBmc(lag=25.0), 1, 26),
    "a board that takes a minute is pressed again": (FakeBmc(lag=45.0), 2, 50),
    "a press that is swallowed is repeated": (FakeBmc(deaf=2), 3, 65),
}


@pytest.mark.parametrize(("bmc", "presses", "within_s"), SETTLES.values(), ids=SETTLES.keys())
async def test_power_on_ends_when_the_machine_is_on(bmc: FakeBmc, presses: int, within_s: float) -> None:
    began = asyncio.get_running_loop().time()
    await ensure_power(bmc, Power.ON)
    assert await bmc.power() is Power.ON
    assert bmc.pressed == [Press.ON] * presses
    assert asyncio.get_running_loop().time() - began <= within_s


async def test_already_there_presses_nothing() -> None:
    bmc = FakeBmc()
    await ensure_power(bmc, Power.OFF)
    assert bmc.pressed == []


async def test_a_reading_right_after_a_press_is_not_believed_alone() -> None:
    """A machine that is on its way up reads "off" for a while: "ensure off" must not be content with that."""
    bmc = FakeBmc(lag=1.5)
    await bmc.press(Press.ON)
    await ensure_power(bmc, Power.OFF)
    assert bmc.pressed == [Press.ON, Press.OFF]
    await asyncio.sleep(60)
    assert await bmc.power() is Power.OFF


async def test_a_board_that_lies_for_twenty_seconds_is_pressed_and_read_late() -> None:
    bmc = FakeBmc()
    began = asyncio.get_running_loop().time()
    await ensure_power(bmc, Power.OFF, Patience(distrust_s=20.0))
    assert bmc.pressed == [Press.OFF]
    assert asyncio.get_running_loop().time() - began >= 20


async def test_a_state_that_never_comes_is_a_timeout_within_two_minutes() -> None:
    bmc = FakeBmc(lag=1e9)
    began = asyncio.get_running_loop().time()
    with pytest.raises(BmcTimeout, match=r"power\.on: not seen within 115 s"):
        await ensure_power(bmc, Power.ON)
    assert asyncio.get_running_loop().time() - began <= 120
    assert bmc.pressed == [Press.ON] * 4


async def test_polls_are_counted_whatever_the_clock_rounds() -> None:
    """A timer may fire a rounding error before its time; the machine is not asked without end for that moment."""

    class Counted(FakeBmc):
        async def power(self) -> Power:
            self.calls += 1
            assert self.calls < 100, "asked without a pause"
            return await super().power()

    await asyncio.sleep(19.706185)  # 30 s later lies between two readings of the clock
    with pytest.raises(BmcTimeout):
        await ensure_power(Counted(lag=1e9), Power.ON)


async def test_a_press_that_finds_the_board_busy_is_repeated() -> None:
    class Busy(FakeBmc):
        async def press(self, press: Press) -> None:
            if len(self.pressed) < 2:
                self.pressed.append(press)
                raise BmcBusy("later")
            await super().press(press)

    bmc = Busy()
    await ensure_power(bmc, Power.ON)
    assert bmc.pressed == [Press.ON] * 3


async def test_a_silent_bmc_is_called_unreachable() -> None:
    class Mute(FakeBmc):
        async def power(self) -> Power:
            if self.pressed:
                raise BmcUnreachable("no answer")
            return Power.OFF

    with pytest.raises(BmcUnreachable, match="last trouble: no answer"):
        await ensure_power(Mute(), Power.ON)


async def test_a_refused_password_ends_it_at_once() -> None:
    class Locked(FakeBmc):
        async def press(self, press: Press) -> None:
            raise BmcAuthError("no")

    with pytest.raises(BmcError, match="no"):
        await ensure_power(Locked(), Power.ON)
