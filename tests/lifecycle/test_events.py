"""What a change is called: every difference has one name, in order, and a line of trace in the operator's words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.lifecycle.events import describe, trace_lines
from provisioner.lifecycle.inputs import Begin, Cancel, Done, Event, Failed, Progress, Seen
from provisioner.lifecycle.plans import Signal, Verb
from provisioner.lifecycle.steps import advance
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine, State

READY = Machine("m1", "node17", State.READY)
RUNNING, _ = advance(READY, Begin("r1", Verb.INSPECT, "discovery"), 0.0)

CASES: dict[str, tuple[Machine, Event, list[str]]] = {
    "a run begins": (READY, Begin("r1", Verb.INSPECT, "discovery"), ["run.started", "machine.state"]),
    "a step is done": (RUNNING, Done("r1", 0), ["step.done"]),
    "a step is tried again": (RUNNING, Failed("r1", 0, "no answer"), ["step.retried"]),
    "a step fails for good": (
        RUNNING, Failed("r1", 0, "refused", again=False), ["step.failed", "run.failed", "machine.state"]),
    "the operator ends it": (RUNNING, Cancel(), ["step.cancelled", "run.cancelled", "machine.state"]),
    "progress is no event": (RUNNING, Progress("r1", 5.0, "write"), []),
    "a signal that nobody waits for is none": (RUNNING, Seen(Signal.DHCP), []),
}  # fmt: skip


@pytest.mark.parametrize(("before", "event", "names"), CASES.values(), ids=CASES.keys())
def test_describe(before: Machine, event: Event, names: list[str]) -> None:
    after, _ = advance(before, event, 1.0)
    assert [name for name, _ in describe(before, after)] == names


def test_machines_come_go_and_change() -> None:
    assert describe(None, READY) == [("machine.created", {"name": "node17", "state": "ready"})]
    assert describe(READY, None) == [("machine.forgotten", {"name": "node17"})]
    renamed = replace(READY, name="node18", facts=Facts(), profile="small")
    assert [name for name, _ in describe(READY, renamed)] == ["machine.renamed", "machine.facts"]
    assert describe(READY, READY) == []


@pytest.mark.parametrize(("verb", "bootenv", "said"), [
    (Verb.LOCAL, "local", "boot from disk"), (Verb.UNRESCUE, "", "unrescue"), (Verb.RELEASE, "discovery", "release"),
])  # fmt: skip
def test_the_trace_calls_a_run_as_people_do(verb: Verb, bootenv: str, said: str) -> None:
    before = replace(READY, state=State.RESCUE if verb is Verb.UNRESCUE else State.READY)
    run, _ = advance(before, Begin("r1", verb, bootenv, "erase" if verb is Verb.RELEASE else ""), 1.0)
    over, _ = advance(run, Cancel(), 2.0)
    lines = [*trace_lines(run, describe(before, run), 1.0), *trace_lines(over, describe(run, over), 2.0)]
    assert [line.text for line in lines if line.event.startswith("life.run.")] == [said, f"{said} cancelled"]


def test_the_trace_says_it_in_words() -> None:
    failed, _ = advance(RUNNING, Failed("r1", 0, "password refused", again=False), 1.0)
    lines = trace_lines(failed, describe(RUNNING, failed), 1.0)
    assert [(line.event, line.text, line.ok) for line in lines] == [
        ("life.step.failed", "power.off failed: password refused", False),
        ("life.run.failed", "inspect discovery failed", False),
        ("life.machine.state", "inspecting -> ready", True),
    ]
    assert {line.machine for line in lines} == {"m1"}
