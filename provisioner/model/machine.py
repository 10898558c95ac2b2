"""A machine: what is wanted of it, what was observed, and the run that is under way. No I/O.

docs/lifecycle.md draws it: resting states and moving states. A failure is an attribute with a reason and a
return point, never a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from provisioner.model.bmc import BmcAddress, BmcIdentity, Power
from provisioner.model.facts import Facts
from provisioner.model.names import run_name
from provisioner.model.net import Mac


class State(StrEnum):
    """Where a machine is in its life."""

    # resting
    DISCOVERED = "discovered"  # it netbooted and reported facts; nobody enrolled it
    ENROLLED = "enrolled"  # somebody named it and its BMC; nothing is proven yet
    READY = "ready"  # facts and BMC are known: it can be installed
    RESERVED = "reserved"  # a claim holds it
    ACTIVE = "active"  # it runs what was asked for
    RESCUE = "rescue"
    MAINTENANCE = "maintenance"
    QUARANTINED = "quarantined"
    RETIRED = "retired"
    EXTERNAL = "external"
    # moving
    INSPECTING = "inspecting"
    DEPLOYING = "deploying"
    RELEASING = "releasing"


BY_MEDIUM = "media"
"""`Machine.boot_via` of one that needs no network boot: its BMC has a virtual CD drive."""

MOVING = frozenset({State.INSPECTING, State.DEPLOYING, State.RELEASING})


class Phase(StrEnum):
    """The sub-phases of a run, in the order that a journey passes them (docs/lifecycle.md)."""

    POWER = "power"
    DHCP = "dhcp"
    LOADER = "loader"
    FETCH = "fetch"
    INSTALL = "install"
    FINALIZE = "finalize"
    LOCAL_BOOT = "local-boot"
    PHONE_HOME = "phone-home"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a pinned plan. `name` is a row of `lifecycle.steps`; `timeout_s` bounds it."""

    name: str
    phase: Phase
    timeout_s: float
    params: dict[str, Any] = field(default_factory=dict)
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """An operation under way, or the last one. The plan is pinned: an upgrade or an edit never touches a running run.

    Times are seconds since the epoch. `at` is the index of the step under way, `attempt` counts its tries from 1.
    """

    id: str
    verb: str
    bootenv: str
    steps: tuple[Step, ...]
    params: dict[str, Any] = field(default_factory=dict)
    """Parameters that were given for this boot alone."""
    at: int = 0
    attempt: int = 1
    started: float = 0.0
    step_started: float = 0.0
    deadline: float = 0.0
    limit: float = 0.0
    """When the run as a whole has to be at its end, whatever its steps; 0: no limit."""
    percent: float | None = None
    note: str = ""
    outcome: str = "running"
    """running, done, failed or cancelled."""
    ended: float = 0.0
    return_to: State = State.READY
    """The state that the machine came from."""
    early: tuple[str, ...] = ()
    """Signals that came while the action before their wait was still under way."""
    quarantine_after: int = 3
    """Installs in a row that may fail before the machine is kept back, as it was set when this one began; 0: never."""
    job_taken: bool = False
    """The agent has fetched the job of this attempt: a second fetch is refused."""
    unheard: bool = False
    """The daemon was away while the machine had to ask it for something: it may have given up."""
    journal: tuple[JournalLine, ...] = ()

    @property
    def name(self) -> str:
        """What it is called."""
        return run_name(self.verb, self.bootenv)

    @property
    def step(self) -> Step | None:
        """The step under way; None when the plan is used up or the run has ended."""
        return self.steps[self.at] if self.outcome == "running" and self.at < len(self.steps) else None


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One step of a run as it went."""

    step: str
    phase: Phase
    attempt: int
    started: float
    ended: float
    outcome: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last run did not reach its end, where it stood, and to which state the machine went back."""

    reason: str
    phase: str
    at: float
    return_to: State
    hint: str = ""
    kind: str = ""
    """The class of the error that an action ended with; empty for what a machine did or did not do."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a machine is kept back (maintenance, quarantine, rescue), and where it goes when it is let go."""

    reason: str
    return_to: State
    at: float
    within: Hold | None = None
    """The hold that it goes back to: rescue of a machine in maintenance."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine, physical or not. `generation` grows with every change of what is wanted."""

    id: str
    name: str
    state: State
    generation: int = 1
    macs: tuple[Mac, ...] = ()
    uuid: str = ""
    serial: str = ""
    boards: Mapping[str, BmcIdentity] = field(default_factory=dict)
    """The UUID and the serial number that its board said by each driver when that way was put on record: some boards
    say others there than their system does."""
    profile: str = ""
    profile_reason: str = ""
    facts: Facts | None = None
    bmc: BmcAddress | None = None
    more_bmcs: tuple[BmcAddress, ...] = ()
    """Other ways to the same board, one for each driver, in the operator's order."""
    power: Power | None = None
    bootenv: str = ""
    """What runs on its disk, once a run put it there."""
    params: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    boot_via: str = "pxe"
    """How it boots: from the network by "pxe" or "http" (UEFI HTTP boot), or by "media", a CD of its own."""
    run: Run | None = None
    failure: Failure | None = None
    hold: Hold | None = None
    failed_runs: int = 0
    """How many installs in a row did not reach their end."""
    created: float = 0.0
    changed: float = 0.0
    seen: float = 0.0
    """When anything was last heard of it."""

    @property
    def bmcs(self) -> tuple[BmcAddress, ...]:
        """Every way to its board, the first one first."""
        return (self.bmc, *self.more_bmcs) if self.bmc is not None else self.more_bmcs
