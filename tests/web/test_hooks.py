"""Webhooks against a real receiver on loopback that fails on purpose, from a real store."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from provisioner.clock import SteadyClock
from provisioner.lifecycle.registry import Machines
from provisioner.model.intent import Event
from provisioner.model.machine import Machine, State
from provisioner.store.db import Database
from provisioner.store.events import EventStore
from provisioner.store.hooks import HookStore, Progress
from provisioner.store.machines import Change, MachineStore
from provisioner.store.retention import Keep, Retention
from provisioner.web import hooks as module
from provisioner.web.cloudevents import signature
from provisioner.web.hooks import Hook, Hooks

SECRET = b"0123456789abcdef"
NODES = tuple(Machine(f"m{at}", f"node{at}", State.READY) for at in range(4))


async def at_once(_try: int) -> None:
    """Keep no answer back."""


class Receiver:
    """Takes events, checks their signatures, and answers as it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, str]] = []
        self.tries = 0
        self.answer: Callable[[int], int] = lambda _try: 204
        self.ripe: Callable[[int], Awaitable[None]] = at_once
        """Waits until a try may be answered."""
        self.refused: set[int] = set()
        """Numbers of events that it answers with `refusal`."""
        self.refusal = 400
        self.url = ""

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        message, at = request.headers["webhook-id"], int(request.headers["webhook-timestamp"])
        assert request.headers["webhook-signature"] == signature(SECRET, message, at, body)
        assert request.content_type == "application/cloudevents+json"
        event = json.loads(body)
        assert message == f"{event['source']}#{event['id']}"
        self.tries += 1
        await self.ripe(self.tries)
        status = self.refusal if int(event["id"]) in self.refused else self.answer(self.tries)
        if status == 0:
            assert request.transport
            request.transport.abort()
        if 200 <= status < 300:
            self.taken.append((int(event["id"]), event["data"]["machine"]))
        return web.Response(status=status or 500)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/hook", self._post)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield
        await runner.cleanup()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.taken) < count:
                await asyncio.sleep(0.005)


