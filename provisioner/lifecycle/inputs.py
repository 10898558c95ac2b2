"""What can happen to a machine, as values: intents of operators, results of actions, what the machine does. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from provisioner.lifecycle.plans import Signal, Verb
from provisioner.model.bmc import Power


@dataclass(frozen=True, slots=True)
class Begin:
    """An intent was accepted: start this run."""

    run_id: str
    verb: Verb
    bootenv: str
    job: str = ""
    """Which job the agent is given at `wait.job`."""
    params: dict[str, Any] = field(default_factory=dict)
    """Parameters of this boot alone."""
    by_medium: bool = False
    """Boot from a CD of this machine's own in its BMC's virtual drive, not from the network."""
    stays: bool = False
    """The discovery system goes on, also where the machine is in use: a workflow has work for it."""
    quarantine_after: int = 3
    """Installs in a row that may fail before the machine is kept back; 0: it never is."""


@dataclass(frozen=True, slots=True)
class Done:
    """The action of step `at` of run `run_id` reached its end state."""

    run_id: str
    at: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The action of step `at` did not; `again` says whether another try can help."""

    run_id: str
    at: int
    reason: str
    hint: str = ""
    again: bool = True
    kind: str = ""
    """Which error it was, by its class: words differ from driver to driver."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The machine did something that a run may wait for."""

    signal: Signal
    note: str = ""


@dataclass(frozen=True, slots=True)
class JobTaken:
    """The agent has fetched its job."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Idle:
    """The agent asks what to do: whatever job it had, it is not doing it."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """The agent or installer says how far it is."""

    run_id: str
    percent: float | None
    note: str


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The agent's job ended with another status than 0."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Looked:
    """The power of a machine with a silent agent was read, twice alike. `seen` is when it had last been heard of."""

    run_id: str
    at: int
    seen: float
    power: Power


@dataclass(frozen=True, slots=True)
class Panicked:
    """The console showed that the kernel gave up, in these words."""

    run_id: str
    words: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; `now` tells how much. `fetching`: the machine is being sent what it boots now."""

    fetching: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """The operator does not want it any more."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The operator wants the run that failed or was cancelled to go on where that is safe."""


OfJob = JobTaken | JobFailed | Idle | Looked
OfRun = Done | Failed | Progress | OfJob
Event = Begin | Seen | Tick | Cancel | Resume | OfRun | Panicked
