"""Which steps must not come to a machine in use: whole paths, and one step as a machine stands; as tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.lifecycle.rest import hold
from provisioner.model.machine import Machine, Phase, Run, State, Step
from provisioner.model.workflow import FlowLine, FlowStep, Where
from provisioner.workflow.guard import destroyers, disturbs, in_the_way, refusal
from tests.workflow.flows import run_of

READY = Machine("m1", "node17", State.READY)
ACTIVE = Machine("m1", "node17", State.ACTIVE)
HELD = hold(ACTIVE, State.MAINTENANCE, "new fan", 5.0)

LOOK = FlowStep("look", Where.DISCOVERY)
WIPE = FlowStep("wipe", Where.DISCOVERY, destructive=True)
BACK = FlowStep("back", Where.DAEMON, action="release", destructive=True)
PUT = FlowStep("put", Where.DAEMON, action="boot", given={"until": "end"}, destructive=True)
BEGIN = FlowStep("begin", Where.DAEMON, action="boot", given={"until": "installer"}, destructive=True)
DISKS = FlowStep("disks", Where.INSTALLER, destructive=True)
UP = FlowStep("up", Where.DAEMON, action="wait", given={"state": "active"})
SETUP = FlowStep("setup", Where.SYSTEM, destructive=True)

Path = list[FlowStep | tuple[FlowStep, FlowStep]]
PATHS: dict[str, tuple[Machine, Path, list[str]]] = {
    "a machine that is free": (READY, [LOOK, WIPE], []),
    "a machine in use": (ACTIVE, [LOOK, WIPE], ["wipe"]),
    "a machine in use that is held": (HELD, [LOOK, WIPE], ["wipe"]),
    "given back first": (ACTIVE, [BACK, WIPE, PUT], []),
    "given back too late": (ACTIVE, [WIPE, BACK], ["wipe"]),
    "a handler": (ACTIVE, [(LOOK, PUT)], ["put"]),
    "a handler that gives it back": (ACTIVE, [(LOOK, BACK)], []),
    "a handler of the release": (ACTIVE, [(BACK, WIPE)], ["wipe"]),
    "a handler on a machine that is free": (READY, [(LOOK, PUT)], []),
    "in the new system": (READY, [PUT, SETUP], []),
    "in a system that was there": (ACTIVE, [SETUP], ["setup"]),
    "what was installed is wiped": (READY, [PUT, WIPE], ["wipe"]),
    "what was installed is given back": (READY, [PUT, BACK, WIPE], []),
    "in the installer": (READY, [BEGIN, DISKS, UP, SETUP], []),
    "behind the installer": (READY, [BEGIN, DISKS, UP, WIPE], ["wipe"]),
}


@pytest.mark.parametrize(("machine", "path", "refused"), PATHS.values(), ids=PATHS.keys())
def test_paths(machine: Machine, path: Path, refused: list[str]) -> None:
    pairs = [each if isinstance(each, tuple) else (each, None) for each in path]
    assert list(destroyers(pairs, {"put", "begin"}, machine)) == refused


NOW = 1_000.0
CYCLE = FlowStep("cycle", Where.BMC, verb="power.cycle")
SENSORS = FlowStep("sensors", Where.BMC, verb="sensors.read")
WAITS = FlowStep("waits", Where.DAEMON, action="wait", given={"state": "active"})
UNDER_WAY = Run("r1", "install", "debian-12", (Step("wait.answer", Phase.INSTALL, 60.0),), started=NOW)
OVER = replace(UNDER_WAY, outcome="done")
BEGUN = FlowLine("begin", 1, 1, NOW - 1, NOW + 60, "done")
EARLIER = FlowLine("begin", 1, 1, NOW - 900, NOW - 800, "failed")
LOOKED = FlowLine("look", 1, 1, NOW - 1, NOW + 60, "done")

DISTURBS: dict[str, tuple[FlowStep, Run | None, FlowLine | None, bool]] = {
    "its power": (CYCLE, UNDER_WAY, None, True),
    "a script of the discovery system": (LOOK, UNDER_WAY, None, True),
    "a script of the installer": (DISKS, UNDER_WAY, None, True),
    "a look at the board": (SENSORS, UNDER_WAY, None, False),
    "waiting": (WAITS, UNDER_WAY, None, False),
    "an intent, which is refused by itself": (PUT, UNDER_WAY, None, False),
    "a run that is over": (CYCLE, OVER, None, False),
    "no run": (CYCLE, None, None, False),
    "a run that the workflow began": (DISKS, UNDER_WAY, BEGUN, False),
    "and its power": (CYCLE, UNDER_WAY, BEGUN, False),
    "a run after one that the workflow began": (CYCLE, UNDER_WAY, EARLIER, True),
    "a run that began beside a step that begins none": (CYCLE, UNDER_WAY, LOOKED, True),
}


@pytest.mark.parametrize(("step", "run", "line", "refused"), DISTURBS.values(), ids=DISTURBS.keys())
def test_a_run_that_is_not_the_workflows_is_left_alone(
    step: FlowStep, run: Run | None, line: FlowLine | None, refused: bool
) -> None:
    flow = run_of(BEGIN, LOOK, step)
    member = replace(flow.members[0], journal=() if line is None else (line,))
    said = disturbs(flow, member, step, replace(READY, run=run))
    assert bool(said) == refused
    assert not refused or "node17 has a run of its own (install debian-12)" in said


STEPS: dict[str, tuple[FlowStep, Machine, bool]] = {
    "free": (WIPE, READY, True),
    "in use": (WIPE, ACTIVE, False),
    "in use, and held": (WIPE, HELD, False),
    "a release": (BACK, ACTIVE, True),
    "a look": (LOOK, ACTIVE, True),
    "an install": (PUT, ACTIVE, False),
    "the new system": (SETUP, ACTIVE, True),
}


@pytest.mark.parametrize(("step", "machine", "may"), STEPS.values(), ids=STEPS.keys())
def test_a_step_as_the_machine_stands(step: FlowStep, machine: Machine, may: bool) -> None:
    text = refusal(step, machine)
    assert (text == "") is may
    if text:
        assert text == (
            f"node17 is {machine.state}, and {step.name} destroys what is on its disk:"
            " `provisionctl release node17` first"
        )


def test_what_is_said_when_a_run_is_planned() -> None:
    assert in_the_way(["a", "b"], ACTIVE).startswith("node17 is active, and a, b destroys what is on its disk: ")
    assert in_the_way(["a"], READY).startswith("node17 is active by then, and a destroys")
