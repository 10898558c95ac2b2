"""Consoles are shared, come back when they are lost, and are cut into lines that people can read. Virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.bmc.consoles import BACKLOG_BYTES, Consoles, Lines, clean
from provisioner.errors import BmcError, BmcUnreachable, BmcUnsupported, BmcWrongState
from provisioner.model.machine import Machine, State
from tests.bmc.fake import ADDRESS

pytestmark = pytest.mark.looptime

MACHINE = Machine("m-17", "node17", State.READY, bmc=ADDRESS)


class FakeLine:
    """A console line: `says` is what it prints and how it ends."""

    def __init__(self, *says: bytes | BmcError) -> None:
        self.says = list(says)
        self.typed = b""
        self.closed = False
        self._more = asyncio.Event()

    def say(self, what: bytes | BmcError) -> None:
        self.says.append(what)
        self._more.set()

    async def output(self) -> AsyncIterator[bytes]:
        while True:
            while self.says:
                what = self.says.pop(0)
                if isinstance(what, BmcError):
                    raise what
                yield what
            self._more.clear()
            await self._more.wait()

    async def type(self, keys: bytes) -> None:
        self.typed += keys

    async def send_break(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True


class Bay:
    """Opens lines one after the other; an error stands for one that does not open."""

    def __init__(self, *lines: FakeLine | Exception) -> None:
        self.lines = list(lines)
        self.opened = 0

    async def open(self, machine: Machine) -> FakeLine:
        self.opened += 1
        line = self.lines.pop(0)
        if isinstance(line, Exception):
            raise line
        return line


async def some(output: AsyncIterator[bytes], length: int) -> bytes:
    seen = b""
    async for data in output:
        seen += data
        if len(seen) >= length:
            break
    return seen


async def test_one_console_for_many_readers_and_what_was_said_before() -> None:
    line = FakeLine(b"SeaBIOS ")
    bay = Bay(line)
    async with Consoles(bay.open) as consoles, consoles.read(MACHINE) as first:
        assert await some(first.output(), 8) == b"SeaBIOS "
        async with consoles.read(MACHINE) as second:
            line.say(b"iPXE")
            assert await some(second.output(), 12) == b"SeaBIOS iPXE"
            assert await some(first.output(), 4) == b"iPXE"
            await second.type(b"\x02")
    assert bay.opened == 1
    assert line.typed == b"\x02"
    assert line.closed


async def test_a_lost_console_is_opened_again() -> None:
    second = FakeLine(b"two")
    bay = Bay(FakeLine(b"one ", BmcUnreachable("lost")), BmcUnreachable("still"), second)
    began = asyncio.get_running_loop().time()
    async with Consoles(bay.open) as consoles, consoles.read(MACHINE) as reader:
        output = reader.output()
        assert await some(output, 4) == b"one "
        await asyncio.sleep(0.1)
        with pytest.raises(BmcWrongState, match="lost"):
            await reader.type(b"x")
        assert await some(output, 3) == b"two"
    assert asyncio.get_running_loop().time() - began >= 6
    assert bay.opened == 3


async def test_keys_for_a_console_that_is_lost_with_them_are_said_not_to_be_typed() -> None:
    class Gone(FakeLine):
        async def type(self, keys: bytes) -> None:
            raise BmcUnreachable("the BMC closed it")

    async with Consoles(Bay(Gone()).open) as consoles, consoles.read(MACHINE) as reader:
        await asyncio.sleep(0.1)
        with pytest.raises(BmcWrongState, match="node17: the console is not open: the BMC closed it"):
            await reader.type(b"x")


async def test_a_fault_of_ours_costs_one_console_a_pause(caplog: pytest.LogCaptureFixture) -> None:
    bay = Bay(UnicodeError("label empty or too long"), FakeLine(b"up"))
    async with Consoles(bay.open) as consoles, consoles.read(MACHINE) as reader:
        await asyncio.sleep(0.1)
        with pytest.raises(BmcWrongState, match="not open: UnicodeError: label empty"):
            await reader.type(b"x")
        assert await some(reader.output(), 2) == b"up"
    (told,) = caplog.records
    assert told.exc_info is not None


async def test_a_board_without_a_console_ends_its_readers() -> None:
    async with Consoles(Bay(BmcUnsupported("no console")).open) as consoles, consoles.read(MACHINE) as reader:
        assert [data async for data in reader.output()] == []
        async with consoles.read(MACHINE) as late:
            assert [data async for data in late.output()] == []
            with pytest.raises(BmcWrongState, match="no console"):
                await late.type(b"x")


async def test_the_backlog_is_bounded() -> None:
    line = FakeLine(*[bytes(1000)] * 200)
    async with Consoles(Bay(line).open) as consoles, consoles.read(MACHINE) as reader:
        assert len(await some(reader.output(), 200_000)) == 200_000
        async with consoles.read(MACHINE) as late:
            seen = await some(late.output(), 1)
            assert BACKLOG_BYTES - 1000 <= len(seen) <= BACKLOG_BYTES


CLEAN = {
    "plain": ("Linux version 6.1", "Linux version 6.1"),
    "colours": ("\x1b[1;32mOK\x1b[0m done", "OK done"),
    "cursor and clear": ("\x1b[2J\x1b[01;01Hmenu", "menu"),
    "a short escape": ("\x1bcreset", "reset"),
    "control characters": ("a\x00b\x07c\td", "abcd"),
    "an escape that does not end": ("\x1b[" + "1" * 60 + "end", "1" * 29 + "end"),
    "nothing left": ("\x1b[0m  \x1b[K", ""),
}


@pytest.mark.parametrize(("text", "line"), CLEAN.values(), ids=CLEAN.keys())
def test_clean(text: str, line: str) -> None:
    assert clean(text, 400) == line


def test_lines() -> None:
    lines = Lines(longest=20)
    assert lines.feed(b"one\r\ntwo\rthr") == ["one", "two"]
    assert lines.feed(b"ee\n\n\nlogin: ") == ["three"]
    assert lines.rest() == ["login:"]
    assert lines.rest() == []
    assert lines.feed(b"x" * 30) == ["x" * 20]


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_output_becomes_printable_lines(pieces: list[bytes]) -> None:
    lines = Lines(longest=30)
    found = [line for piece in pieces for line in lines.feed(piece)] + lines.rest()
    assert all(line.isprintable() and 0 < len(line) <= 30 for line in found)
