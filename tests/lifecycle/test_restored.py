"""What a backup says of what was under way: nothing is, and an operator can take it up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.errors import ConflictError
from provisioner.lifecycle.fleet import Begun, Order, Recovered, Rollout, Stage, Status, Stopped, advance
from provisioner.lifecycle.inputs import Cancel, JobTaken, Resume
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.restored import flow_stopped, machine_stopped, reason_of, rollout_stopped
from provisioner.lifecycle.steps import advance as advance_machine
from provisioner.lifecycle.steps import current_action
from provisioner.model.machine import Machine, State
from provisioner.model.workflow import FlowRun, FlowStatus, FlowStep, Where
from provisioner.model.workflow import Stage as FlowStage
from provisioner.workflow import progress
from tests.lifecycle.test_endings import ACTIVE, releasing
from tests.lifecycle.test_fleet import fleet
from tests.lifecycle.test_fleet import play as play_fleet
from tests.lifecycle.test_steps import READY, at_step, play
from tests.workflow.flows import NOW, run_of

AT = 1_790_000_000.0
REASON = "the store was restored from the backup of 2026-09-21 14:13:20 UTC"

MACHINES: dict[str, tuple[Machine, State, str]] = {
    # as it was; as it is in the backup, and what is said to run on it
    "to be switched on": (at_step("power.on"), State.READY, ""),
    "to boot from the network": (at_step("wait.dhcp"), State.READY, ""),
    "being written": (play(at_step("wait.job"), JobTaken("r1"))[0], State.READY, ""),
    "on its way from its new disk": (at_step("wait.phone-home"), State.READY, ""),
    "in use, and not touched yet": (at_step("wait.dhcp", machine=ACTIVE), State.ACTIVE, "debian-12"),
    "in use, and written anew": (at_step("wait.job", machine=ACTIVE), State.READY, ""),
    "in use, and being inspected": (at_step("wait.facts", Verb.INSPECT, ACTIVE), State.ACTIVE, "debian-12"),
    "to be erased": (releasing("wait.dhcp"), State.ACTIVE, "debian-12"),
    "being erased": (play(releasing(), JobTaken("r1"))[0], State.QUARANTINED, "debian-12"),
    "about to be switched off, being cancelled": (
        play(at_step("wait.job"), JobTaken("r1"), Cancel())[0], State.READY, ""),
}  # fmt: skip


@pytest.mark.parametrize(("machine", "state", "bootenv"), MACHINES.values(), ids=MACHINES.keys())
def test_no_run_is_under_way_and_each_can_be_taken_up(machine: Machine, state: State, bootenv: str) -> None:
    found = machine_stopped(replace(machine, failed_runs=2), AT)
    assert (found.state, found.bootenv, found.failed_runs) == (state, bootenv, 2)
    assert found.run
    assert found.failure
    assert found.run.step is None
    assert REASON in found.failure.reason
    assert current_action(found) == []
    again, actions = advance_machine(found, Resume(), AT + 9)
    assert again.run
    assert again.run.step
    assert [action.step.name for action in actions] == [again.run.step.name]
    assert again.run.quarantine_after == 3


def test_a_machine_at_rest_is_as_it_was() -> None:
    for machine in (READY, ACTIVE, machine_stopped(at_step("wait.job"), AT)):
        assert machine_stopped(machine, AT + 5) is machine


def test_the_time_is_said() -> None:
    assert reason_of(AT) == REASON


ROLLOUTS: dict[str, tuple[Rollout, Status]] = {
    "under way": (fleet(), Status.RUNNING),
    "its machines begun": (play_fleet(fleet(), Order.CARRY_ON, Begun("m1", "r1"))[0], Status.RUNNING),
    "paused": (play_fleet(fleet(), Order.CARRY_ON, Order.PAUSE)[0], Status.PAUSED),
}


@pytest.mark.parametrize(("rollout", "before"), ROLLOUTS.values(), ids=ROLLOUTS.keys())
def test_no_rollout_begins_a_machine(rollout: Rollout, before: Status) -> None:
    assert rollout.status is before
    found = rollout_stopped(rollout, AT)
    assert (found.status, found.reason) == (Status.PAUSED, REASON)
    for member in found.members:
        if member.stage is Stage.STARTING:
            found, starting = advance(found, Stopped(member.machine), AT)
            assert starting == []
    assert advance(found, Order.CARRY_ON, AT)[1] == []
    with pytest.raises(ConflictError, match="machines, even where that was done since: node00"):
        advance(found, Order.RESUME, AT)
    assert advance(found, Recovered(frozenset(), sure=True), AT)[1], "until an operator says it"


def test_who_resumes_it_is_sure_of_all_that_it_would_install() -> None:
    found, two = rollout_stopped(fleet(3), AT), frozenset({"m0", "m1"})
    assert found.restored == rollout_stopped(found, AT + 9).restored == AT
    with pytest.raises(ConflictError, match=r"would install 1 machines, even where that was done since: node02 \("):
        advance(found, Recovered(two, sure=False), AT)
    for said in (Recovered(two, sure=True), Recovered(two | {"m2"}, sure=False)):
        resumed, _ = advance(found, said, AT)
        assert (resumed.status, resumed.restored) == (Status.RUNNING, 0.0)
        paused, _ = advance(resumed, Order.PAUSE, AT)
        assert advance(paused, Order.RESUME, AT)[0].status is Status.RUNNING, "it was said once"
    with pytest.raises(ConflictError, match="aborted: it cannot resume"):
        advance(advance(found, Order.ABORT, AT)[0], Recovered(frozenset(), sure=True), AT)


def test_many_names_are_cut_short() -> None:
    with pytest.raises(ConflictError, match="node18, node19 and 5 more"):
        advance(rollout_stopped(fleet(25), AT), Order.RESUME, AT)


def test_a_rollout_that_is_over_or_aborted_is_as_it_was() -> None:
    aborted = play_fleet(fleet(), Order.CARRY_ON, Begun("m1", "r1"), Order.ABORT)[0]
    over = replace(fleet(), status=Status.DONE, ended=5.0)
    assert [rollout_stopped(each, AT) for each in (aborted, over)] == [aborted, over]


OURS, SCRIPT = FlowStep("one", Where.DAEMON, action="boot"), FlowStep("one", Where.DISCOVERY, script="x")
LAST = FlowStep("two", Where.BMC, verb="power.cycle")


def flow(step: FlowStep, *events: progress.Event) -> FlowRun:
    run = run_of(step, LAST, machines=2, at_once=1)
    for event in (progress.Tick(), *events):
        run, _ = progress.advance(run, event, NOW)
    return run


FLOWS: dict[str, tuple[FlowRun, list[FlowStage]]] = {
    "our action under way": (flow(OURS), [FlowStage.FAILED, FlowStage.WAITING]),
    "a script under way": (flow(SCRIPT), [FlowStage.FAILED, FlowStage.WAITING]),
    "paused, and told to take a step": (
        flow(OURS, progress.Order.PAUSE, progress.Order.STEP), [FlowStage.FAILED, FlowStage.WAITING]),
}  # fmt: skip


@pytest.mark.parametrize(("run", "stages"), FLOWS.values(), ids=FLOWS.keys())
def test_no_step_of_a_workflow_is_under_way_or_begins(run: FlowRun, stages: list[FlowStage]) -> None:
    found = flow_stopped(run, AT)
    assert (found.status, found.reason) == (FlowStatus.PAUSED, REASON)
    for event in (progress.Order.CARRY_ON, progress.Tick()):
        found, starts = progress.advance(found, event, AT + 99)
        assert starts == []
    assert [member.stage for member in found.members] == stages
    assert {member.reason for member in found.members if member.stage is FlowStage.FAILED} == {REASON}
    assert not any(member.granted for member in found.members)
    resumed, _ = progress.advance(found, progress.Order.RESUME, AT + 99)
    assert resumed.count(FlowStage.RUNNING) == 1, "until an operator resumes it"


def test_a_workflow_that_is_over_is_as_it_was() -> None:
    over = replace(flow(OURS), status=FlowStatus.ABORTED, ended=5.0)
    assert flow_stopped(over, AT) is over
