"""The daemon is killed at every point at which it touches the world, and started again: every run reaches its end.

The points are enumerated, not sampled: each verb is played once to list every BMC call and every durable write of its
run, before and after; then once more for each of them, with a daemon that dies there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.plans import VERBS, Verb
from provisioner.model.intent import Event
from provisioner.model.machine import Machine, State
from provisioner.model.trace import TraceLine
from tests.lifecycle.points import LIVES, Point, Points, certain
from tests.lifecycle.rack import Rack
from tests.lifecycle.test_conductor import settled

ACTIVE = ["power on", "power off", "power on", "job job", "power off", "power on"]

STORIES: dict[Verb, tuple[list[str], State, list[str]]] = {
    # what is asked first, the state that the verb ends in, every effect that lasts, in order
    Verb.INSPECT: ([], State.READY, ["power on"]),
    Verb.DEPLOY: (["inspect"], State.ACTIVE, ACTIVE),
    Verb.INSTALL: (["inspect"], State.ACTIVE, ["power on", "power off", "power on", "install"]),
    Verb.LIVE: (["inspect"], State.READY, ["power on", "power off", "power on"]),
    Verb.LOCAL: (["inspect", "deploy"], State.ACTIVE, [*ACTIVE, "power off", "power on"]),
    Verb.RELEASE: (["inspect", "deploy"], State.READY, [*ACTIVE, "power off", "power on", "job erase", "power off"]),
    Verb.POWER_OFF_RELEASE: (["inspect", "deploy"], State.READY, [*ACTIVE, "power off"]),
    Verb.RESCUE: (["inspect", "deploy"], State.RESCUE, [*ACTIVE, "power off", "power on"]),
    Verb.UNRESCUE: (
        ["inspect", "deploy", "rescue"], State.ACTIVE,
        [*ACTIVE, "power off", "power on", "power off", "power on"]),
}  # fmt: skip


BOOTS: dict[str, str] = {
    Verb.INSPECT: "discovery",
    Verb.DEPLOY: "debian-12",
    Verb.INSTALL: "fake-installer",
    Verb.LIVE: "fake-live",
    Verb.LOCAL: "local",
}


async def ask(conductor: Conductor, verb: str, key: str = "k") -> Machine:
    """Ask for a verb as an operator does."""
    if verb in BOOTS:
        return await conductor.boot("node17", BOOTS[verb], key=key)
    if verb in (Verb.RELEASE, Verb.POWER_OFF_RELEASE):
        return await conductor.release("node17", erase=verb == Verb.RELEASE, key=key)
    return await (conductor.rescue if verb == Verb.RESCUE else conductor.unrescue)("node17", key=key)


async def play(folder: Path, verb: Verb, die_at: Point | None) -> tuple[Rack, Points, Machine]:
    """Bring a machine to where `verb` starts, ask for it with a daemon that dies at a point, let another go on."""
    before, _, _ = STORIES[verb]
    rack, points = Rack(folder), Points(die_at)
    async with rack.alive():
        async with rack.daemon() as conductor:
            await rack.enrol()
            for earlier in before:
                await ask(conductor, earlier, key="")
                await settled(conductor)
        async with rack.daemon(points) as conductor:
            await ask(conductor, verb)
            await settled(conductor)
        async with rack.daemon() as conductor:
            await ask(conductor, verb)  # the same key: accepted before the crash or now, but once
            machine = await settled(conductor)
            events = await conductor.events(0, 10_000)
            check_events(events)
            check_trace(events, [line for _, line in await conductor.trace("node17", limit=10_000)])
    return rack, points, machine


def check_events(events: list[object], whole: bool = True) -> None:
    """Hold that the outbox tells one story: numbered without gaps (if `whole`), each run begun once and ended once."""
    numbers = [getattr(event, "seq", 0) for event in events]
    assert numbers == list(range(1, len(numbers) + 1)) or not whole
    stories = [(getattr(e, "type", ""), getattr(e, "data", {}).get("run", "")) for e in events]
    begun = [run for kind, run in stories if kind == "run.started"]
    ended = [run for kind, run in stories if kind in ("run.done", "run.failed", "run.cancelled")]
    assert len(begun) == len(set(begun))
    assert sorted(ended) == sorted(begun)
    steps = [(getattr(e, "data", {}).get("run"), getattr(e, "data", {}).get("step")) for e in events]
    done = [step for step, (kind, _) in zip(steps, stories, strict=True) if kind == "step.done"]
    assert len(done) == len(set(done))


def check_trace(events: Sequence[Event], lines: Sequence[TraceLine]) -> None:
    """Hold that a trace tells of what is in the outbox, and of nothing else: no crash comes between them."""
    told = Counter((line.event, line.run) for line in lines if line.event in LASTING)
    assert told == Counter((f"life.{each.type}", each.data["run"]) for each in events if f"life.{each.type}" in LASTING)


LASTING = {f"life.{kind}" for kind in ("run.started", "run.done", "run.failed", "step.failed", "step.retried")}


def test_every_verb_has_its_story() -> None:
    assert STORIES.keys() == VERBS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("verb", Verb)
async def test_killed_at_every_point(tmp_path_factory: pytest.TempPathFactory, verb: Verb) -> None:
    _, end, effects = STORIES[verb]
    lives = [await play(tmp_path_factory.mktemp("whole"), verb, None) for _ in range(LIVES)]
    assert {machine.state for _, _, machine in lives} == {end}
    whole = certain(points for _, points, _ in lives)
    assert any(point.name.startswith("after power") for point in whole)
    for at, point in enumerate(whole):
        async with asyncio.timeout(20):
            rack, died, machine = await play(tmp_path_factory.mktemp(f"at{at}"), verb, point)
        where = f"killed {point.name} for the {point.nth + 1}. time (point {at + 1} of {len(whole)})"
        assert died.dead.is_set(), where
        assert (machine.state, machine.failure) == (end, None), where
        assert rack.one().log == effects, where
