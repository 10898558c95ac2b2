"""One door for all BMCs: queues, deadlines, retries, consoles. Virtual time, fakes behind the door."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging

import pytest

from provisioner.bmc.capabilities import ConsoleLine
from provisioner.bmc.hostkeys import HostKey
from provisioner.bmc.lanes import MAX_WAITING
from provisioner.bmc.pool import Bmcs, offered_by
from provisioner.bmc.table import ACTION_S, VERBS
from provisioner.bmc.verbs import Bmc, Press
from provisioner.errors import (
    BmcAuthError,
    BmcBusy,
    BmcConsoleRefused,
    BmcError,
    BmcNotTrusted,
    BmcTimeout,
    BmcUnreachable,
    BmcUnsupported,
)
from provisioner.model.bmc import BmcAddress, BootTarget, Driver, Power
from tests.bmc.fake import ADDRESS, FakeBmc

pytestmark = pytest.mark.looptime


class Rack:
    """Fakes by host, made as they are asked for."""

    def __init__(self) -> None:
        self.boards: dict[str, FakeBmc] = {}
        self.made: list[tuple[str, str]] = []

    def make(self, address: BmcAddress, password: str) -> Bmc:
        self.made.append((address.host, password))
        return self.boards.setdefault(address.host, FakeBmc(address))


@pytest.fixture
def rack() -> Rack:
    return Rack()


@pytest.fixture
def bmcs(rack: Rack) -> Bmcs:
    return Bmcs(quirks=(), make=rack.make)


@pytest.fixture
def board(rack: Rack) -> FakeBmc:
    rack.boards[ADDRESS.host] = FakeBmc(ADDRESS)
    return rack.boards[ADDRESS.host]


async def test_every_verb_reaches_the_board(bmcs: Bmcs, board: FakeBmc) -> None:
    assert (await bmcs.identify(ADDRESS, "p")).vendor == "Fake"
    await bmcs.set_power(ADDRESS, "p", Power.ON)
    assert await bmcs.power(ADDRESS, "p") is Power.ON
    await bmcs.boot_once(ADDRESS, "p", BootTarget.PXE)
    assert (await bmcs.boot_override(ADDRESS, "p")).once
    await bmcs.boot_always(ADDRESS, "p", BootTarget.DISK, uefi=True)
    assert not (await bmcs.boot_override(ADDRESS, "p")).once
    await bmcs.reset(ADDRESS, "p")
    await bmcs.press(ADDRESS, "p", Press.NMI)
    assert board.pressed == [Press.ON, Press.RESET, Press.NMI]
    with pytest.raises(BmcUnsupported):
        await bmcs.boot_once(ADDRESS, "p", BootTarget.HTTP, "http://192.0.2.1/")


async def test_one_driver_per_bmc_until_its_password_changes(bmcs: Bmcs, rack: Rack, board: FakeBmc) -> None:
    for _ in range(3):
        await bmcs.power(ADDRESS, "old")
    await bmcs.power(ADDRESS, "new")
    await bmcs.power(dataclasses.replace(ADDRESS, fingerprint="ab"), "new")
    assert [password for _, password in rack.made] == ["old", "new", "new"]
    assert board.closed == 2


class Locked(FakeBmc):
    """A board that knows one password, asked with another; it takes its time to end a session."""

    password = ""

    def _stumble(self) -> None:
        super()._stumble()
        if self.password != "right":
            raise BmcAuthError("refused")

    async def close(self) -> None:
        await asyncio.sleep(3)
        await super().close()


async def test_a_password_is_proven_by_itself_whoever_asks_meanwhile_with_another() -> None:
    def make(address: BmcAddress, password: str) -> Bmc:
        board = Locked(address)
        board.password = password
        return board

    bmcs = Bmcs(quirks=(), make=make)
    await bmcs.power(ADDRESS, "right")
    async with asyncio.TaskGroup() as tasks:
        wrong = tasks.create_task(_refused(bmcs, "wrong"))
        await asyncio.sleep(1)  # the session of the right one is being ended
        assert await bmcs.power(ADDRESS, "right") is Power.OFF
    assert wrong.done()
    assert await bmcs.power(ADDRESS, "right") is Power.OFF


async def _refused(bmcs: Bmcs, password: str) -> None:
    with pytest.raises(BmcAuthError):
        await bmcs.identify(ADDRESS, password)


async def test_a_password_is_proven_by_a_login_of_its_own(bmcs: Bmcs, board: FakeBmc) -> None:
    await bmcs.power(ADDRESS, "p")
    board.troubles = [BmcAuthError("wrong")] * 3
    for _ in range(3):
        with pytest.raises(BmcAuthError):
            await bmcs.prove(ADDRESS, "p")
    assert (board.closed, board.calls) == (3, 3), "the sessions were ended, and refusals are counted all the same"


async def test_what_passes_is_retried(bmcs: Bmcs, board: FakeBmc) -> None:
    board.troubles = [BmcUnreachable("lost"), BmcBusy("later", retry_after_s=9)]
    began = asyncio.get_running_loop().time()
    assert await bmcs.power(ADDRESS, "p") is Power.OFF
    assert asyncio.get_running_loop().time() - began >= 9


@pytest.mark.parametrize("error", [BmcAuthError("no"), BmcUnsupported("no"), BmcTimeout("no")])
async def test_what_does_not_pass_is_not(bmcs: Bmcs, board: FakeBmc, error: BmcError) -> None:
    board.troubles = [error]
    with pytest.raises(type(error)):
        await bmcs.power(ADDRESS, "p")
    assert board.calls == 1


async def test_a_reset_is_never_retried(bmcs: Bmcs, board: FakeBmc) -> None:
    await bmcs.set_power(ADDRESS, "p", Power.ON)
    board.troubles = [BmcUnreachable("lost")]
    with pytest.raises(BmcUnreachable):
        await bmcs.press(ADDRESS, "p", Press.RESET)
    assert Press.RESET not in board.pressed


class WithConsole(FakeBmc):
    """A board whose console ends as it is told; its account is good for all else."""

    ends: BmcError

    async def open_console(self, *, take_over: bool = False) -> ConsoleLine:
        self.calls += 1
        raise self.ends


REFUSALS: dict[str, tuple[BmcError, int, type[BmcError] | None]] = {
    # how the console refuses, how often it is asked, how a verb ends then
    "by a service of its own": (BmcConsoleRefused("SSH refused"), 2, None),
    "by that of all verbs": (BmcAuthError("refused"), 2, BmcAuthError),
    "for it has none": (BmcUnsupported("no SSH"), 4, None),
}


@pytest.mark.parametrize(("ends", "asked", "verb"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_console_that_refuses_an_account(
    bmcs: Bmcs, rack: Rack, ends: BmcError, asked: int, verb: type[BmcError] | None
) -> None:
    board = rack.boards[ADDRESS.host] = WithConsole(ADDRESS)
    board.ends = ends
    for _ in range(4):
        with pytest.raises(type(ends)):
            await bmcs.open_console(ADDRESS, "p")
    assert board.calls == asked
    with contextlib.nullcontext() if verb is None else pytest.raises(verb, match="the BMC refused this password twice"):
        await bmcs.set_power(ADDRESS, "p", Power.ON)


async def test_a_certificate_that_is_another_one_is_no_refused_password(bmcs: Bmcs, board: FakeBmc) -> None:
    board.troubles = [BmcNotTrusted("the TLS certificate is not the one that was pinned")] * 3
    for _ in range(3):
        with pytest.raises(BmcNotTrusted, match="the TLS certificate"):
            await bmcs.power(ADDRESS, "p")
    assert await bmcs.power(ADDRESS, "p") is Power.OFF


async def test_it_is_not_tried_more_often_for_another_one_between(bmcs: Bmcs, board: FakeBmc) -> None:
    board.troubles = [BmcAuthError("wrong")] * 9
    for _ in range(4):
        for password in ("old", "new"):
            with pytest.raises(BmcAuthError):
                await bmcs.power(ADDRESS, password)
    assert board.calls == 4, "two of each"


@pytest.mark.parametrize(("driver", "pinned"), {Driver.REDFISH: "", Driver.IPMI: "SHA256:x"}.items())
async def test_the_host_key_of_the_console_goes_with_the_way_that_it_is_opened_by(
    bmcs: Bmcs, driver: Driver, pinned: str
) -> None:
    bmcs.host_keys.load([HostKey(ADDRESS.host, 22, "SHA256:x")])
    await bmcs.forget(dataclasses.replace(ADDRESS, driver=driver))
    assert bmcs.host_keys.pinned(ADDRESS.host, 22) == pinned


async def test_an_action_ends_within_two_minutes(bmcs: Bmcs, rack: Rack) -> None:
    class Hung(FakeBmc):
        async def power(self) -> Power:
            await asyncio.sleep(1e6)
            return Power.OFF

    rack.boards[ADDRESS.host] = Hung(ADDRESS)
    began = asyncio.get_running_loop().time()
    with pytest.raises(BmcTimeout, match=r"power\.on: not done within 120 s"):
        await bmcs.set_power(ADDRESS, "p", Power.ON)
    assert asyncio.get_running_loop().time() - began == pytest.approx(ACTION_S)


async def test_a_read_of_a_silent_bmc_ends_with_its_first_silence(bmcs: Bmcs, rack: Rack) -> None:
    class Silent(FakeBmc):
        async def power(self) -> Power:
            await asyncio.sleep(30)
            raise BmcUnreachable("no answer within 30 s", silent=True)

    rack.boards[ADDRESS.host] = Silent(ADDRESS)
    began = asyncio.get_running_loop().time()
    with pytest.raises(BmcUnreachable) as caught:
        await bmcs.power(ADDRESS, "p")
    assert str(caught.value) == "no answer within 30 s", "and no advice to read what was read"
    assert asyncio.get_running_loop().time() - began == pytest.approx(30)


async def test_a_hung_bmc_holds_up_nobody_else(bmcs: Bmcs, rack: Rack) -> None:
    rack.boards["192.0.2.66"] = FakeBmc(lag=1e9)
    began = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as tasks:
        hung = tasks.create_task(_expect_timeout(bmcs, dataclasses.replace(ADDRESS, host="192.0.2.66")))
        for number in range(100):
            address = dataclasses.replace(ADDRESS, host=f"198.51.100.{number}")
            tasks.create_task(_within_a_second(bmcs, address, began))
    assert hung.done()


async def _expect_timeout(bmcs: Bmcs, address: BmcAddress) -> None:
    with pytest.raises(BmcTimeout):
        await bmcs.set_power(address, "p", Power.ON)


async def _within_a_second(bmcs: Bmcs, address: BmcAddress, began: float) -> None:
    await bmcs.set_power(address, "p", Power.ON)
    assert asyncio.get_running_loop().time() - began <= 1


async def test_changes_of_one_bmc_wait_for_each_other_and_reads_do_not(bmcs: Bmcs, board: FakeBmc) -> None:
    board.lag = 20
    async with asyncio.TaskGroup() as tasks:
        on = tasks.create_task(bmcs.set_power(ADDRESS, "p", Power.ON))
        await asyncio.sleep(1)
        off = tasks.create_task(bmcs.set_power(ADDRESS, "p", Power.OFF))
        assert await bmcs.power(ADDRESS, "p") is Power.OFF, "read while the machine is on its way"
        await on
        assert await bmcs.power(ADDRESS, "p") is Power.ON
        assert not off.done()
    assert board.pressed == [Press.ON, Press.OFF]


async def test_the_queue_of_a_bmc_is_bounded(bmcs: Bmcs, board: FakeBmc) -> None:
    board.lag = 20

    async def boot() -> bool:
        try:
            await bmcs.boot_once(ADDRESS, "p", BootTarget.PXE)
        except BmcBusy:
            return False
        return True

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bmcs.set_power(ADDRESS, "p", Power.ON))
        await asyncio.sleep(1)
        calls = [tasks.create_task(boot()) for _ in range(MAX_WAITING + 4)]
    assert [call.result() for call in calls].count(False) == 5


async def test_no_password_in_the_log(bmcs: Bmcs, board: FakeBmc, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    board.troubles = [BmcAuthError("wrong")]
    with pytest.raises(BmcAuthError):
        await bmcs.power(ADDRESS, "hunter2")
    await bmcs.set_power(ADDRESS, "hunter2", Power.ON)
    assert "bmc.failed" in caplog.text
    assert "bmc.done" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.looptime(False)
async def test_start_and_stop() -> None:
    async with Bmcs() as bmcs:
        with pytest.raises(BmcUnreachable):
            await bmcs.reset(BmcAddress(Driver.IPMI, "127.0.0.1", 9, "a"), "b")
        assert await bmcs.fingerprint(BmcAddress(Driver.IPMI, "127.0.0.1", 9, "a")) == ""
        await bmcs.forget(BmcAddress(Driver.IPMI, "127.0.0.1", 9, "a"))


async def test_any_verb_by_its_name(bmcs: Bmcs, board: FakeBmc) -> None:
    assert await bmcs.do(ADDRESS, "p", "power.status") is Power.OFF
    await bmcs.do(ADDRESS, "p", "power.nmi")
    await bmcs.do(ADDRESS, "p", "power.on")
    await bmcs.do(ADDRESS, "p", "boot.once.pxe", uefi=True)
    assert board.pressed == [Press.NMI, Press.ON]
    assert (await bmcs.boot_override(ADDRESS, "p")).uefi is True
    with pytest.raises(BmcUnsupported, match=r"bios\.read: the redfish driver cannot do this"):
        await bmcs.do(ADDRESS, "p", "bios.read")
    with pytest.raises(BmcUnsupported, match=r"console\.open"):
        await bmcs.open_console(ADDRESS, "p")


def test_what_the_drivers_offer() -> None:
    redfish, ipmi = offered_by(Driver.REDFISH), offered_by(Driver.IPMI)
    assert redfish | ipmi == set(VERBS), "every verb is offered by a driver"
    assert set(VERBS) == redfish, "what IPMI can Redfish can, too"
    assert {"power.cycle", "sensors.read", "accounts.password", "console.open", "led.set"} <= ipmi
    assert not {"vmedia.insert", "bios.apply", "firmware.update", "boot.once.http"} & ipmi


async def test_what_was_seen_decides_which_driver_is_asked(bmcs: Bmcs, rack: Rack) -> None:
    by_redfish, by_ipmi = (ADDRESS, "p"), (dataclasses.replace(ADDRESS, driver=Driver.IPMI, host="192.0.2.2"), "p")
    rack.boards["192.0.2.2"] = FakeBmc(by_ipmi[0])
    for address, password in (by_redfish, by_ipmi):
        await bmcs.identify(address, password)
    verb = "boot.once.cd"
    before = await bmcs.resolve(verb, [by_redfish, by_ipmi])
    assert [one.verdict for one in before.order] == ["unproven", "unproven"]
    rack.boards[ADDRESS.host].offers = frozenset()
    with pytest.raises(BmcUnsupported):
        await bmcs.boot_once(*by_redfish, BootTarget.CD)
    await bmcs.boot_once(*by_ipmi, BootTarget.CD)
    after = await bmcs.resolve(verb, [by_redfish, by_ipmi])
    assert [(one.driver, one.verdict) for one in after.order] == [(Driver.IPMI, "proven")]
    assert after.left_out[0].reason == "no cd"
