"""The lanes of BMCs: what is kept of a board, when it is left alone, when no password is tried. Virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest

from provisioner.bmc.pool import Bmcs
from provisioner.bmc.resolve import Verdict
from provisioner.bmc.verbs import Bmc
from provisioner.errors import BmcAuthError, BmcError, BmcProtocolError, BmcTimeout, BmcUnreachable, BmcWrongState
from provisioner.model.bmc import BmcAddress, BmcIdentity, Power
from tests.bmc.fake import ADDRESS, FakeBmc

pytestmark = pytest.mark.looptime


class Flashed(FakeBmc):
    """A board that gets other firmware; it may take it and say nothing of it any more."""

    firmware = "1.0"
    drivers = 0

    def made(self, _address: BmcAddress, _password: str) -> Bmc:
        self.drivers += 1
        return self

    async def identify(self) -> BmcIdentity:
        return dataclasses.replace(await super().identify(), firmware=self.firmware)

    async def update_firmware(self, uri: str) -> None:
        self.firmware = "2.0"
        self._stumble()


RENEWED: dict[str, tuple[str, list[BmcError]]] = {
    "firmware that we installed": ("firmware.update", []),
    "firmware of which its task says nothing any more": ("firmware.update", [BmcTimeout("nobody confirms it")]),
    "a BMC that was away": ("power.status", [BmcUnreachable("no answer")] * 3),
}


@pytest.mark.parametrize(("verb", "troubles"), RENEWED.values(), ids=RENEWED.keys())
async def test_a_board_that_may_have_other_firmware_is_met_anew(verb: str, troubles: list[BmcError]) -> None:
    board, login = Flashed(ADDRESS), (ADDRESS, "p")
    bmcs = Bmcs(quirks=(), make=board.made)
    await bmcs.identify(*login)
    await bmcs.power(*login)
    board.troubles = list(troubles)
    with contextlib.suppress(BmcError):
        await bmcs.do(*login, verb, **({"uri": "http://192.0.2.1/x"} if verb == "firmware.update" else {}))
    board.firmware = "2.0"
    await asyncio.sleep(60)
    await bmcs.power(*login)
    assert await bmcs.order("power.status", [login]) == [login]
    await bmcs.power(*login)
    assert board.drivers == 2, "what the driver knows of it is forgotten, once"
    told = [one.board.firmware for one in bmcs.ledger if one.verb == "power.status" and one.verdict is Verdict.PROVEN]
    assert sorted(told) == ["1.0", "2.0"]


async def test_a_board_that_is_asked_whose_it_is_stays_of_its_kind() -> None:
    """That is asked before each change; evidence goes by what the board is."""
    board, login = FakeBmc(ADDRESS), (ADDRESS, "p")
    bmcs = Bmcs(quirks=(), make=lambda address, password: board)
    await bmcs.meet(*login)
    await bmcs.power(*login)
    assert list(bmcs.ledger) == [], "of which kind it is nobody knows"
    await bmcs.order("power.status", [login])
    await bmcs.meet(*login)
    await bmcs.power(*login)
    (found,) = [one for one in bmcs.ledger if one.verb == "power.status"]
    assert found.board.kind == ("Fake", "F1", "1.0")


class Closing(FakeBmc):
    """A driver that says how often it was closed, and whose firmware task takes its time."""

    def __init__(self) -> None:
        super().__init__(ADDRESS)
        self.may_end, self.closed = asyncio.Event(), 0

    async def update_firmware(self, uri: str) -> None:
        await self.may_end.wait()

    async def close(self) -> None:
        self.closed += 1


async def test_a_driver_that_was_replaced_amid_a_call_is_closed_after_it() -> None:
    """The call goes on, and logs in again where its session was ended; the driver of now has to meet its board anew."""
    drivers: list[Closing] = []

    def make(_address: BmcAddress, _password: str) -> Bmc:
        drivers.append(Closing())
        return drivers[-1]

    bmcs = Bmcs(quirks=(), make=make)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bmcs.do(ADDRESS, "p", "firmware.update", uri="http://192.0.2.1/x"))
        await asyncio.sleep(1)
        await bmcs.power(ADDRESS, "another")
        assert [each.closed for each in drivers] == [1, 0]
        drivers[0].may_end.set()
    assert [each.closed for each in drivers] == [2, 0]
    await bmcs.power(ADDRESS, "another")
    assert [each.closed for each in drivers] == [2, 1, 0]


@pytest.fixture
def board() -> FakeBmc:
    return FakeBmc(ADDRESS)


@pytest.fixture
def bmcs(board: FakeBmc) -> Bmcs:
    return Bmcs(quirks=(), make=lambda address, password: board)


async def test_a_dead_bmc_is_left_alone_for_a_while(bmcs: Bmcs, board: FakeBmc) -> None:
    board.troubles = [BmcUnreachable("no answer")] * 5
    with pytest.raises(BmcUnreachable, match="no answer"):
        await bmcs.power(ADDRESS, "p")
    asked = board.calls
    with pytest.raises(BmcUnreachable, match=r"not asked: no answer 3 times in a row; asked again in 10 s"):
        await bmcs.power(ADDRESS, "p")
    assert board.calls == asked == 3
    await asyncio.sleep(12)
    with pytest.raises(BmcUnreachable):
        await bmcs.power(ADDRESS, "p")
    assert board.calls == 4, "one try, then it is left alone for longer"
    board.troubles.clear()
    await asyncio.sleep(24)
    assert await bmcs.power(ADDRESS, "p") is Power.OFF


BETWEEN: dict[str, tuple[BmcError, bool]] = {
    # what a verb ends with between silences, and whether the BMC answered with it
    "not in this state": (BmcWrongState("it is off"), True),
    "cannot be read": (BmcProtocolError("not JSON"), True),
    "not seen in time": (BmcTimeout("not seen"), False),
}


@pytest.mark.parametrize(("between", "answered"), BETWEEN.values(), ids=BETWEEN.keys())
async def test_silences_count_in_a_row(bmcs: Bmcs, board: FakeBmc, between: BmcError, answered: bool) -> None:
    silence = BmcUnreachable("no answer", silent=True)
    board.troubles = [silence, silence, between, silence]
    for ends in list(board.troubles):
        with pytest.raises(type(ends)):
            await bmcs.power(ADDRESS, "p")
    asked = board.calls
    with contextlib.suppress(BmcUnreachable):
        await bmcs.power(ADDRESS, "p")
    assert (board.calls > asked) is answered


async def test_a_refused_password_is_tried_twice_in_ten_minutes(bmcs: Bmcs, board: FakeBmc) -> None:
    board.troubles = [BmcAuthError("wrong")] * 3
    for _ in range(4):
        with pytest.raises(BmcAuthError):
            await bmcs.power(ADDRESS, "p")
    assert board.calls == 2
    board.troubles.clear()
    assert await bmcs.power(ADDRESS, "right") is Power.OFF, "a new password is used at once"


async def test_a_refusal_counts_though_the_session_was_ended(bmcs: Bmcs, board: FakeBmc) -> None:
    for _ in range(4):
        board.troubles = [BmcAuthError("wrong")]
        with pytest.raises(BmcAuthError):
            await bmcs.identify(ADDRESS, "p")
        await bmcs.leave(ADDRESS)
        assert bmcs._lanes._lanes == {}, "nor is a password kept"
    assert board.calls == 2
    board.troubles.clear()
    await asyncio.sleep(600)
    await bmcs.identify(ADDRESS, "p")
    await bmcs.leave(ADDRESS)
    assert bmcs._lanes._refused == {}


async def test_of_a_bmc_that_is_put_on_record_anew_no_refusal_counts(bmcs: Bmcs, board: FakeBmc) -> None:
    board.troubles = [BmcAuthError("wrong")] * 2
    for _ in range(2):
        with pytest.raises(BmcAuthError):
            await bmcs.identify(ADDRESS, "p")
    await bmcs.leave(ADDRESS)
    await bmcs.forget(ADDRESS)
    await bmcs.identify(ADDRESS, "p")
