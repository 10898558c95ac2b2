"""Runs that are taken up after a restart of the daemon: their time limits, and machines that gave up meanwhile."""

from __future__ import annotations

import pytest

from provisioner.lifecycle.limits import resumed
from provisioner.lifecycle.plans import FETCHES_AT, KINDS, UNHEARD_S, Verb
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


@pytest.mark.parametrize("is_new", [True, False], ids=["as usual", "after a restart"])
@pytest.mark.parametrize("step", sorted(FETCHES_AT))
def test_no_step_ends_while_its_machine_is_sent_a_file_and_then_it_has_its_time(step: str, is_new: bool) -> None:
    begun = at_step(step, Verb.INSTALL if step == "wait.answer" else Verb.DEPLOY)
    machine = begun if is_new else resumed(begun, 40.0)
    assert machine.run
    assert machine.run.step
    due = machine.run.deadline
    machine, actions = advance(machine, Tick(fetching=True), due)
    assert (step_of(machine), actions) == (step, [])
    assert machine.run
    assert machine.run.deadline == due + KINDS[step].timeout_s
    assert not machine.run.unheard, "since the restart it was"
    later, _ = advance(machine, Tick(), due + 1.0)
    assert later == machine
    ended, _ = advance(machine, Tick(), machine.run.deadline)
    assert step_of(ended) != step
    over, _ = advance(machine, Tick(fetching=True), machine.run.limit)
    assert over.failure, "the limit of the whole run holds"


@pytest.mark.parametrize("step", ["wait.dhcp", "power.on", "wait.job"])
def test_what_waits_for_no_file_ends_though_one_is_sent(step: str) -> None:
    machine = at_step(step)
    assert machine.run
    ended, _ = advance(machine, Tick(fetching=True), machine.run.deadline)
    assert ended.failure


@pytest.mark.parametrize("step", UNHEARD_S)
def test_a_machine_that_is_heard_after_a_restart_has_its_usual_time(step: str) -> None:
    machine = resumed(at_step(step), 40.0)
    machine, _ = advance(machine, completing(machine), 50.0)
    assert machine.run
    assert machine.run.step
    assert not machine.run.unheard
    assert machine.run.deadline == 50.0 + due_s(machine.run.step)
