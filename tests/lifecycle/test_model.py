"""The rules as a whole under random intents, events, faults, restarts and clocks, against a model of what may be.

The model knows three things that the rules do not: what really is on the disk, which jobs were given out, and which
record is durable. A restart goes back to the durable one, through the store's codec, by a clock that was set meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import INVARIANT_MARKER, RuleBasedStateMachine, initialize, invariant, precondition, rule

from provisioner.boot.plan import BootPolicy, next_boot
from provisioner.errors import ConflictError
from provisioner.lifecycle import rest
from provisioner.lifecycle.events import describe, is_lasting
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
from provisioner.lifecycle.limits import resumed
from provisioner.lifecycle.plans import JOB_STEP, KINDS, VERBS, Signal, Verb, agent_command, job_id
from provisioner.lifecycle.steps import Perform, advance, current_action, due_s, is_silent
from provisioner.model.bmc import BmcAddress, Driver, Power
from provisioner.model.boot import Arch, Asker, BootClient, LocalDisk
from provisioner.model.machine import MOVING, Machine, Run, State
from provisioner.model.net import Mac
from provisioner.store.codec import Reader, encode

MAC = Mac("52:54:00:00:00:17")
FRESH = Machine("m1", "node17", State.ENROLLED, macs=(MAC,), bmc=BmcAddress(Driver.IPMI, "10.0.0.17", 623, "admin"))
CLIENTS = tuple(BootClient(MAC, asker, Arch.X86_BIOS) for asker in Asker)
DAY = 86400.0
DISCOVERED_ANEW = frozenset({State.DISCOVERED, State.ENROLLED})
"""States from which a machine boots the discovery system, which leaves its disk alone, without being asked to."""
STARTS = (State.DISCOVERED, State.ENROLLED, State.READY, State.RESERVED, State.ACTIVE, State.RETIRED)
TRIES = 3
"""Most tries of one step until somebody resumes the run."""

EXAMPLES, STEPS = 250, 40
"""10,000 steps of hypothesis, beside the random walks below."""

Rule = Callable[[Machine, float], tuple[Machine, list[Perform]]]


class Life(RuleBasedStateMachine):
    """One machine, and what the world around it does."""

    @initialize(state=st.sampled_from(STARTS))
    def begin(self, state: State) -> None:
        bootenv = "debian-12" if state is State.ACTIVE else ""
        self.machine = self.saved = replace(FRESH, state=state, bootenv=bootenv)
        self.now, self.runs = 1e9, 0
        self.jobs: list[str] = []
        self.unerased: set[tuple[str, bool]] = set()
        """How releases ended that left data behind, and whether their erase was begun."""
        self.written = state is State.ACTIVE
        """Somebody's data is on the disk."""
        self.listening = self.now

    def change(self, change: Rule) -> None:
        """What `Runner.change` does: nothing where it is refused, durable where something was decided."""
        before = self.machine
        try:
            after, actions = change(before, self.now)
        except ConflictError:
            return
        assert after.generation >= before.generation
        run = after.run
        for action in actions:  # no action of a run that ended, nor of a step that is over
            assert run is not None
            assert run.step is not None
            assert (action.run_id, action.at, action.step) == (run.id, run.at, run.step)
        self.machine = after
        if describe(before, after) or is_lasting(before, after):
            self.saved = after
        self.passed(before, after)

    def passed(self, before: Machine, after: Machine) -> None:
        """Hold what a single change may do."""
        if after.state in MOVING and before.state not in MOVING:
            assert after.generation > before.generation
        run = after.run
        if run is not None and before.state in MOVING and after.state not in MOVING and run.outcome == "done":
            assert [line.step for line in run.journal if line.outcome == "done"][-1] == run.steps[-1].name
        if run is not None and run.verb == Verb.RELEASE and before.state in MOVING and after.state not in MOVING:
            self.released(run, after)

    def released(self, run: Run, after: Machine) -> None:
        """Hold what a release may leave behind, however it ended: erased, as it was, or kept back."""
        if not self.written:
            return
        assert run.outcome != "done", "given away without being erased"
        begun = any(job.startswith(f"{run.id}.") for job in self.jobs)
        self.unerased.add((run.outcome, begun))
        assert after.state in ({State.QUARANTINED} if begun else {State.QUARANTINED, run.return_to})
        assert after.bootenv or run.return_to is not State.ACTIVE, "what is on it is still on record"

    def apply(self, event: Event) -> None:
        self.change(lambda m, now: advance(m, event, now))

    @property
    def run(self) -> Run:
        assert self.machine.run is not None
        return self.machine.run

    # what operators ask

    @rule(verb=st.sampled_from(Verb))
    def asked(self, verb: Verb) -> None:
        self.runs += 1
        self.apply(Begin(f"r{self.runs}", verb, "debian-12", "job"))

    @precondition(lambda self: self.machine.state in VERBS[Verb.RELEASE].start)
    @rule(taken=st.booleans())
    def erasing(self, taken: bool) -> None:
        """A release comes as far as its erase: what random steps seldom reach."""
        self.asked(Verb.RELEASE)
        while self.run.step is not None and self.run.step.name != JOB_STEP:
            self.goes_one_step()
        if taken:
            self.job_taken()

    @rule()
    def cancelled(self) -> None:
        self.apply(Cancel())

    @rule()
    def resumed(self) -> None:
        self.apply(Resume())

    @rule(state=st.sampled_from(sorted(rest.HELD)))
    def held(self, state: State) -> None:
        self.change(lambda m, now: (rest.hold(m, state, "x", now), []))

    @rule(say=st.sampled_from([rest.let_go, rest.retire, rest.unretire]))
    def told(self, say: Callable[[Machine, float], Machine]) -> None:
        self.change(lambda m, now: (say(m, now), []))

    @rule()
    def adopted(self) -> None:
        before = self.machine
        self.change(lambda m, now: (rest.adopt(m, "theirs", now), []))
        self.written = self.written or self.machine is not before

    # what BMCs and machines do

    @precondition(lambda self: self.machine.state in MOVING)
    @rule(steps=st.sampled_from([1, 2, 7, 13]))
    def goes_on(self, steps: int) -> None:
        """Whatever the run waits for happens, several times."""
        for _ in range(steps):
            if self.machine.state in MOVING:
                self.goes_one_step()
                self.a_moving_state_is_a_run_under_way()

    def goes_one_step(self) -> None:
        step = self.run.step
        assert step is not None
        signal = KINDS[step.name].signal
        if signal is Signal.JOB:
            if not self.run.job_taken:
                self.job_taken()
            self.job_done()
        elif signal is None:
            self.apply(Done(self.run.id, self.run.at))
        else:
            self.apply(Seen(signal))

    @precondition(lambda self: self.machine.state in MOVING)
    @rule(again=st.booleans())
    def action_fails(self, again: bool) -> None:
        self.apply(Failed(self.run.id, self.run.at, "no answer", again=again))

    @rule(run=st.integers(0, 5), at=st.integers(0, 13), ok=st.booleans())
    def late_answer(self, run: int, at: int, ok: bool) -> None:
        """The answer of an action that nobody waits for any more."""
        if (f"r{run}", at) == (getattr(self.machine.run, "id", ""), getattr(self.machine.run, "at", -1)):
            return
        before = self.machine
        self.apply(Done(f"r{run}", at) if ok else Failed(f"r{run}", at, "no answer"))
        assert self.machine == before

    @rule(signal=st.sampled_from([s for s in Signal if s is not Signal.JOB]))
    def signals(self, signal: Signal) -> None:
        self.apply(Seen(signal))

    @precondition(lambda self: agent_command(self.machine).startswith("run "))
    @rule()
    def job_taken(self) -> None:
        job = agent_command(self.machine).removeprefix("run ")
        assert job == job_id(self.run)
        assert job not in self.jobs, f"job {job} was given twice"
        self.jobs.append(job)
        self.apply(JobTaken(self.run.id))
        assert not agent_command(self.machine).startswith("run ")
        self.written = True  # half, but it may be somebody's

    @precondition(lambda self: self.machine.run is not None and self.machine.run.job_taken)
    @rule()
    def job_done(self) -> None:
        if self.run.step is None or not self.run.job_taken:
            return
        if self.run.verb == Verb.RELEASE:
            self.written = False
        self.apply(Seen(Signal.JOB))

    @precondition(lambda self: self.machine.run is not None)
    @rule(event=st.sampled_from(["failed", "idle", "progress"]))
    def job_goes(self, event: str) -> None:
        run = self.run.id
        told = {"failed": JobFailed(run, "disk too small"), "idle": Idle(run), "progress": Progress(run, 50.0, "write")}
        self.apply(told[event])

    # time, and what it brings to light

    @rule(pause=st.sampled_from([1.0, 61.0, 301.0, 4000.0, DAY]))
    def time_passes(self, pause: float) -> None:
        self.now += pause
        self.apply(Tick())
        run = self.machine.run
        if run is not None and run.step is not None:
            assert run.deadline > self.now
            assert run.limit > self.now

    @precondition(lambda self: is_silent(self.machine, self.listening, self.now))
    @rule(power=st.sampled_from(Power))
    def looked(self, power: Power) -> None:
        self.apply(Looked(self.run.id, self.run.at, self.machine.seen, power))

    @rule(clock=st.sampled_from([0.0, 30.0, 5000.0, DAY, -DAY]))
    def restarted(self, clock: float) -> None:
        """The daemon dies; another starts by a clock that may have been set, from what was durable."""
        self.now += clock
        self.listening = self.now
        self.machine = Reader(Machine)(encode(self.saved))
        assert self.machine == self.saved
        before = self.machine.run
        self.change(lambda m, now: (resumed(m, now), current_action(m)))
        if before is None or before.step is None:
            return
        run, step = self.run, before.step
        assert (run.at, run.attempt, run.job_taken) == (before.at, before.attempt, before.job_taken)
        assert self.now < run.deadline <= self.now + due_s(step), "a step neither ends at once nor never"
        assert run.deadline <= run.limit <= self.now + VERBS[Verb(run.verb)].limit_s

    @rule()
    def discovered(self) -> None:
        """A discovery system reports without a run."""
        self.apply(Seen(Signal.FACTS))

    # what always holds

    @invariant()
    def a_moving_state_is_a_run_under_way(self) -> None:
        run = self.machine.run
        moving = run is not None and run.step is not None
        assert moving == (self.machine.state in MOVING)
        if moving:
            assert run is not None
            assert run.outcome == "running"
            assert run.deadline > 0
            assert run.limit > 0
            assert self.machine.failure is None

    @invariant()
    def without_a_run_nothing_is_installed(self) -> None:
        machine = self.machine
        if machine.state in MOVING:
            return
        assert not agent_command(machine).startswith("run ")
        assert current_action(machine) == []
        if machine.state not in DISCOVERED_ANEW:
            for client in CLIENTS:
                assert isinstance(next_boot(client, machine, BootPolicy()), LocalDisk)

    @invariant()
    def an_active_machine_runs_what_is_on_record(self) -> None:
        assert self.machine.bootenv or self.machine.state is not State.ACTIVE

    @invariant()
    def what_is_tried_again_is_counted(self) -> None:
        tries: dict[str, int] = {}
        for line in self.machine.run.journal if self.machine.run else ():
            tries[line.step] = tries.get(line.step, 0) + (line.outcome == "retried")
            if line.outcome in ("failed", "cancelled"):
                tries.clear()
            assert tries.get(JOB_STEP, 0) < TRIES

    @invariant()
    def a_hold_has_a_way_back(self) -> None:
        hold = self.machine.hold
        if self.machine.state in rest.HELD | {State.RESCUE}:
            assert hold is not None
            assert hold.return_to not in MOVING | {State.RETIRED}
            assert (hold.return_to in rest.HELD) == (hold.within is not None)


