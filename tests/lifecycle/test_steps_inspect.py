"""An inspection of a machine in use ends where it began: at the machine's own disk."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.lifecycle.inputs import Begin, Done, Event, Seen
from provisioner.lifecycle.plans import Signal, Verb
from provisioner.lifecycle.rest import hold
from provisioner.model.machine import Machine, State
from tests.lifecycle.test_steps import READY, at_step, play, step_of

CASES: dict[str, tuple[Machine, tuple[Event, ...], str, list[str]]] = {
    "an active machine that was inspected leaves the discovery system": (
        at_step("wait.facts", Verb.INSPECT, replace(READY, state=State.ACTIVE)),
        (Seen(Signal.FACTS),),
        "finalize.off",
        ["finalize.off"],
    ),
    "and is active once it starts from its disk again": (
        at_step("finalize.on", Verb.INSPECT, replace(READY, state=State.ACTIVE)),
        (Done("r1", 9),),
        "active",
        [],
    ),
    "so does one that is held, with somebody's system on it": (
        at_step("wait.facts", Verb.INSPECT, hold(replace(READY, state=State.ACTIVE), State.MAINTENANCE, "x", 0.0)),
        (Seen(Signal.FACTS),),
        "finalize.off",
        ["finalize.off"],
    ),
    "but not one whose workflow has work for the discovery system": (
        replace(READY, state=State.ACTIVE),
        (
            Begin("r1", Verb.INSPECT, "discovery", stays=True),
            Done("r1", 0),
            Done("r1", 1),
            Done("r1", 2),
            Seen(Signal.FACTS),
        ),
        "active",
        [],
    ),
}


@pytest.mark.parametrize(("machine", "events", "step", "wanted"), CASES.values(), ids=CASES.keys())
def test_where_it_leads(machine: Machine, events: tuple[Event, ...], step: str, wanted: list[str]) -> None:
    after, actions = play(machine, *events)
    assert (step_of(after), [action.step.name for action in actions]) == (step, wanted)
