"""The worker keeps sessions: reused, ended when idle, opened again when lost, and none of them knows of another."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from provisioner.bmc.ipmi import worker as worker_module
from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.bmc.ipmi.messages import (
    Answer,
    CloseConsole,
    Command,
    Failed,
    GiveUp,
    OpenConsole,
    Request,
    Study,
    Subject,
    Target,
    Trouble,
    decode_reply,
    frame,
)
from provisioner.bmc.ipmi.worker import Line, Worker, raise_file_limit
from provisioner.errors import BmcProtocolError, BmcUnreachable
from provisioner.model.bmc import BmcAddress, Driver, Power
from tests.bmc.ipmi.test_session import scripted
from tests.bmc.simulated import PASSWORD, Simulated, ipmi_address

pytestmark = pytest.mark.peer


@pytest.mark.slow
async def test_a_session_that_the_board_forgot_is_opened_again(board: Simulated, bmc: Ipmi) -> None:
    assert await bmc.power() is Power.OFF
    board.ipmi.lan._sessions.clear()  # as a BMC does that restarts
    assert await bmc.power() is Power.OFF


@pytest.mark.slow
async def test_one_bmcs_nonsense_is_no_trouble_for_another(board: Simulated, bmc: Ipmi, worker: WorkerLink) -> None:
    """What pyghmi's shared queues were known for: a malformed answer of one BMC raised in the call to another."""

    async with scripted(lambda data: [b"\x06\x00\xff\x07\x06\x11" + bytes(30), data[:17], data[::-1]]) as (port, _):
        mad = Ipmi(BmcAddress(Driver.IPMI, "127.0.0.1", port, "a"), "b", worker)
        async with asyncio.TaskGroup() as tasks:
            raving = [tasks.create_task(_fails(mad)) for _ in range(2)]
            sound = [tasks.create_task(bmc.power()) for _ in range(40)]
        assert all(task.result() is Power.OFF for task in sound)
        assert all(task.result() for task in raving)


async def _fails(bmc: Ipmi) -> bool:
    with pytest.raises((BmcUnreachable, BmcProtocolError)):
        await bmc.power()
    return True


class Pipe:
    """A worker in this process, and the daemon's end of its socket."""

    def __init__(self, max_sessions: int) -> None:
        self.max_sessions = max_sessions

    async def __aenter__(self) -> Pipe:
        ours, theirs = socket.socketpair()
        self.reader, self.writer = await asyncio.open_connection(sock=ours)
        reader, writer = await asyncio.open_connection(sock=theirs)
        self.worker = Worker(writer, self.max_sessions)
        self._theirs = writer
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._tasks.create_task(self.worker.run(reader))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.writer.close()
        await self._tasks.__aexit__(None, None, None)
        self._theirs.close()

    async def ask(self, *requests: Request) -> Answer | Failed:
        """Send them at once; return the one answer to them."""
        self.writer.write(b"".join(frame(request) for request in requests))
        size = int.from_bytes(await self.reader.readexactly(4), "big")
        reply = decode_reply(await self.reader.readexactly(size))
        assert isinstance(reply, Answer | Failed)
        return reply


@pytest.fixture
async def pipe() -> AsyncIterator[Pipe]:
    async with Pipe(max_sessions=1) as made:
        yield made


def press(number: int, target: Target, timeout_s: float = 30.0) -> Command:
    return Command(number, target, 0, 2, b"\1", repeat=False, timeout_s=timeout_s)


def status(number: int, target: Target) -> Command:
    return Command(number, target, 0, 1)


UNHEARD_OF = {
    "a name that the DNS cannot have": ("bmc..example", 623, Trouble.UNREACHABLE, "is no name of a host"),
    "what nobody expected": ("127.0.0.1", 70_000, Trouble.PROTOCOL, "internal error: OverflowError"),
}