class TestLife(Life.TestCase):  # type: ignore[misc, name-defined]
    """Hypothesis looks for the shortest story that breaks a rule."""

    settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)


# the same world on long random walks: hypothesis tends to the simple, and most of what is rare needs many steps

Move = tuple[str, Callable[[Random], tuple[Any, ...]]]
MOVES: dict[Move, int] = {
    ("goes_on", lambda r: (r.choice((1, 1, 2, 7, 13)),)): 30,
    ("asked", lambda r: (r.choice(list(Verb)),)): 14,
    ("erasing", lambda r: (r.random() < 0.7,)): 4,
    ("signals", lambda r: (r.choice([s for s in Signal if s is not Signal.JOB]),)): 6,
    ("time_passes", lambda r: (r.choice((1.0, 61.0, 301.0, 301.0, 4000.0, DAY)),)): 8,
    ("looked", lambda r: (r.choice(list(Power)),)): 20,
    ("restarted", lambda r: (r.choice((0.0, 30.0, 5000.0, DAY, -DAY)),)): 6,
    ("job_taken", lambda _: ()): 10,
    ("job_done", lambda _: ()): 3,
    ("job_goes", lambda r: (r.choice(("failed", "idle", "progress")),)): 6,
    ("action_fails", lambda r: (r.random() < 0.8,)): 4,
    ("late_answer", lambda r: (r.randrange(6), r.randrange(14), r.random() < 0.5)): 2,
    ("cancelled", lambda _: ()): 3,
    ("resumed", lambda _: ()): 8,
    ("held", lambda r: (r.choice(sorted(rest.HELD)),)): 3,
    ("told", lambda r: (r.choice((rest.let_go, rest.let_go, rest.let_go, rest.retire, rest.unretire)),)): 5,
    ("adopted", lambda _: ()): 1,
    ("discovered", lambda _: ()): 2,
}
"""What happens, with which arguments, and how often beside the others."""
WALKS, WALK = 200, 150
"""30,000 steps."""


