"""One IPMI session on a real socket: BMCs that downgrade, lie, stutter or fall silent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from itertools import groupby
from pathlib import Path

import pytest

from provisioner.bmc.ipmi import session as session_module
from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.bmc.ipmi.messages import Trouble
from provisioner.bmc.ipmi.session import LanSession, SessionError, trouble_of
from provisioner.bmc.verbs import Press
from provisioner.model.bmc import BmcAddress, Driver, Power
from tests.bmc.simulated import IPMI_PORT, PASSWORD, USER, host, simulated

NUMBER = 120
RMCP = bytes.fromhex("0600ff07")


class Scripted(asyncio.DatagramProtocol):
    """A BMC that is a function from a datagram to the datagrams that answer it."""

    def __init__(self, answer: Callable[[bytes], list[bytes]]) -> None:
        self.answer = answer
        self.heard: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)
        for datagram in self.answer(data):
            self.transport.sendto(datagram, addr)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def scripted(answer: Callable[[bytes], list[bytes]]) -> AsyncIterator[tuple[int, Scripted]]:
    loop = asyncio.get_running_loop()
    transport, bmc = await loop.create_datagram_endpoint(lambda: Scripted(answer), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1], bmc
    finally:
        transport.close()


def capabilities(support: int, extended: int) -> bytes:
    """An answer to Get Channel Authentication Capabilities (IPMI 2.0 table 22-15)."""
    body = bytes((0x81, 0x1C, 0x63, 0x20, 0x00, 0x38, 0x00, 0x01, support, 0x04, extended, 0, 0, 0, 0))
    body += bytes((-sum(body[3:]) & 0xFF,))
    return RMCP + bytes(9) + bytes((len(body),)) + body


def opened(request: bytes, *algorithms: int) -> bytes:
    """An Open Session Response that picks these algorithms (table 13-10)."""
    tag, console = request[16], request[20:24]
    body = bytes((tag, 0, 4, 0)) + console + b"\x01\x02\x03\x04"
    for kind, algorithm in enumerate(algorithms):
        body += bytes((kind, 0, 0, 8, algorithm, 0, 0, 0))
    return RMCP + bytes((6, 0x11)) + bytes(8) + len(body).to_bytes(2, "little") + body


def picks(*algorithms: int) -> Callable[[bytes], list[bytes]]:
    def answer(data: bytes) -> list[bytes]:
        if data[4] == 0:
            return [capabilities(0x80, 0x02)]
        return [opened(data, *algorithms)] if data[5] & 0x3F == 0x10 else []

    return answer


REFUSED: dict[str, tuple[Callable[[bytes], list[bytes]], Trouble, str]] = {
    "IPMI 1.5 only": (lambda _: [capabilities(0x04, 0x00)], Trouble.PROTOCOL, "IPMI 1.5 only, which is refused"),
    "1.5, and says so by an error": (
        lambda _: [RMCP + bytes(9) + bytes((8,)) + bytes((0x81, 0x1C, 0x63, 0x20, 0x00, 0x38, 0xCC, 0xDC))],
        Trouble.PROTOCOL,
        "1.5 is refused",
    ),
    "cipher suite 0": (picks(0, 0, 0), Trouble.PROTOCOL, "not proposed"),
    "authentication without integrity": (picks(3, 0, 1), Trouble.PROTOCOL, "not proposed"),
    "no confidentiality": (picks(3, 4, 0), Trouble.PROTOCOL, "not proposed"),
}


@pytest.mark.parametrize(("answer", "trouble", "said"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_bmc_that_downgrades_is_refused_before_any_secret_is_used(
    answer: Callable[[bytes], list[bytes]], trouble: Trouble, said: str
) -> None:
    async with scripted(answer) as (port, bmc):
        session = LanSession("admin", "canary")
        with pytest.raises(SessionError, match=said) as caught:
            await session.open("127.0.0.1", port)
        session.abandon()
    assert caught.value.trouble is trouble
    assert not any(data[4] == 6 and data[5] & 0x3F == 0x12 for data in bmc.heard), "no RAKP message was sent"


@pytest.mark.slow
async def test_cipher_suite_3_where_17_is_unknown() -> None:
    """A board that answers with suite 3 whatever it is asked is asked for suite 3."""
    asked: list[int] = []

    def answer(data: bytes) -> list[bytes]:
        if data[4] == 0:
            return [capabilities(0x80, 0x02)]
        if data[5] & 0x3F == 0x10:
            asked.append(data[28])
            return [opened(data, 1, 1, 1)]
        return []

    async with scripted(answer) as (port, bmc):
        session = LanSession("admin", "canary")
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            opening = tasks.create_task(session.open("127.0.0.1", port))
            while not any(data[4] == 6 and data[5] & 0x3F == 0x12 for data in bmc.heard):  # it goes on to RAKP
                await asyncio.sleep(0)
            opening.cancel()
        session.abandon()
    assert [suite for suite, _ in groupby(asked)] == [3, 1]


@pytest.mark.slow
async def test_noise_is_counted_and_waited_out() -> None:
    noise = [b"", b"\x06", RMCP, RMCP + bytes(12), RMCP + b"\x06\x11" + bytes(40), b"x" * 200]

    async with scripted(lambda _: noise) as (port, _):
        session = LanSession("admin", "canary")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await session.open("127.0.0.1", port)
        session.abandon()


async def test_a_port_that_is_closed_is_told_at_once() -> None:
    session = LanSession("admin", "canary")
    with pytest.raises(SessionError) as caught:
        await session.open("127.0.0.1", 9)
    assert caught.value.trouble is Trouble.UNREACHABLE
    session.abandon()


Address = tuple[str, int]


class Relay(asyncio.DatagramProtocol):
    """Stands between the daemon and a BMC, and passes on what it hears as `how` does."""

    def __init__(self, port: int, name: str, how: Callable[[Relay, bytes, Address], None]) -> None:
        self.towards = (name, port)
        self.client: Address | None = None
        self.seen = 0
        self.how = how

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.seen += 1
        if addr != self.towards:
            self.client = addr
        if where := self.client if addr == self.towards else self.towards:
            self.how(self, data, where)

    def send(self, data: bytes, where: Address) -> None:
        if not self.transport.is_closing():
            self.transport.sendto(data, where)  # type: ignore[attr-defined]


def lossy(relay: Relay, data: bytes, where: Address) -> None:
    """Lose every seventh datagram, in either direction, and double every fifth."""
    if relay.seen % 7 != 6:
        for _ in range(2 if relay.seen % 5 == 0 else 1):
            relay.send(data, where)


def late(relay: Relay, data: bytes, where: Address) -> None:
    """Keep each answer for 1.2 s, as a board does that has other things to do."""
    asyncio.get_running_loop().call_later(0 if where == relay.towards else 1.2, relay.send, data, where)


@contextlib.asynccontextmanager
async def relayed(how: Callable[[Relay, bytes, Address], None]) -> AsyncIterator[tuple[int, Relay]]:
    """A relay before the simulated BMC, and the port where it is asked."""
    transport, relay = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Relay(IPMI_PORT, host(NUMBER), how), local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1], relay
    finally:
        transport.close()


@pytest.mark.peer
@pytest.mark.slow
async def test_a_busy_board_is_waited_for(tmp_path: Path, worker: WorkerLink) -> None:
    """Its login takes longer than a board's that is silent is waited for, and sends each message twice."""
    async with simulated(1, tmp_path, first=NUMBER), relayed(late) as (port, _):
        assert await Ipmi(BmcAddress(Driver.IPMI, "127.0.0.1", port, USER), PASSWORD, worker).power() is Power.OFF


