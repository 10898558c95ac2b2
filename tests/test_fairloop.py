"""The loop's selector: as good as asyncio's own, and urgent descriptors never wait behind the many."""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from provisioner.fairloop import BULK_AT_ONCE, FairSelector, is_bulk, run

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@pytest.fixture
def selector() -> Iterator[FairSelector]:
    with closing(FairSelector()) as made:
        yield made


def connected(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = stack.enter_context(socket.create_connection(server.getsockname()))
        far = stack.enter_context(server.accept()[0])
    return near, far


KINDS: dict[str, tuple[Callable[[], socket.socket], bool]] = {
    "a TCP connection is one of many": (lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), True),
    "also by IPv6": (lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM), True),
    "datagrams are urgent: DHCP": (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), False),
    "UNIX sockets are urgent: the operator's API": (lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), False),
}


@pytest.mark.parametrize(("make", "expected"), KINDS.values(), ids=KINDS.keys())
def test_is_bulk(make: Callable[[], socket.socket], expected: bool) -> None:
    with make() as sock:
        assert is_bulk(sock.fileno()) is expected
        assert sock.fileno() >= 0  # looking at it closes nothing


def test_a_pipe_is_urgent() -> None:
    ends = os.pipe()
    assert not is_bulk(ends[0])
    for end in ends:
        os.close(end)


def test_what_is_urgent_comes_whole_and_first_and_the_many_in_turns(selector: FairSelector) -> None:
    with ExitStack() as stack:
        many = [connected(stack) for _ in range(3 * BULK_AT_ONCE)]
        few = [[stack.enter_context(end) for end in socket.socketpair()] for _ in range(2 * BULK_AT_ONCE)]
        for near, far in (*many, *few):
            selector.register(near, READ, near)
            far.send(b"x")
        seen: set[socket.socket] = set()
        urgent = {near for near, _ in few}
        for _ in range(3):
            found = [key.data for key, _ in selector.select(0)]
            assert set(found[: len(few)]) == urgent
            assert len(found) == len(few) + BULK_AT_ONCE
            seen.update(found[len(few) :])
        assert seen == {near for near, _ in many}  # each had its turn


def test_events_are_those_that_were_asked_for(selector: FairSelector) -> None:
    with ExitStack() as stack:
        near, far = connected(stack)
        selector.register(near.fileno(), WRITE)
        assert [(key.fd, events) for key, events in selector.select(0)] == [(near.fileno(), WRITE)]
        selector.modify(near.fileno(), READ, "data")
        assert selector.select(0) == []
        far.close()
        assert [(key.data, events) for key, events in selector.select(1)] == [("data", READ)]


def test_what_is_closed_before_it_is_unregistered_is_forgotten(selector: FairSelector) -> None:
    with ExitStack() as stack:
        near, _ = connected(stack)
        key = selector.register(near, READ)
        near.close()
        assert selector.unregister(near) == key
        assert not selector.get_map()
        with pytest.raises(KeyError):
            selector.unregister(key.fd)


def test_a_descriptor_is_watched_once(selector: FairSelector) -> None:
    with ExitStack() as stack:
        near, _ = connected(stack)
        key = selector.register(near, READ)
        with pytest.raises(KeyError):
            selector.register(near.fileno(), READ)
        assert selector.get_key(near.fileno()) == key
        near.close()
        with pytest.raises(ValueError, match="closed"):
            selector.register(near, READ)


def test_asyncio_runs_on_it() -> None:
    said: list[str] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server, asyncio.TaskGroup() as group:
            port = server.sockets[0].getsockname()[1]

            async def one(number: int) -> None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"%d\n" % number)
                said.append((await reader.readline()).decode().strip())
                writer.close()

            for number in range(4 * BULK_AT_ONCE):
                group.create_task(one(number))
            process = await asyncio.create_subprocess_exec("true")
            said.append(f"rc {await process.wait()}")

    run(main())
    assert sorted(said) == sorted([*map(str, range(4 * BULK_AT_ONCE)), "rc 0"])
