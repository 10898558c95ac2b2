"""Who is sent something first, and how a limit is kept to."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import select
import socket
from typing import Any

import pytest

from provisioner.web.sender import TRICKLE_BYTES, TRICKLE_S, TURN_BYTES, Bucket, Patience, Range, Sender, Sending, turns

NOW = 1000.0


async def sending(number: int, *, bulk: bool = False, moved_at: float = NOW) -> Sending:
    it = Sending(-1, -1, Range(0, 10**9, bulk), Patience())
    it.number, it.moved_at = number, moved_at
    return it


async def order(*sendings: Sending) -> list[tuple[int, int]]:
    return [(it.number, most) for it, most in turns(list(sendings), NOW)]


async def test_first_come_first_served_and_images_last() -> None:
    image, second, first = await sending(1, bulk=True), await sending(3), await sending(2)
    assert await order(image, second, first) == [(2, TURN_BYTES), (3, TURN_BYTES), (1, TURN_BYTES)]


async def test_nobody_goes_without_for_long() -> None:
    first = await sending(1)
    starving = await sending(9, bulk=True, moved_at=NOW - TRICKLE_S)
    assert await order(first, starving) == [(9, TRICKLE_BYTES), (1, TURN_BYTES)]


async def test_images_take_turns() -> None:
    just, before = await sending(1, bulk=True), await sending(2, bulk=True, moved_at=NOW - 0.5)
    assert [number for number, _ in await order(just, before)] == [2, 1]


def test_a_bucket_fills_with_time_and_no_further_than_a_burst() -> None:
    bucket = Bucket(1e6, 0.0)
    burst = bucket.left(0.0)
    assert burst == 20_000
    bucket.take(burst)
    assert bucket.left(0.0) == 0
    assert bucket.left(0.005) == 5_000
    assert bucket.left(60.0) == burst
    bucket.take(burst)
    assert bucket.pause_s() == pytest.approx(0.01)


@pytest.mark.looptime
async def test_who_sends_on_the_loop_keeps_to_the_limit_as_well() -> None:
    unlimited = Sender()
    assert await unlimited.permit(10**9) == 10**9
    sender = Sender(rate=1e6)
    allowed = [await sender.permit(10**6)]
    while sum(allowed) < 60_000:
        allowed.append(await sender.permit(10**6))
    assert max(allowed) == 20_000, "never more than a burst at once"
    assert len(allowed) >= 3


async def test_a_limit_is_kept_and_everything_arrives() -> None:
    content = os.urandom(300_000)
    file = os.memfd_create("content")
    os.write(file, content)
    sender = Sender(rate=3e6)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        await sender.begin(ours.fileno(), file, Range(1000, 299_000), Patience()).over()
        theirs.settimeout(10)
        got = b""
        while len(got) < 299_000:
            got += theirs.recv(1 << 20)
    assert got == content[1000:]
    os.close(file)
    await asyncio.to_thread(sender.close)


MIB = 1024**2
TOOK = {
    "a fast one": (100 * MIB, 1.0, False),
    "nothing yet": (0, 120.0, False),
    "nothing after the grace": (0, 120.1, True),
    "8 KiB a second": (8 * 1024 * 3600, 3600.0, False),
    "an octet now and then": (4 * MIB, 633.0, True),
    "a pause of a fast one": (1000 * MIB, 3600.0, False),
}


@pytest.mark.parametrize(("sent_bytes", "took_s", "is_over"), TOOK.values(), ids=TOOK.keys())
def test_patience(sent_bytes: int, took_s: float, is_over: bool) -> None:
    assert Patience().is_over(sent_bytes, took_s) is is_over


NO_RATE_IS_ENOUGH = Patience(grace_s=0.0, slowest_bytes_per_s=math.inf)


@pytest.mark.parametrize("is_full", [True, False], ids=["its client takes too little", "we send too little"])
async def test_who_takes_too_little_is_lost_and_not_whom_we_send_too_little(is_full: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        sending = Sending(ours.fileno(), -1, Range(0, 10**9), NO_RATE_IS_ENOUGH)
        while is_full and select.select([], [ours], [], 0)[1]:
            sending.offset += ours.send(bytes(65536))
        assert sending.is_lost(sending.began + 1.0) is is_full
        assert sending.is_lost(sending.began + 121.0), "nothing moved for two minutes"


@pytest.mark.slow
async def test_who_takes_too_little_is_dropped() -> None:
    file = os.memfd_create("content")
    os.truncate(file, 1 << 30)
    sender = Sender()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with pytest.raises(TimeoutError):
            await sender.begin(ours.fileno(), file, Range(0, 1 << 30), NO_RATE_IS_ENOUGH).over()
    os.close(file)
    await asyncio.to_thread(sender.close)


async def test_what_was_given_whole_is_known_though_its_client_is_gone_first() -> None:
    """The thread may still wait for the interpreter when the loop hears that the client, who has all, has closed."""
    size = 8 << 20
    file = os.memfd_create("content")
    os.truncate(file, size)
    sender = Sender()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        async with asyncio.TaskGroup() as group:
            sending = sender.begin(ours.fileno(), file, Range(0, size), Patience())
            waiting = group.create_task(sending.over())
            await asyncio.sleep(0)
            while size:
                size -= len(theirs.recv(1 << 20))  # the loop hears nothing meanwhile
            waiting.cancel()
        assert waiting.cancelled()
        assert sending.is_whole
    os.close(file)
    await asyncio.to_thread(sender.close)


RATES = {"with a limit": 12.5e6, "without": 0.0}


@pytest.mark.parametrize("rate", RATES.values(), ids=RATES.keys())
async def test_the_others_are_served_when_one_goes_that_took_nothing_for_long(rate: float) -> None:
    file = os.memfd_create("content")
    os.truncate(file, 1 << 30)
    sender = Sender(threads=1, rate=rate)
    with contextlib.ExitStack() as ends:
        (first, gone), (second, stays) = socket.socketpair(), socket.socketpair()
        for end in (first, gone, second, stays):
            ends.enter_context(end).setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while first.send(bytes(65536)):
                pass
        sending = sender.begin(first.fileno(), file, Range(0, 1 << 30), Patience())
        sending.moved_at -= 2 * TRICKLE_S
        gone.close()
        with pytest.raises(ConnectionError):
            await sending.over()
        await sender.begin(second.fileno(), file, Range(0, 10), Patience()).over()
        assert stays.recv(100) == bytes(10)
    os.close(file)
    await asyncio.to_thread(sender.close)


async def test_a_fault_of_ours_ends_what_is_under_way_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    file = os.memfd_create("content")
    os.truncate(file, 1 << 20)
    sender = Sender(threads=1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        no_offset: Any = 0.5
        with pytest.raises(ConnectionAbortedError, match="a fault of the daemon"):
            await sender.begin(ours.fileno(), file, Range(no_offset, 10), Patience()).over()
        await sender.begin(ours.fileno(), file, Range(0, 10), Patience()).over()
        assert theirs.recv(100) == bytes(10)
    assert "http.fault thread=sender-0" in caplog.text
    os.close(file)
    await asyncio.to_thread(sender.close)


async def test_what_cannot_begin_holds_no_descriptor_of_its_client() -> None:
    sender = Sender(threads=1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(OSError, match="Bad file descriptor"):
            sender.begin(ours.fileno(), -1, Range(0, 10), Patience())
        ours.close()
        assert await asyncio.to_thread(theirs.recv, 1) == b"", "its client sees the end"
    sender.close()