def may(life: Life, name: str) -> bool:
    """Say whether a rule's preconditions hold."""
    return all(condition(life) for condition in getattr(Life, name).hypothesis_stateful_rule.preconditions)


@pytest.mark.parametrize("part", range(4))
def test_no_long_random_walk_breaks_a_rule(part: int) -> None:
    moves, weights = list(MOVES), list(MOVES.values())
    invariants = [getattr(Life, name) for name in vars(Life) if hasattr(getattr(Life, name), INVARIANT_MARKER)]
    assert len(invariants) >= 5
    seen: set[State] = set()
    unerased: set[tuple[str, bool]] = set()
    for seed in range(part * WALKS // 4, (part + 1) * WALKS // 4):
        random, life = Random(seed), Life()
        life.begin(STARTS[seed % len(STARTS)])
        story: list[str] = []
        for name, draw in random.choices(moves, weights, k=WALK):
            arguments = draw(random)
            if not may(life, name):
                continue
            story.append(f"{name}{arguments}")
            try:
                getattr(life, name)(*arguments)
                for holds in invariants:
                    holds(life)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {' -> '.join(story[-12:])}: {error}") from error
            seen.add(life.machine.state)
        unerased |= life.unerased
    assert seen >= set(State) - {State.EXTERNAL}
    assert unerased >= {("failed", True), ("cancelled", True)}
