"""The serial console by SSH: against the lab's board, with a machine that prints and is typed to."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from provisioner.bmc.hostkeys import HostKey, HostKeys
from provisioner.bmc.pool import Bmcs
from provisioner.bmc.redfish import ssh
from provisioner.bmc.redfish.client import RedfishClient
from provisioner.bmc.redfish.driver import Redfish
from provisioner.errors import BmcConsoleRefused, BmcNotTrusted, BmcUnreachable, BmcUnsupported
from provisioner.lab.faults import Fault
from provisioner.lab.ssh import SshServer, host_key
from provisioner.model.bmc import Power
from tests.bmc.ipmi.test_console import read_until
from tests.bmc.simulated import PASSWORD, SSH_PORT, Simulated, host, ipmi_address, redfish_address, simulated

pytestmark = pytest.mark.peer

NUMBER = 110


class Ears:
    """Accounts that let nobody in, and hear who tries."""

    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def named(self, name: str) -> None:
        self._heard.append(name)


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[Simulated]:
    async with simulated(1, tmp_path, first=NUMBER, ssh=True) as boards:
        yield boards[0]


@pytest.fixture
async def bmc(board: Simulated) -> AsyncIterator[Redfish]:
    made = Redfish(RedfishClient(await redfish_address(NUMBER), PASSWORD))
    yield made
    await made.close()


async def test_what_the_machine_prints_and_what_is_typed(board: Simulated, bmc: Redfish) -> None:
    typed = bytearray()
    board.machine.console.type = typed.extend  # type: ignore[method-assign]
    console = await bmc.open_console()
    other = await bmc.open_console(take_over=True)
    output = console.output()
    board.machine.console.feed(b"SeaBIOS (version 1.16)\r\n")
    assert b"SeaBIOS" in await read_until(output, b"\r\n")
    text = b"".join(b"%05d " % number for number in range(20_000))
    board.machine.console.feed(text)
    assert (await read_until(output, b"19999 ")).endswith(text), "in order, nothing twice"
    assert b"SeaBIOS" in await read_until(other.output(), b"\r\n"), "two may look"
    await console.type(b"root\r")
    await console.send_break()
    assert await bmc.power() is Power.OFF, "commands go beside the console"
    async with asyncio.timeout(20):
        while bytes(typed) != b"root\r" or not board.board.chassis.events:
            await bmc.power()
    assert board.board.chassis.events[-1].what == "serial break"
    await console.close()
    assert [data async for data in output] == []
    await board.ssh.close()
    with pytest.raises(BmcUnreachable, match="console"):
        await read_until(other.output(), b"never")
    with pytest.raises(BmcUnreachable, match="takes no keys"):
        await other.type(b"x")
    await other.close()


async def test_a_board_whose_own_shell_is_asked_first(board: Simulated, bmc: Redfish) -> None:
    board.board.faults.start(Fault.CONSOLE_IN_SHELL)
    console = await bmc.open_console()
    output = console.output()
    await read_until(output, b"console\r")
    async with asyncio.timeout(20):
        while not board.machine.console._watchers:
            await bmc.power()
    board.machine.console.feed(b"login: ")
    await read_until(output, b"login: ")
    await console.close()


async def test_a_host_key_is_pinned_and_another_is_sent_nothing(
    tmp_path: Path, board: Simulated, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Bmcs() as bmcs:
        told: list[HostKey] = []
        bmcs.host_keys.kept = told.append
        address = await redfish_address(NUMBER)
        for _ in range(2):
            await (await bmcs.open_console(address, PASSWORD)).close()
        (pin,) = told
        assert (pin.host, pin.port, pin.fingerprint[:7]) == (address.host, SSH_PORT, "SHA256:")
        await board.ssh.close()
        at = address.host, SSH_PORT
        impostor = SshServer(board.board)
        await impostor.start(*at, await asyncio.to_thread(host_key, tmp_path / "another"))
        heard: list[str] = []
        impostor._board = replace(board.board, accounts=Ears(heard))  # type: ignore[arg-type]
        other = f"not the one that was pinned.*not {re.escape(pin.fingerprint)}"
        for _ in range(3):
            with pytest.raises(BmcNotTrusted, match=other):
                await bmcs.open_console(address, PASSWORD)
        bmcs.host_keys.pin(address.host, SSH_PORT, (await asyncssh.get_server_host_key(*at)).get_fingerprint())
        assert heard == [], "neither user nor password was sent"
        for _ in range(2):
            with pytest.raises(BmcConsoleRefused, match="refused this user or password"):
                await bmcs.open_console(address, PASSWORD)
        with pytest.raises(BmcConsoleRefused, match="not asked: its console refused this password twice"):
            await bmcs.open_console(address, PASSWORD)
        assert heard == ["admin", "admin"]
        assert await bmcs.power(address, PASSWORD) is Power.OFF, "no password was refused: all else goes on"
        await bmcs.forget(address)
        assert told[-1] == replace(pin, fingerprint="")
        bmcs.host_keys.first_use = False
        with pytest.raises(BmcNotTrusted, match="is not known: it shows SHA256:"):
            await bmcs.open_console(address, PASSWORD)
        await impostor.close()
    assert PASSWORD not in caplog.text


async def test_no_console(board: Simulated, bmc: Redfish) -> None:
    login = ssh.Login(host(NUMBER), SSH_PORT, "admin", "wrong")
    with pytest.raises(BmcConsoleRefused, match="refused this user or password"):
        await ssh.open_ssh("x", login, HostKeys())
    assert "wrong" not in repr(login)
    with pytest.raises(BmcUnreachable, match="SSH to port 9"):
        await ssh.open_ssh("x", replace(login, port=9), HostKeys())
    board.board.ssh_port = 0
    with pytest.raises(BmcUnsupported, match=r"console\.open: the board offers no console by SSH"):
        await bmc.open_console()


async def test_the_way_that_was_proven_is_asked_and_the_other_where_it_cannot(board: Simulated) -> None:
    async with Bmcs() as bmcs:
        logins = [(await redfish_address(NUMBER), PASSWORD), (ipmi_address(NUMBER), PASSWORD)]
        for login in logins:
            await bmcs.identify(*login)
        board.board.ssh_port = 0
        with pytest.raises(BmcUnsupported):
            await bmcs.open_console(*logins[0])
        await (await bmcs.open_console(*logins[1])).close()
        found = await bmcs.resolve("console.open", logins)
        assert [(one.driver, one.verdict) for one in found.order] == [("ipmi", "proven"), ("redfish", "unproven")]
        board.board.ssh_port = SSH_PORT
        await (await bmcs.open_console(*logins[0])).close()
        found = await bmcs.resolve("console.open", logins)
        assert [(one.driver, one.verdict) for one in found.order] == [("redfish", "proven"), ("ipmi", "proven")]
