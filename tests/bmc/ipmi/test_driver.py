"""The IPMI driver against OpenIPMI's simulator, which nobody here wrote."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
from pathlib import Path

import pytest

from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.bmc.pool import load_quirks
from provisioner.errors import BmcAuthError, BmcUnreachable, BmcUnsupported
from provisioner.model.bmc import BmcAddress, BootTarget, Driver, Power
from tests.bmc.contract import check_contract

pytestmark = pytest.mark.peer

QUIRKS = load_quirks()


def chassis_log(root: Path) -> list[str]:
    """What the simulator told its machine, in order."""
    return (root / "chassis.log").read_text().splitlines()


@pytest.mark.slow
async def test_contract(worker: WorkerLink, openipmi: BmcAddress, tmp_path: Path) -> None:
    await check_contract(Ipmi(openipmi, "test", worker, quirks=QUIRKS), reads_boot=False)
    told = [line.split("set ", 1)[1] for line in chassis_log(tmp_path) if " set " in line]
    assert "power 1" in told
    assert "power 0" in told
    assert [line for line in told if line.startswith("boot")][:3] == ["boot pxe", "boot default", "boot cdrom"]


async def test_identity_is_the_boards_own(worker: WorkerLink, openipmi: BmcAddress) -> None:
    board = await Ipmi(openipmi, "test", worker).identify()
    assert (board.vendor, board.model, board.firmware) == ("iana-4753", "product-3842", "9.08")
    assert board.uuid


async def test_without_its_quirk_a_boot_flag_that_cannot_be_read_back_is_an_error(
    worker: WorkerLink, openipmi: BmcAddress
) -> None:
    with pytest.raises(Exception, match="reads back none"):
        await Ipmi(openipmi, "test", worker).boot_once(BootTarget.PXE)


REFUSED = {
    "wrong password": ("ipmiusr", "wrong", "Incorrect password"),
    "unknown user": ("nobody", "test", "Unauthorized name"),
}


@pytest.mark.parametrize(("user", "password", "said"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_login_that_is_refused(
    worker: WorkerLink, openipmi: BmcAddress, user: str, password: str, said: str
) -> None:
    address = dataclasses.replace(openipmi, username=user)
    with pytest.raises(BmcAuthError, match=said) as caught:
        await Ipmi(address, password, worker).power()
    assert password not in str(caught.value).replace("password", "")


async def test_nobody_there(worker: WorkerLink) -> None:
    with pytest.raises(BmcUnreachable, match="refused"):
        await Ipmi(BmcAddress(Driver.IPMI, "127.0.0.1", 9, "a"), "b", worker).power()


async def test_what_ipmi_cannot_say_is_not_said(worker: WorkerLink, openipmi: BmcAddress) -> None:
    bmc = Ipmi(openipmi, "test", worker, quirks=QUIRKS)
    with pytest.raises(BmcUnsupported, match="IPMI has no boot device http"):
        await bmc.boot_once(BootTarget.HTTP)
    with pytest.raises(BmcUnsupported, match="cannot carry a boot URI"):
        await bmc.boot_always(BootTarget.PXE, "http://192.0.2.1/")


async def test_a_worker_that_dies_is_replaced_and_the_next_call_works(worker: WorkerLink, openipmi: BmcAddress) -> None:
    bmc = Ipmi(openipmi, "test", worker)
    assert await bmc.power() is Power.OFF
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(30):
        while worker.pid == first:
            with contextlib.suppress(BmcUnreachable):
                await bmc.power()
    assert await bmc.power() is Power.OFF
    assert worker.pid != first
    assert worker.restarts == 1


async def test_a_service_that_is_stopped_ends_its_sessions_first(
    openipmi: BmcAddress, caplog: pytest.LogCaptureFixture
) -> None:
    async with WorkerLink() as link:
        bmc = Ipmi(openipmi, "test", link)
        assert await bmc.power() is Power.OFF
        assert link.pid is not None
        os.kill(link.pid, signal.SIGTERM)  # systemd sends it to daemon and worker alike
        os.kill(link.pid, signal.SIGINT)
        assert await bmc.power() is Power.OFF
        process = Path(f"/proc/{link.pid}")
    assert not process.exists(), "it ends with the daemon's end of its socket"
    assert "worker-died" not in caplog.text


async def test_the_password_is_in_no_command_line_and_no_environment(worker: WorkerLink, openipmi: BmcAddress) -> None:
    assert await Ipmi(openipmi, "test", worker).power() is Power.OFF
    process = Path(f"/proc/{worker.pid}")
    command = await asyncio.to_thread((process / "cmdline").read_bytes)
    environment = await asyncio.to_thread((process / "environ").read_bytes)
    assert b"provisioner.bmc.ipmi.worker" in command
    assert b"ipmiusr" not in command + environment