@pytest.mark.parametrize(("host", "port", "trouble", "said"), UNHEARD_OF.values(), ids=UNHEARD_OF.keys())
async def test_what_goes_wrong_with_one_board_is_the_answer_to_its_request(
    pipe: Pipe, host: str, port: int, trouble: Trouble, said: str
) -> None:
    for number in (1, 2):
        failed = await pipe.ask(status(number, Target(host, port, "admin", PASSWORD)))
        assert isinstance(failed, Failed)
        assert failed.trouble is trouble
        assert said in failed.said


async def test_sessions_are_bounded_and_the_one_idle_longest_goes(board: Simulated, pipe: Pipe) -> None:
    address = ipmi_address(100)
    first = Target(address.host, address.port, address.username, PASSWORD)
    assert isinstance(await pipe.ask(status(1, first)), Answer)
    opened = [line.session for line in pipe.worker._lines.values()]
    second = Target(address.host, address.port, address.username, "wrong")
    failed = await pipe.ask(status(2, second))
    assert isinstance(failed, Failed)
    assert failed.trouble is Trouble.AUTH
    assert opened[0] is not None
    assert not opened[0].usable, "it had to make room"
    assert isinstance(await pipe.ask(status(3, first)), Answer)


async def test_what_is_given_up_before_it_is_sent_is_not_sent(board: Simulated, pipe: Pipe) -> None:
    address = ipmi_address(100)
    target = Target(address.host, address.port, address.username, PASSWORD)
    failed = await pipe.ask(press(1, target), GiveUp(1))  # in one breath: its turn has not begun
    assert is_unsent(failed)
    async with pipe.worker._lines.setdefault(target, Line()).order:
        assert is_unsent(await pipe.ask(press(2, target), GiveUp(2)))
        assert is_unsent(await pipe.ask(press(3, target, timeout_s=0.05)))
    assert isinstance(await pipe.ask(status(4, target)), Answer)
    assert board.machine.power is Power.OFF
    assert await pipe.ask(press(5, target)) == Answer(5, 0, b"")
    assert isinstance(await pipe.ask(GiveUp(5), status(6, target)), Answer)  # what is over is not asked back
    assert pipe.worker._turns == {}


async def test_a_study_that_is_given_up_ends_with_its_next_request(board: Simulated, pipe: Pipe) -> None:
    address = ipmi_address(100)
    target = Target(address.host, address.port, address.username, PASSWORD)
    assert is_unsent(await pipe.ask(Study(1, target, Subject.PARTS), GiveUp(1)))
    assert pipe.worker._turns == {}


@pytest.mark.parametrize("begun", [False, True])
async def test_a_console_that_is_given_up_while_it_opens_is_not_taken(
    board: Simulated, pipe: Pipe, begun: bool
) -> None:
    """In the breath in which it was asked for, and when its login has begun."""
    address = ipmi_address(100)
    target = Target(address.host, address.port, address.username, PASSWORD)
    opens: list[Request] = [OpenConsole(1, target, take_over=True)]
    if begun:
        pipe.writer.write(frame(opens.pop()))
        while not (line := pipe.worker._consoles.get(1)) or line._session._transport is None:
            await asyncio.sleep(0)
    assert await pipe.ask(*opens, CloseConsole(1)) == Failed(1, Trouble.CLOSED, "closed")
    assert not board.ipmi.lan.console_is_active
    assert pipe.worker._consoles == {}


def is_unsent(reply: Answer | Failed) -> bool:
    return isinstance(reply, Failed) and reply.trouble is Trouble.TIMEOUT and not reply.sent


async def test_idle_sessions_are_closed(board: Simulated, pipe: Pipe) -> None:
    address = ipmi_address(100)
    target = Target(address.host, address.port, address.username, PASSWORD)
    await pipe.ask(status(1, target))
    (line,) = pipe.worker._lines.values()
    assert line.session is not None
    now = asyncio.get_running_loop().time()
    line.session.used_at = now - worker_module.IDLE_S + 5
    pipe.worker.sweep(now)
    assert line.session is not None
    pipe.worker.sweep(now + 10)
    assert line.session is None
    pipe.worker.sweep(now + 10)
    assert pipe.worker._lines == {}


def test_the_file_limit_is_raised() -> None:
    assert 1 <= raise_file_limit() <= worker_module.MAX_SESSIONS
