"""What each event makes of a machine, as tables; and what may never happen, as properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import ConflictError
from provisioner.lifecycle.inputs import (
    Begin,
    Cancel,
    Done,
    Event,
    Failed,
    Idle,
    JobFailed,
    JobTaken,
    Looked,
    Progress,
    Resume,
    Seen,
    Tick,
)
from provisioner.lifecycle.plans import (
    JOB_STEP,
    KEEPS_DISK,
    KINDS,
    VERBS,
    Signal,
    Verb,
    agent_command,
    job_id,
    may_be_writing,
)
from provisioner.lifecycle.rest import hold
from provisioner.lifecycle.steps import Perform, advance, current_action, is_silent
from provisioner.model.bmc import BmcAddress, Driver, Power
from provisioner.model.machine import MOVING, Hold, Machine, State

BMC = BmcAddress(Driver.IPMI, "10.77.1.17", 623, "admin")
READY = Machine("m1", "node17", State.READY, bmc=BMC)
DEPLOY = Begin("r1", Verb.DEPLOY, "debian-12", "image")


def play(machine: Machine, *events: Event, now: float = 0.0) -> tuple[Machine, list[Perform]]:
    """Advance through all events, a second apart; return the actions of the last one."""
    actions: list[Perform] = []
    for event in events:
        machine, actions = advance(machine, event, now)
        now += 1.0
    return machine, actions


def at_step(name: str, verb: Verb = Verb.DEPLOY, machine: Machine = READY) -> Machine:
    """Drive a fresh run of `verb` up to the step `name`, by what really happens on the way."""
    machine, _ = advance(machine, Begin("r1", verb, "debian-12", "image"), 0.0)
    while machine.run and machine.run.step and machine.run.step.name != name:
        machine, _ = advance(machine, completing(machine), 0.0)
    return machine


def completing(machine: Machine) -> Event:
    assert machine.run
    assert machine.run.step
    signal = KINDS[machine.run.step.name].signal
    return Done(machine.run.id, machine.run.at) if signal is None else Seen(signal)


def step_of(machine: Machine) -> str:
    return machine.run.step.name if machine.run and machine.run.step else machine.state


CASES: dict[str, tuple[Machine, tuple[Event, ...], str, list[str]]] = {
    "a deploy begins with the power off": (READY, (DEPLOY,), "power.off", ["power.off"]),
    "then it is told to boot from the network": (READY, (DEPLOY, Done("r1", 0)), "boot.network", ["boot.network"]),
    "a DHCP request completes its wait": (at_step("wait.dhcp"), (Seen(Signal.DHCP),), "wait.loader", []),
    "facts complete every wait before them": (at_step("wait.dhcp"), (Seen(Signal.FACTS),), "wait.job", []),
    "a second DHCP request changes nothing": (at_step("wait.loader"), (Seen(Signal.DHCP),), "wait.loader", []),
    "a signal that comes before its action is known to be done is kept": (
        at_step("power.on"), (Seen(Signal.SCRIPT), Done("r1", 2)), "wait.facts", []),
    "nor one of the discovery system, for the boot from disk": (
        play(at_step("power.on"), Seen(Signal.LOCAL), Done("r1", 2))[0],
        (Seen(Signal.FACTS), JobTaken("r1"), Seen(Signal.JOB), Done("r1", 8), Done("r1", 9), Done("r1", 10)),
        "wait.local-boot", []),
    "but not one of the old system, before the power was off": (
        at_step("power.off"), (Seen(Signal.FACTS), Done("r1", 0)), "boot.network", ["boot.network"]),
    "only the job says that the job is done": (at_step("wait.dhcp"), (Seen(Signal.JOB),), "wait.dhcp", []),
    "a job that is done turns the machine to its disk": (
        at_step("wait.job"), (Seen(Signal.JOB),), "finalize.off", ["finalize.off"]),
    "phoning home ends the run, local boot seen or not": (
        at_step("wait.local-boot"), (Seen(Signal.HOME),), "active", []),
    "a failed action is tried again": (
        READY, (DEPLOY, Failed("r1", 0, "no answer")), "power.off", ["power.off"]),
    "and fails the run when the tries are used up": (
        READY, (DEPLOY, *[Failed("r1", 0, "no answer")] * 3), "ready", []),
    "at once where another try cannot help": (
        READY, (DEPLOY, Failed("r1", 0, "password refused", again=False)), "ready", []),
    "the answer of another run is not listened to": (READY, (DEPLOY, Done("r0", 0)), "power.off", []),
    "nor that of a step that is over": (at_step("power.on"), (Done("r1", 1),), "power.on", []),
    "a job that failed fails the run": (at_step("wait.job"), (JobFailed("r1", "disk too small"),), "ready", []),
    "a machine that restarts before it took its job just takes it": (
        at_step("wait.job"), (Seen(Signal.FACTS),), "wait.job", []),
    "a machine that restarts during its job gets it once more": (
        at_step("wait.job"), (JobTaken("r1"), Seen(Signal.FACTS)), "wait.job", []),
    "but not for ever": (
        at_step("wait.job"), (JobTaken("r1"), Seen(Signal.FACTS)) * 3, "ready", []),
    "an agent that asks what to do is not doing its job: it gets it once more": (
        at_step("wait.job"), (JobTaken("r1"), Idle("r1")), "wait.job", []),
    "release ends off and ready": (
        at_step("finalize.off", Verb.RELEASE), (Done("r1", 8),), "ready", []),
    "release without erasing only turns it off": (
        replace(READY, state=State.ACTIVE), (Begin("r2", Verb.POWER_OFF_RELEASE, ""), Done("r2", 0)), "ready", []),
    "an enrolled machine that was inspected is ready": (
        at_step("wait.facts", Verb.INSPECT, replace(READY, state=State.ENROLLED)), (Seen(Signal.FACTS),), "ready", []),
    "without a BMC it stays as it is": (
        at_step("wait.facts", Verb.INSPECT, Machine("m1", "x", State.ENROLLED)), (Seen(Signal.FACTS),),
        "enrolled", []),
    "a tick before the deadline changes nothing": (READY, (DEPLOY, Tick()), "power.off", []),
    "what a machine does without a run is only noted": (READY, (Seen(Signal.DHCP),), "ready", []),
}  # fmt: skip


@pytest.mark.parametrize(("machine", "events", "where", "actions"), CASES.values(), ids=CASES.keys())
def test_advance(machine: Machine, events: tuple[Event, ...], where: str, actions: list[str]) -> None:
    machine, performed = play(machine, *events)
    assert step_of(machine) == where
    assert [p.step.name for p in performed] == actions


def test_a_deadline_fails_the_run_and_says_what_was_waited_for() -> None:
    machine = at_step("wait.loader")
    assert machine.run
    machine, actions = advance(machine, Tick(), machine.run.deadline)
    assert actions == []
    assert machine.failure
    assert machine.failure.reason == "it got an address but fetched no loader within 300 s"
    assert (machine.state, machine.failure.phase) == (State.READY, "loader")


def test_an_active_machine_whose_disk_was_touched_is_not_active_after_a_failure() -> None:
    active = replace(READY, state=State.ACTIVE, bootenv="debian-12")
    early, _ = advance(at_step("wait.dhcp", machine=active), Cancel(), 5.0)
    late, _ = advance(at_step("wait.job", machine=active), Cancel(), 5.0)
    assert (early.state, early.bootenv) == (State.ACTIVE, "debian-12")
    assert (late.state, late.bootenv) == (State.READY, "")


def test_the_power_that_a_step_brought_about_is_on_record() -> None:
    off, _ = play(READY, DEPLOY, Done("r1", 0))
    on, _ = play(off, Done("r1", 1), Done("r1", 2))
    assert (READY.power, off.power, on.power) == (None, Power.OFF, Power.ON)


def test_progress_is_kept_and_cleared_by_the_next_step() -> None:
    machine, _ = play(at_step("wait.job"), Progress("r1", 41.5, "write"))
    assert machine.run
    assert (machine.run.percent, machine.run.note) == (41.5, "write")
    machine, _ = advance(machine, Seen(Signal.JOB), 9.0)
    assert machine.run
    assert (machine.run.percent, machine.run.note) == (None, "")


def test_intents_that_do_not_fit_are_refused_and_change_nothing() -> None:
    with pytest.raises(ConflictError, match="is under way"):
        advance(at_step("wait.job"), Begin("r2", Verb.INSPECT, "discovery"), 0.0)
    with pytest.raises(ConflictError, match="cannot be installed in that state"):
        advance(replace(READY, state=State.MAINTENANCE), DEPLOY, 0.0)
    with pytest.raises(ConflictError, match="nothing to cancel"):
        advance(READY, Cancel(), 0.0)


def test_the_journal_tells_every_step() -> None:
    machine = at_step("never")
    assert machine.run
    assert machine.state is State.ACTIVE
    assert [line.step for line in machine.run.journal] == list(VERBS[Verb.DEPLOY].steps)


EVENTS = st.one_of(
    st.builds(Begin, st.sampled_from(["r1", "r2"]), st.sampled_from(Verb), st.just("debian-12"), st.just("image")),
    st.builds(Done, st.sampled_from(["r1", "r2"]), st.integers(0, 14)),
    st.builds(Failed, st.sampled_from(["r1", "r2"]), st.integers(0, 14), st.just("no"), st.just(""), st.booleans()),
    st.builds(Seen, st.sampled_from(Signal)),
    st.builds(JobTaken, st.sampled_from(["r1", "r2"])),
    st.builds(Idle, st.sampled_from(["r1", "r2"])),
    st.builds(JobFailed, st.sampled_from(["r1", "r2"]), st.just("no")),
    st.builds(Progress, st.sampled_from(["r1", "r2"]), st.none() | st.floats(0, 100), st.just("x")),
    st.just(Tick()),
    st.just(Cancel()),
    st.just(Resume()),
)


@given(
    state=st.sampled_from(sorted(set(State) - MOVING)),
    story=st.lists(st.tuples(EVENTS, st.sampled_from([0.1, 100.0, 5000.0])), max_size=60),
)
def test_whatever_happens_a_machine_is_never_stuck(state: State, story: list[tuple[Event, float]]) -> None:
    machine, now, generation = replace(READY, state=state), 0.0, 1
    for event, pause in story:
        now += pause
        try:
            machine, actions = advance(machine, event, now)
        except ConflictError:
            continue
        assert machine.generation >= generation
        generation = machine.generation
        moving = machine.run is not None and machine.run.step is not None
        assert moving == (machine.state in MOVING)
        if moving:
            assert machine.run
            assert machine.run.deadline > now or not isinstance(event, Tick)
            assert len(machine.run.journal) < 200
        assert actions == [] or actions == current_action(machine)


def failed_at(name: str, machine: Machine = READY) -> Machine:
    machine = at_step(name, machine=machine)
    assert machine.run
    return advance(machine, Failed("r1", machine.run.at, "no", again=False), 9.0)[0]


RESUMED = {
    "before anything was done, at its beginning": ("power.off", "power.off"),
    "on the way to the network, with the power": ("wait.loader", "power.off"),
    "in the middle of the job, from the beginning: it is done again": ("wait.job", "power.off"),
    "after the job, from the disk: nothing is installed twice": ("wait.phone-home", "finalize.off"),
}


@pytest.mark.parametrize(("stopped", "resumed"), RESUMED.values(), ids=RESUMED.keys())
def test_resume(stopped: str, resumed: str) -> None:
    machine, actions = advance(failed_at(stopped), Resume(), 10.0)
    assert (step_of(machine), [action.step.name for action in actions]) == (resumed, [resumed])
    assert (machine.state, machine.failure) == (State.DEPLOYING, None)


def test_only_a_run_that_stopped_can_be_resumed() -> None:
    with pytest.raises(ConflictError, match="no run that stopped"):
        advance(at_step("wait.job"), Resume(), 10.0)
    with pytest.raises(ConflictError, match="no run that stopped"):
        advance(READY, Resume(), 10.0)
    with pytest.raises(ConflictError, match="not what it came from"):
        advance(replace(failed_at("wait.job"), state=State.MAINTENANCE), Resume(), 10.0)


def test_a_machine_whose_installs_keep_failing_is_kept_back() -> None:
    machine = READY
    for _ in range(2):
        machine = failed_at("wait.facts", machine)
        assert machine.state is State.READY
    machine = failed_at("wait.facts", machine)
    assert machine.hold
    assert (machine.state, machine.hold.return_to) == (State.QUARANTINED, State.READY)
    assert machine.hold.reason == "3 installs in a row failed, the last: no"


@pytest.mark.parametrize(("after", "failures", "state"), [(1, 1, "quarantined"), (0, 5, "ready"), (4, 3, "ready")])
def test_how_often_it_may_fail_is_the_operators_to_say(after: int, failures: int, state: str) -> None:
    machine = READY
    for _ in range(failures):
        machine, _ = advance(machine, replace(DEPLOY, quarantine_after=after), 0.0)
        machine, _ = advance(machine, Failed("r1", 0, "no", again=False), 1.0)
    assert (machine.state, machine.failed_runs) == (state, failures)


def test_a_success_in_between_counts_from_zero() -> None:
    machine = at_step("never", machine=failed_at("wait.facts", failed_at("wait.facts")))
    assert (machine.state, machine.failed_runs) == (State.ACTIVE, 0)


def test_a_run_as_a_whole_has_a_limit() -> None:
    machine = at_step("wait.job")
    assert machine.run
    machine = replace(machine, run=replace(machine.run, deadline=1e12))
    machine, _ = advance(machine, Tick(), 3 * 3600.0)
    assert machine.failure
    assert machine.failure.reason == "deploy debian-12 took longer than 3.0 h"


def test_rescue_leads_back_to_where_the_machine_came_from() -> None:
    active = replace(READY, state=State.ACTIVE, bootenv="debian-12")
    machine = at_step("never", Verb.RESCUE, active)
    assert (machine.state, machine.bootenv) == (State.RESCUE, "debian-12")
    machine = at_step("never", Verb.UNRESCUE, machine)
    assert (machine.state, machine.bootenv, machine.hold) == (State.ACTIVE, "debian-12", None)


def test_rescue_of_a_held_machine_leads_back_into_its_hold() -> None:
    held = hold(READY, State.MAINTENANCE, "new fan", 1.0)
    machine = at_step("never", Verb.UNRESCUE, at_step("never", Verb.RESCUE, held))
    assert (machine.state, machine.hold) == (State.MAINTENANCE, held.hold)


def test_the_job_of_a_run_that_was_resumed_is_another_job() -> None:
    first = at_step("wait.job")
    machine, _ = play(first, JobTaken("r1"), Cancel(), Done("r1", 8), Resume())
    while step_of(machine) != "wait.job":
        machine, _ = advance(machine, completing(machine), 9.0)
    assert first.run
    assert machine.run
    assert job_id(machine.run) != job_id(first.run)


SILENCE = {
    "an agent that never takes its job is gone, too": (at_step("wait.job"), 9999.0, True),
    "but not one that asks for it": (play(at_step("wait.job"), Idle("r1"), now=9700.0)[0], 9999.0, False),
    "before the job there is none to wait for": (at_step("wait.facts"), 9999.0, False),
    "an agent is given five minutes": (play(at_step("wait.job"), JobTaken("r1"), now=100.0)[0], 399.0, False),
    "not more": (play(at_step("wait.job"), JobTaken("r1"), now=100.0)[0], 400.0, True),
    "nor before we listened long enough": (play(at_step("wait.job"), JobTaken("r1"), now=0.0)[0], 349.0, False),
    "a run that ended has no agent": (play(at_step("wait.job"), JobTaken("r1"), Cancel())[0], 9999.0, False),
}


@pytest.mark.parametrize(("machine", "now", "silent"), SILENCE.values(), ids=SILENCE.keys())
def test_silence(machine: Machine, now: float, silent: bool) -> None:
    assert is_silent(machine, 50.0, now) == silent


LOST = {
    "off: all is done again, from the power on": (1, Power.OFF, "power.off", ""),
    "on: it fails, since nobody knows why": (1, Power.ON, "ready", "its power is on: it hangs or lost its network"),
    "off twice: once more": (2, Power.OFF, "power.off", ""),
    "off for ever: it fails": (3, Power.OFF, "ready", "its power is off"),
}


@pytest.mark.parametrize(("times", "power", "where", "reason"), LOST.values(), ids=LOST.keys())
def test_an_agent_that_is_lost(times: int, power: Power, where: str, reason: str) -> None:
    machine = READY
    for _ in range(times):
        machine = at_step("wait.job") if machine is READY else machine
        while step_of(machine) != "wait.job":
            machine, _ = advance(machine, completing(machine), 9.0)
        machine, _ = advance(machine, JobTaken("r1"), 10.0)
        machine, _ = advance(machine, Looked("r1", 7, 10.0, power), 400.0)
    assert step_of(machine) == where
    assert machine.power is power
    assert reason in (machine.failure.reason if machine.failure else "")


def test_an_agent_that_was_heard_while_we_looked_is_not_lost() -> None:
    machine, _ = play(at_step("wait.job"), JobTaken("r1"), Progress("r1", 50.0, "write"))
    assert advance(machine, Looked("r1", 7, 0.0, Power.OFF), 400.0) == (machine, [])


def test_a_release_may_take_as_long_as_its_disks_are_large() -> None:
    machine = at_step("wait.job", Verb.RELEASE)
    machine, _ = advance(machine, Tick(), 22 * 3600.0)
    assert step_of(machine) == "wait.job"


EVERY_STEP = [(verb, step) for verb, rule in VERBS.items() for step in rule.steps]
FROM = {Verb.UNRESCUE: replace(READY, state=State.RESCUE, hold=Hold("in rescue", State.ACTIVE, 0.0))}


@pytest.mark.parametrize(("verb", "step"), EVERY_STEP, ids=[f"{verb} at {step}" for verb, step in EVERY_STEP])
def test_every_run_can_be_cancelled_and_resumed_at_every_step(verb: Verb, step: str) -> None:
    """And then reaches its end, with no job that was done before begun under the same name."""
    before = FROM.get(verb, replace(READY, state=State.ACTIVE, bootenv="theirs"))
    moving = at_step(step, verb, before)
    assert moving.run
    if step == JOB_STEP:
        moving, _ = advance(moving, JobTaken("r1"), 1.0)
    stopped, actions = advance(moving, Cancel(), 2.0)
    assert moving.run
    if may_be_writing(moving.run):
        assert [action.step.name for action in actions] == ["cancel.off"]
        stopped, actions = advance(stopped, Done("r1", actions[0].at), 2.0)
        assert stopped.power is Power.OFF
    touched = verb not in KEEPS_DISK and any(line.step in ("wait.facts", "wait.answer") for line in moving.run.journal)
    where = State.READY if touched else before.state
    where = State.QUARANTINED if (verb, step) == (Verb.RELEASE, JOB_STEP) else where  # half erased
    assert (stopped.state, actions) == (where, [])
    assert stopped.failure
    assert stopped.failure.reason == "cancelled by the operator"
    assert stopped.run
    assert (stopped.run.step, stopped.run.outcome, stopped.run.steps) == (None, "cancelled", moving.run.steps)
    assert agent_command(stopped) == "wait 15"
    late, _ = advance(stopped, Done("r1", moving.run.at), 3.0)
    assert late == stopped, "what was under way is not listened to"

    again, actions = advance(stopped, Resume(), 4.0)
    assert (again.state, again.generation) == (VERBS[verb].moving, stopped.generation + 1)
    assert [action.step.name for action in actions] == [step_of(again)]
    assert again.run
    assert again.run.deadline > 4.0
    assert again.run.limit > 4.0
    while again.run.step is not None:
        if again.run.step.name == JOB_STEP:
            assert job_id(again.run) != (job_id(moving.run) if step == JOB_STEP else "")
        again, _ = advance(again, completing(again), 5.0)
        assert again.run
    assert (again.run.outcome, again.failure) == ("done", None)
