"""Actions of the daemon, each against something that behaves; and what breaks beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from provisioner.errors import BmcUnreachable
from provisioner.model.machine import Machine, State
from provisioner.model.workflow import FlowRun, FlowStatus
from provisioner.workflow.perform import Try
from tests.lifecycle.points import KillableDatabase
from tests.workflow.rack import FakeBoards, FlowRack
from tests.workflow.test_engine import BURN, NAMES, over, ready, reasons

HEAD = "name: {0}\ntitle: x\ngoal: [{0}.done]\nsteps:\n  one: {{where: daemon, provides: [{0}.done], {1}}}\n"


def action(name: str, text: str) -> str:
    return HEAD.format(name, text)


@asynccontextmanager
async def server(*answers: tuple[int, str]) -> AsyncIterator[tuple[str, list[tuple[str, Any]]]]:
    """Answers in this order, the last one for ever; notes the key and the body of each request."""
    asked: list[tuple[str, Any]] = []
    left = list(answers)

    async def answer(request: web.Request) -> web.Response:
        body = await request.json() if request.method == "POST" else None
        asked.append((request.headers.get("Idempotency-Key", ""), body))
        status, text = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_route("*", "/x", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/x", asked
    finally:
        await runner.cleanup()


async def play(folder: Path, text: str, **wish: Any) -> tuple[FlowRack, FlowRun]:
    """Run a workflow of one step on one machine."""
    rack = FlowRack(folder, ("node17",), text)
    async with rack.alive(), rack.daemon():
        await ready(rack)
        run = await over(rack, await rack.begin(rack.library.all()[0].name, **wish))
        return rack, run


async def test_a_webhook_is_sent_until_it_is_taken_under_one_key(tmp_path: Path) -> None:
    async with server((500, "later"), (503, ""), (200, "thanks")) as (url, asked):
        text = f'action: webhook, retries: 2, pause_s: 0, with: {{url: "{url}", body: {{node: "{{machine}}"}}}}'
        _, run = await play(tmp_path, action("hook", text))
    assert (run.status, [body for _, body in asked]) == (FlowStatus.DONE, [{"node": "node17"}] * 3)
    assert {key for key, _ in asked} == {f"workflow/{run.id}/{run.members[0].machine}/one"}
    assert [line.note for line in run.members[0].journal] == [
        f"{url}: HTTP 500: later",
        f"{url}: HTTP 503: ",
        f"{url}: HTTP 200",
    ]


async def test_without_a_body_a_webhook_says_what_it_is_about(tmp_path: Path) -> None:
    async with server((204, "")) as (url, asked):
        _, run = await play(tmp_path, action("hook", f'action: webhook, with: {{url: "{url}"}}'))
    assert [body for _, body in asked] == [{"workflow": "hook", "run": run.id, "step": "one", "machine": "node17"}]


async def test_a_webhook_that_nobody_answers(tmp_path: Path) -> None:
    _, run = await play(tmp_path, action("hook", 'action: webhook, with: {url: "http://127.0.0.1:1/x"}'))
    assert "http://127.0.0.1:1/x: ClientConnectorError" in reasons(run)["node17"]


@pytest.mark.slow
async def test_a_url_is_asked_until_it_answers_as_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.workflow.perform.AGAIN_S", 0.01)
    async with server((503, ""), (200, "starting"), (200, "all ready")) as (url, asked):
        text = f'action: http, with: {{url: "{url}", contains: ready}}'
        _, run = await play(tmp_path, action("up", text))
    assert (run.status, len(asked)) == (FlowStatus.DONE, 3)
    async with server((404, "")) as (url, _):
        (tmp_path / "two").mkdir()
        _, run = await play(tmp_path / "two", action("up", f'action: http, limit_s: 1, with: {{url: "{url}"}}'))
    assert reasons(run) == {"node17": "one: not done within 1 s"}


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Answer every request so."""
    app = web.Application()
    app.router.add_route("*", "/{path}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_webhook_that_is_sent_elsewhere_was_not_taken(tmp_path: Path) -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        asked.append(f"{request.method} {request.path}")
        if request.path == "/old":
            raise web.HTTPFound("/new")
        return web.Response(text="please log in")

    async with answering(elsewhere) as url:
        _, run = await play(tmp_path, action("hook", f'action: webhook, with: {{url: "{url}/old"}}'))
    assert (run.status, asked) == (FlowStatus.FAILED, ["POST /old"])
    assert "/old: HTTP 302" in reasons(run)["node17"]


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param(True, id="a body that comes in pieces"),
        pytest.param(False, id="one that does not end", marks=pytest.mark.slow),
    ],
)
async def test_a_word_is_looked_for_in_all_that_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    if not ends:  # it takes this time, in which the word has to come
        monkeypatch.setattr("provisioner.workflow.perform.ASK_S", 2.0)
    asked: list[str] = []

    async def slowly(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"checks:\n")
        await asyncio.sleep(0.02)  # so that it is another packet
        await answer.write(b"all healthy\n")
        while not ends and request.transport is not None:
            await asyncio.sleep(0.01)
        return answer

    async with answering(slowly) as url:
        _, run = await play(tmp_path, action("up", f'action: http, with: {{url: "{url}/x", contains: healthy}}'))
    assert (run.status, asked) == (FlowStatus.DONE, ["/x"])


