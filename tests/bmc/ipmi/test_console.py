"""The serial console over IPMI: against the lab's board, with a machine that prints and is typed to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.errors import BmcAuthError, BmcBusy, BmcUnreachable
from provisioner.model.bmc import Power
from tests.bmc.simulated import PASSWORD, Simulated, ipmi_address

pytestmark = pytest.mark.peer


async def read_until(output: AsyncIterator[bytes], text: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(20):
        async for data in output:
            seen += data
            if text in seen:
                break
    return seen


async def test_what_the_machine_prints_and_what_is_typed(board: Simulated, bmc: Ipmi) -> None:
    typed = bytearray()
    board.machine.console.type = typed.extend  # type: ignore[method-assign]
    console = await bmc.open_console()
    output = console.output()
    board.machine.console.feed(b"SeaBIOS (version 1.16)\r\n")
    assert b"SeaBIOS" in await read_until(output, b"\r\n")
    text = b"".join(b"%05d " % number for number in range(2000))
    board.machine.console.feed(text)
    assert (await read_until(output, b"01999 ")).endswith(text), "twelve kilobytes, in order, nothing twice"
    await console.type(b"root\r")
    assert await bmc.power() is Power.OFF, "commands go beside the console"
    async with asyncio.timeout(20):
        while bytes(typed) != b"root\r":
            await bmc.power()
    await console.close()
    assert [data async for data in output] == []


async def test_a_console_that_is_taken(bmc: Ipmi) -> None:
    first = await bmc.open_console()
    with pytest.raises(BmcBusy, match="in use by somebody else"):
        await bmc.open_console()
    second = await bmc.open_console(take_over=True)
    await second.close()
    await first.close()


async def test_whoever_goes_away_while_it_opens_leaves_it_free(bmc: Ipmi, worker: WorkerLink) -> None:
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(bmc.open_console())
        while not worker._waiting:
            await asyncio.sleep(0)
        opening.cancel()
    assert worker._waiting == {}
    console = await bmc.open_console()
    await console.close()


async def test_no_console(board: Simulated, worker: WorkerLink) -> None:
    with pytest.raises(BmcAuthError):
        await Ipmi(ipmi_address(100), "wrong", worker).open_console()
    with pytest.raises(BmcUnreachable):
        await Ipmi(ipmi_address(199), PASSWORD, worker).open_console()


async def test_a_worker_that_dies_ends_the_console(bmc: Ipmi, worker: WorkerLink) -> None:
    import os
    import signal

    console = await bmc.open_console()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(BmcUnreachable, match="worker ended"):
        await read_until(console.output(), b"never")
