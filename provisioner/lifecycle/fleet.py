"""Rollouts: one bootenv onto many machines, so many at once, until too many have failed. No I/O.

`advance` says what an event makes of a rollout and which machines are to be begun. Each is begun under an idempotency
key of its own, so a daemon that dies between deciding and doing does it once more and it happens once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from provisioner.errors import ConfigError, ConflictError
from provisioner.lifecycle.rest import use_of
from provisioner.model.machine import Machine

MOST = 10_000
"""Machines in one rollout: who begins one or looks at it is shown all of them."""
SHOWN = 20
"""Names in one line for people."""


class Stage(StrEnum):
    """How far a rollout has come with one machine."""

    WAITING = "waiting"
    STARTING = "starting"  # decided, durable, and looked at; whether the run was begun is seen by its key
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # its run failed or was cancelled, or was refused before anything was touched
    SKIPPED = "skipped"  # the rollout was aborted before its turn, or it was taken into use meanwhile


UNDER_WAY = frozenset({Stage.STARTING, Stage.RUNNING})


class Status(StrEnum):
    """Where a rollout stands. One that is paused or aborted still sees the runs to their end that it began."""

    RUNNING = "running"
    PAUSED = "paused"  # by an operator, or since too many failed
    ABORTED = "aborted"
    DONE = "done"  # every machine had its turn, and no more failed than may
    FAILED = "failed"  # every machine had its turn, and more failed than may


@dataclass(frozen=True, slots=True)
class Member:
    """One machine of a rollout. `reason` says why it failed or was left out."""

    machine: str
    name: str
    stage: Stage = Stage.WAITING
    run: str = ""
    reason: str = ""
    used: str = ""
    """What somebody's system on its disk was when the machine was chosen; empty where it was not in use."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known of all machines of a rollout without looking at each: events come by the thousand."""

    counts: dict[Stage, int] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    """Where each machine (its id) stands in `members`."""
    first: int = 0
    """Nobody waits before this place."""
    touched: tuple[int, ...] = ()
    """Places that the last event changed."""


def tally(members: Sequence[Member]) -> Tally:
    """Count machines, all of which are new."""
    places = {member.machine: at for at, member in enumerate(members)}
    return Tally(dict(Counter(member.stage for member in members)), places, 0, tuple(range(len(members))))


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout and all its machines, in the order of their turn. Times are seconds since the epoch."""

    id: str
    bootenv: str
    select: str
    at_once: int
    max_failures: int
    members: tuple[Member, ...]
    status: Status = Status.RUNNING
    reason: str = ""
    """Why it is paused or failed."""
    forgiven: int = 0
    """Failures before it was last resumed: they count no more."""
    params: Mapping[str, Any] = field(default_factory=dict)
    created: float = 0.0
    ended: float = 0.0
    restored: float = 0.0
    """When the backup was made that it comes from, until an operator has said that it is to go on; else 0."""
    tally: Tally = field(default=Tally(), compare=False, repr=False)
    """Made of `members`; stored empty."""

    def count(self, *stages: Stage) -> int:
        """Count the machines in any of these stages."""
        return sum(self.tally.counts.get(stage, 0) for stage in stages)

    def member(self, machine: str) -> Member | None:
        """Find a machine by its id."""
        at = self.tally.places.get(machine)
        return None if at is None else self.members[at]

    @property
    def over(self) -> bool:
        """Say whether nothing will happen to it any more."""
        return bool(self.ended)

    def key(self, machine: str) -> str:
        """Name the intent of one machine: it is accepted once."""
        return f"rollout/{self.id}/{machine}"


def rollout_of(key: str) -> str:
    """Name the rollout whose intent for a machine a key is; empty where it is another's."""
    kind, _, rest = key.partition("/")
    return rest.partition("/")[0] if kind == "rollout" else ""


# events


