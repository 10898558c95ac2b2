"""Ending a run whose machine may be writing to its disk: it is over when the machine is off, or says that it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.boot.plan import BootPolicy, next_boot
from provisioner.errors import ConflictError
from provisioner.lifecycle.inputs import (
    Begin,
    Cancel,
    Done,
    Event,
    Failed,
    Idle,
    JobTaken,
    Progress,
    Resume,
    Seen,
    Tick,
)
from provisioner.lifecycle.limits import resumed
from provisioner.lifecycle.plans import KEEPS_DISK, VERBS, Signal, Verb, is_to_stop, may_be_writing
from provisioner.lifecycle.steps import advance, current_action, due_s
from provisioner.lifecycle.why import why
from provisioner.model.bmc import Power
from provisioner.model.boot import Arch, Asker, BootClient, LocalDisk
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from tests.lifecycle.test_steps import FROM, READY, at_step, completing, play, step_of

TAKEN = JobTaken("r1")
MAC = Mac("52:54:00:00:00:11")
ACTIVE = replace(READY, state=State.ACTIVE, bootenv="theirs")

WRITING = {
    "a job that nobody has fetched": (at_step("wait.job"), (), False),
    "a job that an agent has": (at_step("wait.job"), (TAKEN,), True),
    "a job that its agent does not do any more": (at_step("wait.job"), (TAKEN, Idle("r1")), False),
    "what was installed is started": (at_step("wait.local-boot"), (), False),
    "an erase": (at_step("wait.job", Verb.RELEASE), (TAKEN,), True),
    "erased": (at_step("finalize.off", Verb.RELEASE), (), False),
    "an installer that is still to be fetched": (at_step("wait.loader", Verb.INSTALL), (), False),
    "an installer that was fetched": (at_step("wait.answer", Verb.INSTALL), (), True),
    "one that was, before its BMC says that it is on": (
        at_step("power.on", Verb.INSTALL), (Seen(Signal.SCRIPT),), True),
    "its answers were, before that": (at_step("power.on", Verb.INSTALL), (Seen(Signal.ANSWER),), True),
    "an address alone": (at_step("power.on", Verb.INSTALL), (Seen(Signal.DHCP),), False),
    "an installer with its answers": (at_step("disk.next", Verb.INSTALL), (), True),
    "one that installs": (at_step("wait.installed", Verb.INSTALL), (), True),
    "a run that is over": (at_step("none"), (), False),
}  # fmt: skip


@pytest.mark.parametrize(("machine", "events", "writes"), WRITING.values(), ids=WRITING.keys())
def test_when_a_machine_may_be_writing_to_its_disk(machine: Machine, events: tuple[Event, ...], writes: bool) -> None:
    machine, _ = play(machine, *events)
    assert machine.run
    assert may_be_writing(machine.run) is writes
    if machine.run.step is not None:
        cancelled, actions = advance(machine, Cancel(), 9.0)
        assert [action.step.name for action in actions] == (["cancel.off"] if writes else [])
        assert (cancelled.failure is None) is writes


@pytest.mark.parametrize("verb", sorted(KEEPS_DISK))
def test_what_leaves_the_disk_alone_never_does(verb: Verb) -> None:
    for step in VERBS[verb].steps:
        run = at_step(step, verb, FROM.get(verb, ACTIVE)).run
        assert run
        assert not may_be_writing(run), step


def ending(*events: Event, machine: Machine = ACTIVE) -> Machine:
    """A deploy that is cancelled while its job writes; then `events`."""
    return play(at_step("wait.job", machine=machine), TAKEN, Cancel(), *events, now=100.0)[0]


def test_the_run_goes_on_until_the_machine_is_off() -> None:
    machine = ending()
    assert machine.run
    assert (machine.state, step_of(machine), machine.failure) == (State.DEPLOYING, "cancel.off", None)
    assert isinstance(next_boot(BootClient(MAC, Asker.PXE, Arch.X86_BIOS), machine, BootPolicy()), LocalDisk)
    for late in (*(Seen(signal) for signal in Signal), TAKEN, Idle("r1"), Done("r1", 7), Failed("r1", 7, "no answer")):
        assert step_of(advance(machine, late, 102.0)[0]) == "cancel.off", late
    for asked in (Begin("r2", Verb.DEPLOY, "debian-12", "image"), Resume()):
        with pytest.raises(ConflictError):
            advance(machine, asked, 102.0)
    machine, actions = play(machine, Done("r1", 8, "power is off"), now=103.0)
    assert (machine.state, machine.power, machine.bootenv, actions) == (State.READY, Power.OFF, "", [])
    assert machine.failure
    assert (machine.failure.reason, machine.failure.phase, machine.failure.hint) == (
        "cancelled by the operator",
        "install",
        "",
    )
    assert machine.run
    ends = [(line.step, line.outcome) for line in machine.run.journal[-2:]]
    assert ends == [("wait.job", "cancelled"), ("cancel.off", "done")]


BMC_FAILS = Failed("r1", 8, "no answer", kind="BmcUnreachable")
STAYS_ON = {
    "its BMC does not answer": ((BMC_FAILS,) * 3, "no answer"),
    "its BMC does not let us in": ((replace(BMC_FAILS, reason="wrong password", again=False),), "wrong password"),
    "it does not end": ((Tick(),) * 999, "cancel.off did not end within 270 s"),
    "nobody waits for it": ((Cancel(),), "nobody waited for that"),
}


@pytest.mark.parametrize(("events", "why_not"), STAYS_ON.values(), ids=STAYS_ON.keys())
def test_a_machine_that_is_not_switched_off_is_told_of(events: tuple[Event, ...], why_not: str) -> None:
    machine = ending(*events)
    assert (machine.state, machine.run and machine.run.outcome) == (State.READY, "cancelled")
    assert machine.failure
    assert machine.failure.reason == (
        f"cancelled by the operator, but not switched off: {why_not}. It may go on writing to its disk"
    )
    assert "`provisionctl power node17 off`" in machine.failure.hint
    assert machine.failed_runs == 0
    verdict = why(machine, [], 999.0)
    assert verdict.text == f"node17: at install, deploy debian-12 was {machine.failure.reason}"
    assert verdict.todo == f"{machine.failure.hint}; `provisionctl resume node17` takes it up"


def test_a_half_erased_machine_is_kept_back_whether_it_was_switched_off_or_not() -> None:
    erasing, _ = play(at_step("wait.job", Verb.RELEASE, ACTIVE), TAKEN, Cancel())
    for end in (Done("r1", 8), replace(BMC_FAILS, again=False)):
        machine, _ = advance(erasing, end, 9.0)
        assert (machine.state, machine.bootenv) == (State.QUARANTINED, "theirs")
        assert machine.hold
        assert machine.failure
        assert machine.hold.reason == f"its disks may be half erased: {machine.failure.reason}"


def test_it_is_tried_again_and_taken_up_after_a_restart() -> None:
    machine, actions = play(ending(), BMC_FAILS, now=110.0)
    assert [action.step.name for action in actions] == ["cancel.off"]
    again = resumed(machine, 1e6)
    assert current_action(again) == actions
    assert again.run
    assert 1e6 < again.run.deadline <= 1e6 + due_s(actions[0].step)
    assert again.run.limit >= again.run.deadline


def test_a_run_at_its_limit_is_given_the_time_to_be_ended() -> None:
    machine = at_step("wait.job")
    late = VERBS[Verb.DEPLOY].limit_s - 1.0
    assert machine.run
    machine, _ = play(replace(machine, run=replace(machine.run, deadline=1e9)), TAKEN, Cancel(), now=late)
    assert step_of(advance(machine, Tick(), late + 100.0)[0]) == "cancel.off"


def test_the_run_is_then_resumed_as_it_was_pinned() -> None:
    machine, actions = play(ending(Done("r1", 8)), Resume(), now=200.0)
    assert [action.step.name for action in actions] == ["power.off"]
    while machine.run and machine.run.step is not None:
        machine, _ = advance(machine, TAKEN if step_of(machine) == "wait.job" and not machine.run.job_taken
                             else completing(machine), 201.0)  # fmt: skip
    assert (machine.state, machine.failure) == (State.ACTIVE, None)


STOPS = {
    "its job is to be done": (play(at_step("wait.job"), TAKEN)[0], "r1", False),
    "it says how far it is": (play(at_step("wait.job"), TAKEN, Progress("r1", 1.0, ""))[0], "r1", False),
    "its job is done": (at_step("finalize.off"), "r1", False),
    "its run is being ended": (ending(), "r1", True),
    "its run was cancelled": (ending(Done("r1", 8)), "r1", True),
    "its machine is still to be switched off": (ending(BMC_FAILS), "r1", True),
    "its machine was not switched off": (ending(BMC_FAILS, BMC_FAILS, BMC_FAILS), "r1", True),
    "its run failed": (play(at_step("wait.job"), TAKEN, Tick(), now=1e5)[0], "r1", True),
    "its run was taken up again": (ending(Done("r1", 8), Resume()), "r1", False),
    "its run was cancelled before it had a job": (play(at_step("wait.job"), Cancel())[0], "r1", False),
    "another run began": (at_step("wait.job"), "r0", True),
    "it was never of any run": (at_step("wait.job"), "", False),
    "an inspection that was cancelled": (play(at_step("wait.facts", Verb.INSPECT), Cancel())[0], "r1", False),
    "an installer goes on": (at_step("wait.installed", Verb.INSTALL), "r1", False),
    "an installer is being ended": (play(at_step("wait.installed", Verb.INSTALL), Cancel())[0], "r1", True),
}


@pytest.mark.parametrize(("machine", "run", "stops"), STOPS.values(), ids=STOPS.keys())
def test_when_an_agent_is_to_stop(machine: Machine, run: str, stops: bool) -> None:
    assert is_to_stop(machine, run) is stops
