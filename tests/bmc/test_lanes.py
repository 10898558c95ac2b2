"""The lanes of BMCs: what is kept of a board, and for how long. Virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest

from provisioner.bmc.pool import Bmcs
from provisioner.bmc.resolve import Verdict
from provisioner.bmc.verbs import Bmc
from provisioner.errors import BmcError, BmcTimeout, BmcUnreachable
from provisioner.model.bmc import BmcAddress, BmcIdentity
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
