"""Workflow runs: what operators wrote, pinned for one run, and how far each machine has come with it. No I/O.

A run keeps its steps as they were when it began: an edited file or an upgraded daemon changes runs to come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Where(StrEnum):
    """Where a step is carried out."""

    DISCOVERY = "discovery"  # a script in the discovery system
    INSTALLER = "installer"  # a script in the environment of a distribution's installer, at its end
    SYSTEM = "system"  # a script on the system that was just installed
    DAEMON = "daemon"  # an action of ours
    BMC = "bmc"  # a verb of the machine's BMC


ON_MACHINE = frozenset({Where.DISCOVERY, Where.INSTALLER, Where.SYSTEM})
"""Where steps are scripts that something on the machine fetches and runs."""


class Then(StrEnum):
    """What follows when the handler of a step that failed has done its work."""

    FAIL = "fail"  # the machine's run ends there
    AGAIN = "again"  # the step is tried once more
    GO_ON = "go-on"  # as if the step had been done


@dataclass(frozen=True, slots=True)
class FlowStep:
    """One step as it is pinned in a run. `once`: whatever happens, it is begun at most once in a run."""

    name: str
    where: Where
    about: str = ""
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    script: str = ""
    action: str = ""
    verb: str = ""
    given: dict[str, Any] = field(default_factory=dict)
    """Arguments of the action or verb."""
    limit_s: float = 3600.0
    retries: int = 0
    pause_s: float = 10.0
    """Pause before each further try."""
    handler: str = ""
    then: Then = Then.FAIL
    destructive: bool = False
    once: bool = False
    barrier: bool = False
    """Begun only when every machine of the run has come so far."""
    leader: bool = False
    """Carried out by one machine for all; the others wait for it."""
    bmc_account: bool = False
    """The script is given a random password for an account of ours at the machine's BMC."""

    @property
    def on_machine(self) -> bool:
        """Say whether it is a script that something on the machine fetches."""
        return self.where in ON_MACHINE


class Stage(StrEnum):
    """How a machine stands in a run."""

    WAITING = "waiting"  # its next step may not begin yet
    RUNNING = "running"  # a step is under way
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"


OVER = frozenset({Stage.DONE, Stage.FAILED, Stage.ABORTED})


class FlowStatus(StrEnum):
    """How a run stands. One that is paused still sees the steps to their end that it began."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"  # every machine reached its goal
    FAILED = "failed"  # all are over, and not every one reached it
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A step that is not in a machine's plan, and why."""

    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class FlowLine:
    """One try of a step as it went: done, retried, failed, lost, by-leader, skipped or gone-on."""

    step: str
    fence: int
    attempt: int
    started: float
    ended: float
    outcome: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class FlowMember:
    """One machine of a run. Its plan is pinned; `fence` grows with every try that is begun, and numbers it."""

    machine: str
    name: str
    plan: tuple[str, ...]
    chosen: tuple[str, ...] = ()
    """Why each step of the plan is in it."""
    left_out: tuple[LeftOut, ...] = ()
    at: int = 0
    attempt: int = 1
    lost: int = 0
    fence: int = 0
    stage: Stage = Stage.WAITING
    handling: str = ""
    """The handler that stands in for the step, which failed."""
    mended: tuple[str, ...] = ()
    """Steps whose handler has run already."""
    taken: str = ""
    """Who has fetched the script of this try: a digest of its token."""
    loose: float = 0.0
    """Until when the script of a try that is over may go on: who has fetched it did not say that it ended."""
    began: float = 0.0
    deadline: float = 0.0
    not_before: float = 0.0
    granted: int = 0
    """Steps that it may begin although the run is paused."""
    reason: str = ""
    journal: tuple[FlowLine, ...] = ()

    @property
    def over(self) -> bool:
        """Say whether nothing more happens with it."""
        return self.stage in OVER

    @property
    def unheld(self) -> FlowMember:
        """Say the same of a machine whose try is over: a script that was fetched may go on until its limit."""
        return replace(self, taken="", loose=self.deadline if self.taken else self.loose)

    @property
    def next(self) -> str:
        """Name the step under way or next; empty at the end."""
        return self.handling or (self.plan[self.at] if self.at < len(self.plan) else "")


@dataclass(frozen=True, slots=True)
class FlowRun:
    """One run of a workflow over a group of machines. Times are seconds since the epoch."""

    id: str
    workflow: str
    steps: dict[str, FlowStep]
    select: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    members: tuple[FlowMember, ...] = ()
    at_once: int = 0
    """Steps under way at once; 0: as many as there are machines."""
    max_failures: int = 0
    """Machines that may fail before barriers no longer open."""
    limit_s: float = 86400.0
    limit: float = 0.0
    status: FlowStatus = FlowStatus.RUNNING
    reason: str = ""
    signals: tuple[str, ...] = ()
    """What was said to it; kept, since it may be said before a step waits for it."""
    since: int = 0
    """Number of the last event before it began: what its steps wait for came after that."""
    created: float = 0.0
    ended: float = 0.0
    paused: float = 0.0
    """When it was last paused: until it is resumed, its limit does not come nearer."""

    @property
    def over(self) -> bool:
        """Say whether nothing more happens by itself."""
        return bool(self.ended)

    def count(self, *stages: Stage) -> int:
        """Count the machines in any of these stages."""
        return sum(member.stage in stages for member in self.members)

    def member(self, machine: str) -> FlowMember | None:
        """Find a machine by its id or name."""
        return next((each for each in self.members if machine in (each.machine, each.name)), None)

    def step(self, member: FlowMember) -> FlowStep | None:
        """Find the step that a machine is at; None at the end."""
        return self.steps.get(member.next)


@dataclass(frozen=True, slots=True)
class Wish:
    """A run as an operator asks for it; `max_failures` is the workflow's own where it is None."""

    workflow: str
    select: str
    params: Mapping[str, Any] = field(default_factory=dict)
    at_once: int = 0
    max_failures: int | None = None
    paused: bool = False
