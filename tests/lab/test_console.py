"""One serial line, any number of watchers, across power cycles."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from provisioner.lab.console import Console


async def test_everybody_sees_what_the_guest_prints() -> None:
    console = Console()
    with console.watch() as first, console.watch() as second:
        console.feed(b"one")
    console.feed(b"two")
    assert [first.get_nowait(), second.get_nowait()] == [b"one", b"one"]
    assert first.empty()


async def test_keys_reach_a_guest_that_is_there() -> None:
    console = Console()
    console.type(b"lost")
    ours, theirs = socket.socketpair()
    async with asyncio.TaskGroup() as group:
        group.create_task(console.pump(*await asyncio.open_connection(sock=ours)))
        reader, writer = await asyncio.open_connection(sock=theirs)
        with console.watch() as seen:
            writer.write(b"login:")
            assert await seen.get() == b"login:"
            console.type(b"root\r")
            assert await reader.readexactly(5) == b"root\r"
        writer.close()
    console.type(b"lost again")


def test_a_log_has_what_was_printed_while_it_lasts(tmp_path: Path) -> None:
    console = Console()
    console.feed(b"before, ")
    with (tmp_path / "log").open("ab", buffering=0) as file, console.logged(file):
        console.feed(b"one, ")
        console.feed(b"two")
        assert (tmp_path / "log").read_bytes() == b"one, two", "at once"
    console.feed(b", after")
    assert (tmp_path / "log").read_bytes() == b"one, two"


def test_a_disk_that_is_full_costs_the_log_alone() -> None:
    console = Console()
    with Path("/dev/full").open("ab", buffering=0) as full, console.logged(full), console.watch() as seen:
        console.feed(b"one")
        assert seen.get_nowait() == b"one"
