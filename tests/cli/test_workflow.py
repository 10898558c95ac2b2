"""`provisionctl workflow`, against a real engine over machines in memory."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioner.cli.exits import Exit
from provisioner.cli.root import run
from provisioner.web.app import operator_app
from provisioner.web.server import Server
from provisioner.web.workflows import LOG_BYTES, WorkflowApi
from tests.cli.conftest import Ctl, Ran, cut_once
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import BURN, NAMES, WAITS, ready


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[FlowRack]:
    """A rack and its daemon on a loop of their own."""
    rack, loop = FlowRack(tmp_path, NAMES, BURN, WAITS), asyncio.new_event_loop()
    serving, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with rack.alive(), rack.daemon():
            await ready(rack)
            server = Server(operator_app(WorkflowApi(rack.engine, rack.planning).routes()), drain_s=0.05)
            await server.listen_unix(tmp_path / "api.sock")
            serving.set()
            await stop.wait()
            await server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert serving.wait(20)
    yield rack
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture
def ctl(rack: FlowRack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ctl:
    monkeypatch.setenv("PROVISIONER_SOCKET", str(rack.folder / "api.sock"))

    def call(*args: str) -> Ran:
        capsys.readouterr()
        status = run(args)
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return call


def flow(ctl: Ctl) -> Callable[..., Ran]:
    return lambda *args: ctl("workflow", *args)


@pytest.mark.slow
def test_from_the_list_to_the_logs(rack: FlowRack, ctl: Ctl) -> None:
    ask = flow(ctl)
    assert [line.split()[0] for line in ask("list").out.splitlines()] == ["WORKFLOW", "burn", "waits"]
    shown = ask("show", "burn").out
    assert "together (discovery) [barrier]: -, needs memory.tested discovery.running, provides burnt.in" in shown
    assert "minutes (number, default 3)" in shown

    planned = ask("plan", "burn", "node17")
    assert planned.out.splitlines()[:2] == [
        "node17 (ready)",
        "  1. memory: leads to memory.tested, which together requires",
    ]
    assert "  -  start-discovery: discovery.running, hardware.known: holds already" in planned.out

    ran = ask("run", "burn", "-l", "name=*", "--set", "minutes=7", "--wait", "-y", "-o", "json")
    assert (ran.status, json.loads(ran.out)["params"]) == (Exit.OK, {"minutes": 7})
    number = json.loads(ran.out)["id"]
    assert "2/2" in ask("status").out
    assert ask("status", "-o", "name").out == f"{number}\n"
    assert [line.split()[:2] for line in ask("status", number).out.splitlines()[1:]] == [
        ["node17", "done"],
        ["node18", "done"],
    ]
    assert ask("logs", number, "node18", "--step", "together").out == "together on node18\n"
    assert '"verb": "sensors.read"' in ask("logs", number, "node18", "-f").out


@pytest.mark.slow
def test_all_that_a_step_printed_is_given_however_much(rack: FlowRack, ctl: Ctl) -> None:
    rack.prints = "a" + 3 * LOG_BYTES // 2 * "\u00fc"  # pages end amid a character
    ask = flow(ctl)
    number = json.loads(ask("run", "burn", "node17", "--wait", "-y", "-o", "json").out)["id"]
    asked = ("logs", number, "node17", "--step", "memory")
    assert ask(*asked).out == rack.prints
    assert json.loads(ask(*asked, "-o", "json").out)["text"] == rack.prints
    pages = [json.loads(line) for line in ask(*asked, "-f", "-o", "json").out.splitlines()]
    assert "".join(page["text"] for page in pages) == rack.prints
    assert [page["over"] for page in pages] == [*[False] * (len(pages) - 1), True]


@pytest.mark.slow
def test_one_that_fails_says_where(rack: FlowRack, ctl: Ctl) -> None:
    rack.does = lambda metal, _step: 1 if metal.name == "node18" else 0
    ask = flow(ctl)
    ran = ask("run", "burn", "node[17-18]", "--max-failures", "1", "--wait", "-y")
    assert ran.status == Exit.PARTIAL
    assert "node18: memory: status 1: memory on node18" in ran.out
    number = ask("status", "-o", "name").out.strip()
    rack.does = lambda _metal, _step: 0
    assert "running" in ask("resume", number).out


def test_steering(rack: FlowRack, ctl: Ctl) -> None:
    ask = flow(ctl)
    number = json.loads(ask("run", "waits", "node17", "--paused", "-o", "json").out)["id"]
    assert "the run is paused before say" in ask("status", number).out
    assert "paused" in ask("step", number).out
    assert "status    running" in ask("resume", number).out
    assert "paused by the operator" in ask("pause", number).out
    assert ask("signal", number, "go").status == Exit.OK
    ask("abort", number)
    assert ask("pause", number).status == Exit.CONFLICT
    assert ask("resume", number, "--skip").status == Exit.CONFLICT


@pytest.mark.slow
def test_an_order_whose_answer_was_lost_is_given_once(rack: FlowRack, ctl: Ctl) -> None:
    ask = flow(ctl)
    number = json.loads(ask("run", "waits", "node17", "--paused", "-o", "json").out)["id"]
    for order in ("step", "resume", "pause", "abort"):  # a second one of the last three is refused
        rack.engine.order = cut_once(rack.engine.order)  # type: ignore[method-assign]
        assert ask(order, number).status == Exit.OK
    number = json.loads(ask("run", "waits", "node17", "-o", "json").out)["id"]
    rack.engine.signal = cut_once(rack.engine.signal)  # type: ignore[method-assign]
    assert ask("signal", number, "go").status == Exit.OK  # the run is over then, and a second one is refused


WRONG: dict[str, tuple[tuple[str, ...], Exit, str]] = {
    "no machines": (("run", "burn"), Exit.USAGE, "which machines?"),
    "no such workflow": (("plan", "brun", "node17"), Exit.NOT_FOUND, "did you mean burn"),
    "a value of another kind": (("plan", "burn", "node17", "--set", "minutes=x"), Exit.FAILED, "'x' is no number"),
    "no value": (("plan", "burn", "node17", "--set", "minutes"), Exit.USAGE, "not NAME=VALUE"),
}


def test_wrong(ctl: Ctl) -> None:
    for what, (args, status, text) in WRONG.items():
        ran = flow(ctl)(*args)
        assert (ran.status, text in ran.err) == (status, True), f"{what}: {ran}"