@pytest.mark.peer
@pytest.mark.slow
async def test_packets_that_are_lost_and_doubled(tmp_path: Path) -> None:
    """Each lost datagram costs a second; what is asked is answered all the same."""
    async with simulated(1, tmp_path, first=NUMBER), relayed(lossy) as (port, relay):
        session = LanSession(USER, PASSWORD)
        try:
            await session.open("127.0.0.1", port)
            for _ in range(10):
                code, data = await session.request(0, 1, b"", repeat=True)
                assert (code, len(data) >= 3) == (0, True)
        finally:
            session.leave()
        assert relay.seen > 30


@pytest.mark.peer
async def test_what_is_sent_once_and_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "ONCE_S", 0.1)
    deaf: list[bytes] = []

    def hears(relay: Relay, data: bytes, address: Address) -> None:
        if not session.usable:
            relay.send(data, address)
        elif address == relay.towards:
            deaf.append(data)

    async with simulated(1, tmp_path, first=NUMBER), relayed(hears) as (port, _):
        session = LanSession(USER, PASSWORD)
        await session.open("127.0.0.1", port)
        with pytest.raises(SessionError) as caught:
            await session.request(0, 2, b"\2", repeat=False)
        assert (caught.value.trouble, caught.value.sent) == (Trouble.UNREACHABLE, True)
        assert len(deaf) == 1
        session.abandon()
        with pytest.raises(SessionError) as caught:
            await session.request(0, 2, b"\2", repeat=False)
        assert not caught.value.sent