async def test_a_host_that_is_no_name(tmp_path: Path) -> None:
    _, run = await play(tmp_path, action("hook", 'action: webhook, with: {url: "http://pager..example/x"}'))
    assert "one: http://pager..example/x: UnicodeError" in reasons(run)["node17"]


SEEN = """
name: seen
title: something happens, and is waited for after that
goal: [hold.seen]
steps:
  keep: {where: daemon, action: hold, with: {reason: since then}, provides: [kept.back]}
  look:
    {where: daemon, action: wait, with: {event: "machine.st*", match: {to: maintenance}},
     requires: [kept.back], provides: [hold.seen]}
"""


async def test_an_event_counts_though_it_came_before_the_step(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), SEEN)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        await conductor.hold("node17", "before the run: does not count")
        await conductor.let_go("node17")
        before = await conductor.last_event()
        run = await over(rack, await rack.begin("seen"))
        assert run.status is FlowStatus.DONE
        note = run.members[0].journal[1].note
        assert note.endswith("machine.state")
        assert int(note.split()[1]) > before


async def test_a_machine_that_is_held_by_a_step(tmp_path: Path) -> None:
    text = action("keep", "action: hold, with: {reason: 'by {workflow}, {step} on {machine}', quarantine: true}")
    rack, run = await play(tmp_path, text)
    async with rack.daemon() as conductor:
        machine = conductor.machines.get("node17")
        again = Try(run, replace(run.members[0], at=0), run.steps["one"], lambda: run)
        assert await rack.engine._performer.perform(again) == ("node17 is quarantined", "")
        assert conductor.machines.get("node17") == machine, "a try that is begun again holds nothing twice"
        assert machine.hold
        assert (machine.state, machine.hold.reason) == (State.QUARANTINED, "by keep, one on node17")


RELEASE = """
name: again
title: give it back, then something that destroys
goal: [disk.wiped]
steps:
  back: {where: daemon, action: release, destructive: true, provides: [machine.free]}
  wipe: {where: discovery, requires: [machine.free], provides: [disk.wiped], destructive: true, script: wipe}
"""


async def test_a_machine_in_use_may_be_given_back_and_then_wiped(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), RELEASE)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        await conductor.adopt("node17", "theirs")
        run = await over(rack, await rack.begin("again"))
        assert (run.status, reasons(run)) == (FlowStatus.DONE, {"node17": ""})
        assert [each for each in rack.one().log if not each.startswith("power")] == ["job erase", "wipe"]


async def test_a_boot_that_is_refused_says_why(tmp_path: Path) -> None:
    text = action("put", "action: boot, destructive: true, with: {bootenv: ubuntu-22.04}")
    _, run = await play(tmp_path, text)
    assert "vmlinuz is missing" in reasons(run)["node17"]


async def test_a_bootenv_without_an_installer_has_none_to_wait_for(tmp_path: Path) -> None:
    text = action("put", "action: boot, destructive: true, with: {bootenv: fake-live, until: installer}")
    _, run = await play(tmp_path, text)
    assert "is not installed by any installer" in reasons(run)["node17"]


# what breaks


async def test_a_full_disk_stops_a_workflow_and_loses_nothing(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, NAMES, BURN)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        db = conductor._store._db
        assert isinstance(db, KillableDatabase)
        run = await rack.begin("burn")
        rack.does = lambda _metal, _step: setattr(db, "full", True) or 0
        async with asyncio.timeout(20):
            while "full" not in db.failure:
                await asyncio.sleep(0.005)
            while rack.engine.get(run.id) not in await rack.engine.store.load():  # what was kept just before
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)  # time for some more tries
        assert rack.engine.get(run.id) in await rack.engine.store.load(), "what cannot be kept does not happen"
        rack.does = lambda _metal, _step: 0
        db.full = False
        run = await over(rack, run)
        assert (run.status, set(reasons(run).values())) == (FlowStatus.DONE, {""})
        assert {metal.log.count(step) for metal in rack.metal for step in ("memory", "together")} == {1}


async def test_a_bmc_that_is_dead_for_two_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [True, True]
    done = FakeBoards.do

    async def do(self: FakeBoards, machine: Machine, verb: str, given: Mapping[str, Any]) -> Any:
        if left:
            left.pop()
            raise BmcUnreachable("ipmi://x: no answer")
        return await done(self, machine, verb, given)

    monkeypatch.setattr(FakeBoards, "do", do)
    text = action("look", "").replace("where: daemon", "where: bmc, verb: sensors.read, retries: 2, pause_s: 0")
    _, run = await play(tmp_path, text)
    assert run.status is FlowStatus.DONE
    assert [line.outcome for line in run.members[0].journal] == ["retried", "retried", "done"]
