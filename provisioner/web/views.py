"""How the API shows things: one JSON shape for each, the same that the workload layer sees. No I/O.

docs/api.md explains every field. Times are RFC 3339 in UTC, sizes bytes, unknown is null. Nothing here holds a
secret: BMC passwords are not fields of a machine, and of a parameter with a secret's name only "(set)" is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from provisioner.lifecycle.story import Verdict
from provisioner.model.bmc import BmcAddress
from provisioner.model.facts import Facts
from provisioner.model.intent import Event
from provisioner.model.machine import Failure, Hold, JournalLine, Machine, Run
from provisioner.model.trace import TraceLine
from provisioner.web.ports import BootenvStatus

SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)|secret|token|private|credential|hash|psk|(api|access)_?key", re.IGNORECASE
)
MASK = "(set)"


class ProfileView(msgspec.Struct, frozen=True):
    name: str
    reason: str


class BmcView(msgspec.Struct, frozen=True):
    """Where the BMC is; the password is write-only."""

    url: str
    driver: str
    host: str
    port: int
    username: str
    fingerprint: str


class StepView(msgspec.Struct, frozen=True):
    name: str
    phase: str
    timeout_s: float


class JournalView(msgspec.Struct, frozen=True):
    step: str
    phase: str
    attempt: int
    started: str | None
    ended: str | None
    outcome: str
    note: str


class RunView(msgspec.Struct, frozen=True):
    """An operation under way, or the last one. `phase` and `step` are empty once it has ended."""

    id: str
    verb: str
    bootenv: str
    params: dict[str, Any]
    outcome: str
    phase: str
    step: str
    at: int
    steps: tuple[StepView, ...]
    attempt: int
    percent: float | None
    note: str
    started: str | None
    step_started: str | None
    deadline: str | None
    ended: str | None
    journal: tuple[JournalView, ...]


class FailureView(msgspec.Struct, frozen=True):
    reason: str
    phase: str
    at: str | None
    return_to: str
    hint: str


class HoldView(msgspec.Struct, frozen=True):
    """Why a machine is kept back, and where it goes when it is let go."""

    reason: str
    return_to: str
    at: str | None


class MachineView(msgspec.Struct, frozen=True):
    """One machine. `generation` is its ETag."""

    id: str
    name: str
    state: str
    generation: int
    macs: tuple[str, ...]
    uuid: str
    serial: str
    profile: ProfileView | None
    bootenv: str
    boot_via: str
    power: str | None
    bmc: BmcView | None
    params: dict[str, Any]
    tags: tuple[str, ...]
    facts: dict[str, Any] | None
    run: RunView | None
    failure: FailureView | None
    hold: HoldView | None
    created: str | None
    changed: str | None
    seen: str | None


class TraceView(msgspec.Struct, frozen=True):
    seq: int
    at: str | None
    channel: str
    event: str
    text: str
    ok: bool
    mac: str | None
    machine: str
    run: str


class EventView(msgspec.Struct, frozen=True):
    seq: int
    at: str | None
    type: str
    machine: str
    name: str
    data: dict[str, Any]


class VerdictView(msgspec.Struct, frozen=True):
    """What is the matter. `diagnosis` is an id of docs/diagnoses.md, or waiting, fine, cancelled, unknown."""

    diagnosis: str
    text: str
    todo: str
    evidence: tuple[TraceView, ...]
    tried: tuple[str, ...]


class BootenvView(msgspec.Struct, frozen=True):
    """A bootenv. `ready`: all its artefacts are here; `missing` names those that are not, and what gets them.

    `built` has the commands that make what is built rather than fetched, by ARCH/NAME.
    """

    name: str
    title: str
    kind: str
    family: str
    version: str
    arch: tuple[str, ...]
    aliases: tuple[str, ...]
    secure_boot: bool | None
    min_memory_bytes: int
    min_disk_bytes: int
    tested: str
    ready: bool
    missing: tuple[str, ...]
    built: dict[str, str]


def when(at: float) -> str | None:
    """Write seconds since the epoch as RFC 3339 with milliseconds; None for 0, which means never."""
    if not at:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def machine_view(machine: Machine) -> MachineView:
    """Show a machine as every client sees it."""
    return MachineView(
        id=machine.id,
        name=machine.name,
        state=machine.state,
        generation=machine.generation,
        macs=tuple(machine.macs),
        uuid=machine.uuid,
        serial=machine.serial,
        profile=ProfileView(machine.profile, machine.profile_reason) if machine.profile else None,
        bootenv=machine.bootenv,
        boot_via=machine.boot_via,
        power=machine.power,
        bmc=_bmc_view(machine.bmc) if machine.bmc else None,
        params=masked(machine.params),
        tags=tuple(machine.tags),
        facts=facts_view(machine.facts) if machine.facts else None,
        run=run_view(machine.run) if machine.run else None,
        failure=_failure_view(machine.failure) if machine.failure else None,
        hold=_hold_view(machine.hold) if machine.hold else None,
        created=when(machine.created),
        changed=when(machine.changed),
        seen=when(machine.seen),
    )


def masked(params: Mapping[str, Any]) -> dict[str, Any]:
    """Show parameters, but of those whose name says "secret" only that they are set."""
    return {name: _mask(name, value) for name, value in params.items()}


def _mask(name: str, value: Any) -> Any:
    if SECRET_NAME.search(name) and value not in (None, ""):
        return MASK
    if isinstance(value, Mapping):
        return masked(value)
    if isinstance(value, list | tuple):
        return [_mask("", item) for item in value]
    return value


def _bmc_view(bmc: BmcAddress) -> BmcView:
    return BmcView(str(bmc), bmc.driver, bmc.host, bmc.port, bmc.username, bmc.fingerprint)


def facts_view(facts: Facts) -> dict[str, Any]:
    """Show hardware facts field by field; only the time is written differently than in `model.facts`."""
    view: dict[str, Any] = msgspec.to_builtins(facts)
    return view | {"observed_at": when(facts.observed_at)}


def run_view(run: Run) -> RunView:
    """Show a run with its plan and its journal."""
    step = run.step
    return RunView(
        id=run.id,
        verb=run.verb,
        bootenv=run.bootenv,
        params=masked(run.params),
        outcome=run.outcome,
        phase=step.phase if step else "",
        step=step.name if step else "",
        at=run.at,
        steps=tuple(StepView(s.name, s.phase, s.timeout_s) for s in run.steps),
        attempt=run.attempt,
        percent=run.percent,
        note=run.note,
        started=when(run.started),
        step_started=when(run.step_started),
        deadline=when(run.deadline),
        ended=when(run.ended),
        journal=tuple(_journal_view(line) for line in run.journal),
    )


def _journal_view(line: JournalLine) -> JournalView:
    started, ended = when(line.started), when(line.ended)
    return JournalView(line.step, line.phase, line.attempt, started, ended, line.outcome, line.note)


def _failure_view(failure: Failure) -> FailureView:
    return FailureView(failure.reason, failure.phase, when(failure.at), failure.return_to, failure.hint)


def _hold_view(hold: Hold) -> HoldView:
    return HoldView(hold.reason, hold.return_to, when(hold.at))


def trace_view(seq: int, line: TraceLine) -> TraceView:
    """Show one line of a boot trace."""
    return TraceView(seq, when(line.at), line.channel, line.event, line.text, line.ok, line.mac, line.machine, line.run)


def verdict_view(verdict: Verdict) -> VerdictView:
    """Show what is the matter with a machine; lines of evidence have no number here."""
    evidence = tuple(trace_view(0, line) for line in verdict.evidence)
    return VerdictView(verdict.id, verdict.text, verdict.todo, evidence, verdict.tried)


def event_view(event: Event, name: str) -> EventView:
    """Show one line of the outbox. `name` is what its machine is called now, or was when it was forgotten."""
    return EventView(event.seq, when(event.at), event.type, event.machine, name, masked(event.data))


def bootenv_view(status: BootenvStatus) -> BootenvView:
    """Show a bootenv and what it lacks."""
    bootenv = status.bootenv
    return BootenvView(
        name=bootenv.name,
        title=bootenv.title,
        kind=bootenv.kind,
        family=bootenv.family,
        version=bootenv.version,
        arch=tuple(sorted(bootenv.arch)),
        aliases=tuple(bootenv.aliases),
        secure_boot=bootenv.secure_boot,
        min_memory_bytes=bootenv.min_memory_bytes,
        min_disk_bytes=bootenv.min_disk_bytes,
        tested=bootenv.tested,
        ready=not status.missing,
        missing=status.missing,
        built=bootenv.built,
    )