@pytest.mark.peer
async def test_keys_do_not_wait_for_the_answer_to_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited was sent after the answer, when the console's machine had sent it again: it was typed twice."""
    monkeypatch.setattr(session_module, "RETRANSMIT_S", (0.05,) * 100)
    request, keys = 0, 1
    sent: list[int] = []
    hears = asyncio.Event()

    def deaf_at_first(relay: Relay, data: bytes, where: Address) -> None:
        if session.usable and where == relay.towards:
            sent.append(data[5] & 0x3F)
        if not session.usable or hears.is_set():
            relay.send(data, where)

    async with simulated(1, tmp_path, first=NUMBER), relayed(deaf_at_first) as (port, _), asyncio.timeout(20):
        session = LanSession(USER, PASSWORD)
        await session.open("127.0.0.1", port)
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(session.request(0, 1, b"", repeat=True))
            while request not in sent:
                await asyncio.sleep(0)
            session.send_console(b"\1\0\0\0R")
            while keys not in sent:
                await asyncio.sleep(0)
            hears.set()
        assert asking.result()[0] == 0, "the request is sent again all the same"
        await session.request(0, 1, b"", repeat=True)
        assert sent.count(keys) == 1
        session.leave()


@pytest.mark.peer
@pytest.mark.slow
async def test_a_press_that_is_given_up_while_others_wait_is_not_done(tmp_path: Path, worker: WorkerLink) -> None:
    """What is asked of one BMC is asked in turn: after the last read the press would have been sent."""
    hears = asyncio.Event()

    def deaf_at_first(relay: Relay, data: bytes, where: Address) -> None:
        if hears.is_set():
            relay.send(data, where)

    async with simulated(1, tmp_path, first=NUMBER) as (board,), relayed(deaf_at_first) as (port, relay):
        bmc = Ipmi(BmcAddress(Driver.IPMI, "127.0.0.1", port, USER), PASSWORD, worker)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(bmc.power())
            while not relay.seen:
                await asyncio.sleep(0)
            pressing = tasks.create_task(bmc.press(Press.ON))
            await asyncio.sleep(0)
            pressing.cancel()
            hears.set()
            await reading
        assert await bmc.power() is Power.OFF
        assert board.machine.power is Power.OFF


@pytest.mark.slow
async def test_a_login_that_never_ends_is_given_up(tmp_path: Path) -> None:
    """The first step is answered, the next never: the steps that begin anew are counted."""
    async with scripted(lambda data: [capabilities(0x80, 0x02)] if data[4] == 0 else []) as (port, _):
        session = LanSession("admin", "canary")
        with pytest.raises(SessionError) as caught:
            await session.open("127.0.0.1", port)
        session.abandon()
    assert caught.value.trouble is Trouble.UNREACHABLE


WORDS = {
    "Incorrect password provided": Trouble.AUTH,
    "Unauthorized name in RAKP2": Trouble.AUTH,
    "Invalid RAKP4 integrity code (wrong Kg?)": Trouble.AUTH,
    "Invalid role in RAKP2": Trouble.PRIVILEGE,
    "Insufficient resources to create new session (wait for existing sessions to timeout)": Trouble.BUSY,
    "Session no longer connected": Trouble.UNREACHABLE,
    "something that nobody has seen": Trouble.PROTOCOL,
}


@pytest.mark.parametrize(("words", "trouble"), WORDS.items())
def test_trouble_of(words: str, trouble: Trouble) -> None:
    assert trouble_of(words) is trouble