@dataclass(frozen=True, slots=True)
class Begun:
    """The intent for a machine was accepted: this is its run."""

    machine: str
    run: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The intent for a machine was refused; nothing was touched."""

    machine: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """A machine was not begun, since the rollout was paused or aborted while it was looked at; nothing was touched."""

    machine: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A machine was not begun, since somebody has taken it into use since it was chosen; nothing was touched."""

    machine: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A run reached its end; `reason` is empty where that was the one that was wanted."""

    machine: str
    run: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Recovered:
    """An operator resumes a rollout that a backup held: since it was made, its machines may have had their turn.

    `taken` are those (ids) that are left out when their turn comes; `sure` that the others are to be installed.
    """

    taken: frozenset[str]
    sure: bool


NOTHING_SAID = Recovered(frozenset(), sure=False)


class Order(StrEnum):
    """What an operator says of a rollout; `CARRY_ON` also comes from a daemon that starts again."""

    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    CARRY_ON = "carry-on"


OfMember = Begun | Refused | Stopped | LeftOut | Ended
Event = OfMember | Recovered | Order


def plan(rollout_id: str, bootenv: str, select: str, machines: Iterable[Machine], limits: tuple[int, int]) -> Rollout:
    """Make a rollout of machines, by name; `limits` is how many at once and how many may fail. Raises `ConfigError`."""
    at_once, max_failures = limits
    members = tuple(Member(m.id, m.name, used=use_of(m)) for m in sorted(machines, key=lambda m: m.name))
    faults = []
    if not 1 <= at_once <= MOST:
        faults.append(f"at_once: {at_once}: 1 to {MOST}")
    if not 0 <= max_failures <= MOST:
        faults.append(f"max_failures: {max_failures}: 0 to {MOST}")
    if not members:
        faults.append(f"select: {select[:200]!r}: no machine is like that")
    if len(members) > MOST:
        faults.append(f"select: {len(members)} machines, more than {MOST}")
    if faults:
        raise ConfigError(f"{bootenv} cannot be rolled out", faults=faults)
    return Rollout(rollout_id, bootenv, select, at_once, max_failures, members, tally=tally(members))


def taken(member: Member, machine: Machine) -> str:
    """Say why a machine is left out whose turn has come; empty where it stands as when it was chosen.

    What is in use is installed over only where that was so when somebody chose it, and by the same system.
    """
    used = use_of(machine)
    if not used or used == member.used:
        return ""
    before = f"it had {member.used}" if member.used else "it was not in use"
    return f"{machine.name} is {machine.state} by now ({used}); {before} when it was chosen: left as it is"


def advance(rollout: Rollout, event: Event, now: float) -> tuple[Rollout, list[str]]:
    """Say what `event` makes of `rollout`, and which machines (by id) are to be begun.

    What concerns no machine under way changes nothing. Raises `ConflictError` where an order does not fit.
    """
    rollout = replace(rollout, tally=replace(rollout.tally, touched=()))
    match event:
        case Order():
            rollout = _ordered(rollout, event)
        case Recovered():
            rollout = _ordered(rollout, Order.RESUME, event)
        case _:
            rollout = _happened(rollout, event)
    rollout, starting = _next(_judged(rollout, now))
    if event is Order.CARRY_ON:
        starting = [member.machine for member in rollout.members if member.stage is Stage.STARTING]
    return rollout, starting


def _put(rollout: Rollout, changes: Mapping[int, Member]) -> Rollout:
    """Put machines into their places, and count them anew."""
    if not changes:
        return rollout
    members, known = list(rollout.members), rollout.tally
    counts = Counter(known.counts)
    for at, member in changes.items():
        counts[members[at].stage] -= 1
        counts[member.stage] += 1
        members[at] = member
    back = (at for at, member in changes.items() if member.stage is Stage.WAITING)
    first = min([known.first, *back])
    known = replace(known, counts=dict(counts), first=first, touched=(*known.touched, *changes))
    return replace(rollout, members=tuple(members), tally=known)


def _recovered(rollout: Rollout, event: Recovered) -> Rollout:
    """Let it go on; raise `ConflictError` where nobody is sure of machines that it would install."""
    to_come = [m for m in rollout.members if m.stage in (Stage.WAITING, Stage.STARTING)]
    left = [member.name for member in to_come if member.machine not in event.taken]
    if left and not event.sure:
        some = ", ".join(left[:SHOWN]) + (f" and {len(left) - SHOWN} more" if left[SHOWN:] else "")
        what = f"it comes from a backup, and would install {len(left)} machines, even where that was done since: {some}"
        hint = f"`provisionctl adopt` those that run it; `provisionctl rollout-resume {rollout.id} --restored` goes on"
        raise ConflictError(f"rollout {rollout.id}: {what}", hint=hint)
    return replace(rollout, restored=0.0)


def _ordered(rollout: Rollout, order: Order, since: Recovered = NOTHING_SAID) -> Rollout:
    if order is Order.CARRY_ON:
        return rollout
    if rollout.status not in _MAY[order]:
        raise ConflictError(f"rollout {rollout.id} is {rollout.status}: it cannot {order} from there")
    match order:
        case Order.PAUSE:
            return replace(rollout, status=Status.PAUSED, reason="paused by the operator")
        case Order.RESUME:
            rollout = _recovered(rollout, since) if rollout.restored else rollout
            return replace(rollout, status=Status.RUNNING, reason="", forgiven=rollout.count(Stage.FAILED))
        case _:
            skipped = {
                at: replace(member, stage=Stage.SKIPPED)
                for at, member in enumerate(rollout.members)
                if member.stage is Stage.WAITING
            }
            return replace(_put(rollout, skipped), status=Status.ABORTED, reason="aborted by the operator")


_MAY = {
    Order.PAUSE: frozenset({Status.RUNNING}),
    Order.RESUME: frozenset({Status.PAUSED}),
    Order.ABORT: frozenset({Status.RUNNING, Status.PAUSED}),
}


def _happened(rollout: Rollout, event: OfMember) -> Rollout:
    at = rollout.tally.places.get(event.machine)
    if at is None:
        return rollout
    member = _member(rollout.members[at], event, aborted=rollout.status is Status.ABORTED)
    return rollout if member is rollout.members[at] else _put(rollout, {at: member})


def _member(member: Member, event: OfMember, *, aborted: bool) -> Member:
    match event, member.stage:
        case Begun(run=run), Stage.STARTING:
            return replace(member, stage=Stage.RUNNING, run=run)
        case Refused(reason=reason), Stage.STARTING:
            return replace(member, stage=Stage.FAILED, reason=reason)
        case LeftOut(reason=reason), Stage.STARTING:
            return replace(member, stage=Stage.SKIPPED, reason=reason)
        case Stopped(), Stage.STARTING:
            return replace(member, stage=Stage.SKIPPED if aborted else Stage.WAITING)
        case Ended(run=run, reason=reason), Stage.RUNNING if run == member.run:
            return replace(member, stage=Stage.FAILED if reason else Stage.DONE, reason=reason)
    return member


def _judged(rollout: Rollout, now: float) -> Rollout:
    """Pause a rollout that has failed too often, end one that has nothing left to do."""
    failed = rollout.count(Stage.FAILED) - rollout.forgiven
    waiting, under_way = rollout.count(Stage.WAITING), rollout.count(*UNDER_WAY)
    to_come = waiting or rollout.count(Stage.STARTING)
    reason = f"{failed} machines failed, {rollout.max_failures} may" if failed > rollout.max_failures else ""
    if rollout.status is Status.RUNNING and reason and to_come:
        rollout = replace(rollout, status=Status.PAUSED, reason=reason)
    if waiting or under_way or rollout.over:
        return rollout
    if rollout.status is Status.ABORTED:
        return replace(rollout, ended=now)
    out = rollout.count(Stage.SKIPPED)
    told = [*filter(None, [reason]), *([f"{out} of {len(rollout.members)} machines were left out"] if out else [])]
    status = Status.FAILED if reason else Status.DONE
    return replace(rollout, status=status, reason="; ".join(told), ended=now)


def _next(rollout: Rollout) -> tuple[Rollout, list[str]]:
    """Give their turn to as many machines as there are places; which these are, by their ids."""
    if rollout.status is not Status.RUNNING:
        return rollout, []
    free, at = rollout.at_once - rollout.count(*UNDER_WAY), rollout.tally.first
    turns: dict[int, Member] = {}
    while len(turns) < free and at < len(rollout.members):
        if rollout.members[at].stage is Stage.WAITING:
            turns[at] = replace(rollout.members[at], stage=Stage.STARTING)
        at += 1
    rollout = _put(rollout, turns)
    return replace(rollout, tally=replace(rollout.tally, first=at)), [each.machine for each in turns.values()]


Named = tuple[str, dict[str, Any]]
_CALLED = {
    Status.RUNNING: "resumed",
    Status.PAUSED: "paused",
    Status.ABORTED: "aborted",
    Status.DONE: "done",
    Status.FAILED: "failed",
}


def describe(before: Rollout | None, after: Rollout) -> list[Named]:
    """Name what became of a rollout, for the outbox; its machines' runs have events of their own."""
    data = {"rollout": after.id, "bootenv": after.bootenv, "select": after.select, "machines": len(after.members)}
    if before is None:
        return [("rollout.started", data)]
    stages = (Stage.DONE, Stage.FAILED, Stage.SKIPPED)
    counts = {str(stage): after.count(stage) for stage in stages} | {"reason": after.reason}
    found = []
    if before.status is not after.status:
        found.append((f"rollout.{_CALLED[after.status]}", data | counts))
    if after.over and not before.over and after.status is Status.ABORTED:
        found.append(("rollout.ended", data | counts))
    return found
