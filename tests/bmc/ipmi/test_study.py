"""Studies end, whatever the board's records say: hostile boards are functions here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from provisioner.bmc.ipmi.messages import Subject, Trouble
from provisioner.bmc.ipmi.session import SessionError
from provisioner.bmc.ipmi.study import MAX_REQUESTS, Bridge, study
from provisioner.lab.board import Role, Sensor
from provisioner.lab.ipmi.call import LAN_CHANNEL, Caller
from provisioner.lab.ipmi.commands import respond
from provisioner.lab.ipmi.message import Request
from tests.bmc.simulated import Simulated

Answer = Callable[[int, int, bytes], tuple[int, bytes]]


async def run(subject: Subject, answer: Answer, timeout_s: float = 60.0) -> tuple[SessionError | None, int]:
    """Study a board; return what it ended with and how many requests it took."""
    asked = 0

    async def ask(netfn: int, command: int, data: bytes, lun: int) -> tuple[int, bytes]:
        nonlocal asked
        asked += 1
        return answer(netfn, command, data)

    try:
        await asyncio.to_thread(study, subject, Bridge(ask, timeout_s))
    except SessionError as error:
        return error, asked
    return None, asked


def knows_nothing(netfn: int, command: int, data: bytes) -> tuple[int, bytes]:
    return 0xC1, b""


def answers_nothing(netfn: int, command: int, data: bytes) -> tuple[int, bytes]:
    return 0, b""


def goes_in_circles(netfn: int, command: int, data: bytes) -> tuple[int, bytes]:
    """A log whose next record is always the same."""
    match netfn, command:
        case 0x06, 0x01:
            return 0, bytes.fromhex("20 81 03 45 02 3f a2 02 00 01 01 00 00 00 00")
        case 0x0A, 0x20:
            return 0, bytes.fromhex("51 00 00 ff ff 00 00 00 00 00 00 00 00 00")
        case 0x0A, 0x43:
            return 0, bytes.fromhex("01 00 01 00 02 00 00 00 00 20 00 04 01 30 01 ff ff ff")
        case 0x0A, 0x22:
            return 0, bytes.fromhex("01 00")
        case 0x0A, 0x23:
            return 0xCB, b""
        case _:
            return 0, bytes(16)


@pytest.mark.parametrize("subject", list(Subject))
async def test_a_board_that_knows_nothing(subject: Subject) -> None:
    error, _ = await run(subject, knows_nothing)
    assert error is not None
    assert error.trouble is Trouble.UNSUPPORTED


@pytest.mark.parametrize("subject", list(Subject))
async def test_a_board_that_answers_nothing(subject: Subject) -> None:
    error, _ = await run(subject, answers_nothing)
    assert error is not None
    assert error.trouble is Trouble.PROTOCOL


async def test_boards_of_one_firmware_are_read_by_their_own_records() -> None:
    """Also where one is read while another's study, which began before, still waits."""
    boards = Simulated(0).board, Simulated(1).board
    boards[1].sensors = (Sensor(1, "GPU Temp", "C", 47, 23, 3, 95),)
    caller = Caller(LAN_CHANNEL, Role.ADMINISTRATOR, Role.ADMINISTRATOR)
    began, first_is_read = asyncio.Event(), asyncio.Event()

    def bridge(number: int) -> Bridge:
        async def ask(netfn: int, command: int, data: bytes, lun: int) -> tuple[int, bytes]:
            if number:
                began.set()
                await first_is_read.wait()
            answer = respond(Request(netfn, command, data), boards[number], caller, 0.0, {})
            return answer.code, answer.data

        return Bridge(ask, 60.0)

    async with asyncio.TaskGroup() as tasks:
        second = tasks.create_task(asyncio.to_thread(study, Subject.SENSORS, bridge(1)))
        await began.wait()
        first = await asyncio.to_thread(study, Subject.SENSORS, bridge(0))
        first_is_read.set()
    assert [row.name for row in first] == [sensor.name for sensor in boards[0].sensors]  # type: ignore[union-attr]
    assert [row.name for row in second.result()] == ["GPU Temp"]  # type: ignore[union-attr]


@pytest.mark.slow
async def test_records_that_go_in_circles_end_at_the_bound() -> None:
    error, asked = await run(Subject.EVENTS, goes_in_circles)
    assert error is not None
    assert error.trouble is Trouble.TIMEOUT
    assert asked == MAX_REQUESTS


async def test_records_that_take_too_long_end_at_the_deadline() -> None:
    error, _ = await run(Subject.EVENTS, goes_in_circles, timeout_s=0.2)
    assert error is not None
    assert error.trouble is Trouble.TIMEOUT


async def test_the_time_of_a_study_begins_when_it_does() -> None:
    now = 0.0
    asked = 0

    async def ask(netfn: int, command: int, data: bytes, lun: int) -> tuple[int, bytes]:
        nonlocal asked, now
        asked, now = asked + 1, now + 59.0
        return knows_nothing(netfn, command, data)

    bridge = Bridge(ask, 60.0, lambda: now)
    now = 1_000.0  # it waited for a thread
    assert (await asyncio.to_thread(bridge.raw_command, 6, 1))["code"] == 0xC1
    await asyncio.to_thread(bridge.raw_command, 6, 1)
    with pytest.raises(SessionError, match="take too long"):
        await asyncio.to_thread(bridge.raw_command, 6, 1)
    assert asked == 2


@pytest.mark.parametrize("seed", range(20))
async def test_noise_is_an_error_or_rows(seed: int) -> None:
    noise = random.Random(seed)

    def noisy(netfn: int, command: int, data: bytes) -> tuple[int, bytes]:
        return noise.choice((0, 0, 0, 0, 0xCB)), noise.randbytes(noise.randrange(40))

    for subject in Subject:
        error, _ = await run(subject, noisy, timeout_s=0.5)
        assert error is None or isinstance(error.trouble, Trouble)
