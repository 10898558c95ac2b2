"""Runs that are taken up after a restart of the daemon: their time limits, and machines that gave up meanwhile."""

from __future__ import annotations

import pytest

from provisioner.lifecycle.limits import resumed
from provisioner.lifecycle.plans import UNHEARD_S
from provisioner.lifecycle.steps import Tick, advance, due_s
from tests.lifecycle.test_steps import at_step, completing, step_of

TAKEN_UP = {
    "a clock that was set back a day does not keep a run for a day": (-86400.0, 900.0, 3 * 3600.0),
    "nor does one that was set forward end it": (86400.0, 60.0, None),
    "a short while changes nothing": (10.0, 890.0, 3 * 3600.0 - 10.0),
}


@pytest.mark.parametrize(("passed", "left", "limit_left"), TAKEN_UP.values(), ids=TAKEN_UP.keys())
def test_time_limits_after_a_restart(passed: float, left: float, limit_left: float | None) -> None:
    before = at_step("wait.local-boot")
    assert before.run
    machine = resumed(before, passed)
    assert machine.run
    assert machine.run.deadline - passed == left
    to_come = 60.0 + sum(due_s(step) for step in before.run.steps[before.run.at + 1 :])
    assert machine.run.limit - passed == (to_come if limit_left is None else limit_left)
    assert machine.seen <= passed


@pytest.mark.parametrize("step", UNHEARD_S)
def test_a_machine_that_gave_up_while_the_daemon_was_away_is_started_anew(step: str) -> None:
    machine = resumed(at_step(step), 40.0)
    assert machine.run
    due = machine.run.deadline
    assert due == 40.0 + UNHEARD_S[step]
    machine, actions = advance(machine, Tick(), due)
    assert step_of(machine) == "power.off"
    assert [action.step.name for action in actions] == ["power.off"]
    assert machine.run
    assert machine.run.journal[-1].outcome == "retried"
    while step_of(machine) != step:
        machine, _ = advance(machine, completing(machine), due)
    assert machine.run
    machine, _ = advance(machine, Tick(), machine.run.deadline)
    assert machine.failure, "once for each time that the daemon was away"


@pytest.mark.parametrize("step", UNHEARD_S)
def test_a_machine_that_is_heard_after_a_restart_has_its_usual_time(step: str) -> None:
    machine = resumed(at_step(step), 40.0)
    machine, _ = advance(machine, completing(machine), 50.0)
    assert machine.run
    assert machine.run.step
    assert not machine.run.unheard
    assert machine.run.deadline == 50.0 + due_s(machine.run.step)