class Outbox:
    """The store's events."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.store = MachineStore(db)
        self.machines = Machines(NODES)
        self._new = asyncio.Event()

    async def kept(self, waiting: Mapping[str, int]) -> None:
        """Wait until it is kept what was taken, all but what waits: who ends before sends the last ones again."""
        async with asyncio.timeout(20):
            while await HookStore(self.db).load("h") != Progress(await self.last_event(), waiting):
                await asyncio.sleep(0.005)

    async def tell(self, kind: str, data: Mapping[str, Any]) -> None:
        await EventStore(self.db).add(kind, data, 1.0)
        self._wake()

    async def write(self, count: int, kind: str = "machine.state") -> None:
        for at in range(count):
            node = NODES[at % len(NODES)]
            found = await self.store.load()
            before = next((m for m in found if m.id == node.id), None)
            await self.store.save(Change(1.0, before, node, [(kind, {"n": at})]))
        self._wake()

    def _wake(self) -> None:
        self._new.set()
        self._new = asyncio.Event()

    async def events(self, after: int, limit: int, machine: str = "") -> Sequence[Event]:
        return await self.store.events(after, limit, machine)

    async def last_event(self) -> int:
        return await self.store.last_event()

    async def wait_event(self, after: int, timeout_s: float) -> bool:
        new = self._new
        if await self.last_event() <= after:
            await new.wait()
        return True


@asynccontextmanager
async def site(folder: Path, receiver: Receiver, types: tuple[str, ...] = ()) -> AsyncIterator[Outbox]:
    """Run a daemon's webhooks over the store of `folder`."""
    db = Database(folder / "state.db")
    await db.open()
    outbox, store = Outbox(db), HookStore(db)
    hooks = Hooks(
        [Hook("h", receiver.url, SECRET, types)], outbox, store, "//test/provisioner", outbox.tell, (0.01, 0.02)
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(hooks.run())
        async with asyncio.timeout(20):
            while await store.load("h") is None:
                await asyncio.sleep(0.005)
        yield outbox
        running.cancel()
    await db.close()


def in_order(taken: list[tuple[int, str]]) -> bool:
    """Say whether each machine's events came in their order, each once."""
    of = {machine: [seq for seq, owner in taken if owner == machine] for _, machine in taken}
    return all(seqs == sorted(set(seqs)) for seqs in of.values())


async def test_everything_is_delivered_once_and_in_order(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening(), site(tmp_path, receiver) as outbox:
        await outbox.write(40)
        await receiver.until(40)
        assert in_order(receiver.taken)
        assert receiver.tries == 40


FAULTS: dict[str, Callable[[int], int]] = {
    "every other one is refused": lambda n: 503 if n % 2 else 204,
    "it is down at first": lambda n: 500 if n <= 10 else 204,
    "it hangs up": lambda n: 0 if n % 3 == 0 else 204,
    "it sends us elsewhere": lambda n: 302 if n % 4 == 0 else 200,
}


async def test_a_receiver_that_fails_gets_all_that_it_missed(tmp_path: Path) -> None:
    for at, answer in enumerate(FAULTS.values()):
        receiver, folder = Receiver(), tmp_path / str(at)
        receiver.answer = answer
        async with receiver.listening(), site(folder, receiver) as outbox:
            await outbox.write(20)
            await receiver.until(20)
            assert in_order(receiver.taken)
            assert receiver.tries > 20


async def test_a_restart_in_the_middle_loses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_TRIES", 10**6)  # what is told of that would be one more event that waits
    receiver = Receiver()
    receiver.answer = lambda n: 204 if n <= 7 else 503
    async with receiver.listening():
        async with site(tmp_path, receiver) as outbox:
            await outbox.write(24)
            await receiver.until(7)
            async with asyncio.timeout(20):
                while receiver.tries < 12:
                    await asyncio.sleep(0.005)
            left = set(range(1, 24 + 1)) - {seq for seq, _ in receiver.taken}
            await outbox.kept({NODES[(seq - 1) % 4].id: seq for seq in sorted(left, reverse=True)})
        receiver.answer = lambda _n: 204
        async with site(tmp_path, receiver) as outbox:
            await receiver.until(24)
            await outbox.write(4)
            await receiver.until(28)
        assert in_order(receiver.taken)
        assert set(Counter(seq for seq, _ in receiver.taken).values()) == {1}


async def test_only_what_it_asked_for_and_only_what_happens_from_now_on(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening():
        db = Database(tmp_path / "state.db")
        await db.open()
        await Outbox(db).write(4, "run.done")
        await db.close()
        async with site(tmp_path, receiver, ("run.*",)) as outbox:
            await outbox.write(4)
            await outbox.write(4, "run.done")
            await receiver.until(4)
        assert sorted(seq for seq, _ in receiver.taken) == [9, 10, 11, 12]


@asynccontextmanager
async def stopped(folder: Path) -> AsyncIterator[Database]:
    """Open the store of `folder` while no daemon runs."""
    db = Database(folder / "state.db")
    await db.open()
    yield db
    await db.close()


async def test_one_that_is_configured_again_goes_on_from_what_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It was taken out, what it was not sent went, it is put back: the loss is told, once, and delivery goes on."""
    receiver = Receiver()
    async with receiver.listening():
        async with stopped(tmp_path) as db:
            await Outbox(db).write(1)
            await HookStore(db).save("h", Progress(1))
            await Outbox(db).write(5)
            await Retention(db, SteadyClock(), [], Keep(events=3)).drop()
        for _ in range(2):  # a restart tells no second loss
            async with site(tmp_path, receiver) as outbox:
                await receiver.until(3 + 1)
                lost = [event.data for event in await outbox.events(3, 100) if event.type == "webhook.lost"]
                assert lost == [{"webhook": "h", "first": 2, "last": 3}]
        assert {seq for seq, _ in receiver.taken} == set(range(4, 8))
        assert caplog.text.count("hook.lost hook=h first=2 last=3") == 1


async def test_one_that_was_configured_on_a_fresh_site_is_told_the_loss_too(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiver.listening():
        async with stopped(tmp_path) as db:
            await HookStore(db).save("h", Progress(0))
            await Outbox(db).write(5)
            await Retention(db, SteadyClock(), [], Keep(events=3)).drop()
        async with site(tmp_path, receiver) as outbox:
            await receiver.until(3 + 1)
            lost = [event.data for event in await outbox.events(2, 100) if event.type == "webhook.lost"]
    assert lost == [{"webhook": "h", "first": 1, "last": 2}]


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        pytest.param(400, "HTTP 400", id="it says no"),
        pytest.param(0, "Server", id="it falls over", marks=pytest.mark.slow),
        pytest.param(503, "HTTP 503", id="a gateway says so", marks=pytest.mark.slow),
    ],
)
async def test_an_event_that_is_not_taken_holds_back_its_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int, said: str
) -> None:
    """And this is told, once; a restart meanwhile doubles nothing; once it is taken, the rest of its machine comes."""
    monkeypatch.setattr(module, "PAGE", 10)
    receiver = Receiver()
    receiver.refusal = refusal
    receiver.refused = {1}
    async with receiver.listening():
        for _ in range(2):
            async with site(tmp_path, receiver) as outbox:
                await outbox.write(40)  # several pages
                told = 30 + 1  # of three machines, and that something is stuck
                await receiver.until(len(receiver.taken) // told * told + told)
                stuck = [event for event in await outbox.events(0, 2000) if event.type == "webhook.stuck"][-1]
                about = {"webhook": "h", "event": 1, "machine": "m0", "tries": 0, "error": stuck.data["error"]}
                assert stuck.data | {"tries": 0} == about
                assert stuck.data["error"].startswith(said)
                await outbox.kept({"m0": 1})
                assert "m0" not in {machine for _, machine in receiver.taken}
        receiver.refused = set()
        async with site(tmp_path, receiver):
            await receiver.until(2 * (40 + 1))
    assert in_order(receiver.taken)
    assert {seq for seq, _ in receiver.taken} == set(range(1, 2 * (40 + 1) + 1))


async def test_a_host_that_is_no_name_is_a_fault_of_that_try(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver()
    receiver.url = "https://pager..example/hook"
    async with site(tmp_path, receiver) as outbox:
        await outbox.write(1)
        async with asyncio.timeout(20):
            while "hook.away" not in caplog.text:
                await asyncio.sleep(0.005)
    assert "error=UnicodeError" in caplog.text


async def test_a_receiver_that_takes_nothing_is_told_of_once_and_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "HELD", 8)
    monkeypatch.setattr(module, "PAGE", 4)
    receiver = Receiver()
    receiver.answer = lambda _n: 503
    async with receiver.listening(), site(tmp_path, receiver) as outbox:
        await outbox.write(20)
        async with asyncio.timeout(20):
            while "hook.stuck" not in caplog.text:
                await asyncio.sleep(0.005)
        known = await HookStore(outbox.db).load("h")
        assert known is not None
        assert known.reach <= 8 + 4
        assert caplog.text.count("hook.stuck") == 1
        receiver.answer = lambda _n: 204
        await receiver.until(20 + 1)
        assert in_order(receiver.taken)


async def test_a_receiver_that_is_down_is_told_of_once_and_tried_with_one_event_at_a_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Twelve tries: one of each machine at first, then one a round, whoever's; so the ninth round is told as stuck."""
    caplog.set_level("INFO")
    receiver = Receiver()
    silent = len(NODES) + module.STUCK_TRIES
    receiver.answer = lambda n: 503 if n <= silent else 204
    async with stopped(tmp_path) as db:
        await HookStore(db).save("h", Progress(0))
        await Outbox(db).write(40)
    up: asyncio.Future[Outbox] = asyncio.get_running_loop().create_future()

    async def told(count: int) -> None:
        if count == silent + 1:  # it is back once it is written that an event is stuck
            await (await up).wait_event(40, 20)

    receiver.ripe = told
    async with receiver.listening(), site(tmp_path, receiver) as outbox:
        up.set_result(outbox)
        await receiver.until(40 + 1)
    assert receiver.tries == silent + 40 + 1
    assert in_order(receiver.taken)
    lines = [line for line in caplog.messages if line.startswith("hook.")]
    assert sorted(line.partition(" ")[0] for line in lines) == [
        "hook.away",
        "hook.back",
        "hook.delivered",
        "hook.stuck",
    ]
    assert next(line for line in lines if "hook.away" in line).endswith("error=HTTP 503")
    assert next(line for line in lines if "hook.back" in line).endswith("first=1 last=41")


async def test_a_receiver_that_takes_nothing_of_what_it_answers_is_told_of_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver()
    receiver.answer = lambda _n: 401
    async with receiver.listening(), site(tmp_path, receiver) as outbox:
        await outbox.write(4)
        async with asyncio.timeout(20):
            while receiver.tries < 12:
                await asyncio.sleep(0.005)
    assert caplog.text.count("hook.failed") == 1
    assert "try=1 error=HTTP 401 untold=0" in caplog.text


async def test_the_url_of_a_receiver_is_told_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is the password of Slack, Teams and the like. Who answers here speaks no HTTP."""

    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x15\x03\x01\x00\x02\x02\x46")
        await writer.drain()
        writer.close()

    receiver, server = Receiver(), await asyncio.start_server(garbage, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/services/S3CRET?token=S3CRET"
    async with server, site(tmp_path, receiver) as outbox:
        await outbox.write(1)
        async with asyncio.timeout(20):
            while "hook.away" not in caplog.text:
                await asyncio.sleep(0.005)
    assert "error=ClientResponseError: Bad status line" in caplog.text
    assert "S3CRET" not in caplog.text
