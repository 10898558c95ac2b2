"""Carries rollouts out: saves what `fleet.advance` says, begins machines, and hears how their runs end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from provisioner.errors import ConflictError, NotFoundError, ProvisionerError, StoreError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.fleet import (
    Begun,
    Ended,
    Event,
    LeftOut,
    Order,
    Recovered,
    Refused,
    Rollout,
    Stage,
    Status,
    Stopped,
    advance,
    describe,
    plan,
    rollout_of,
    taken,
)
from provisioner.lifecycle.once import WithdrawnError, accepted, asked, no_longer_kept
from provisioner.lifecycle.runner import new_run_id
from provisioner.lifecycle.selectors import parse
from provisioner.lifecycle.turns import Turns, in_turn
from provisioner.model.intent import UNKEYED, Asked
from provisioner.model.machine import Machine, Run
from provisioner.services import cause
from provisioner.store.db import Database
from provisioner.store.intents import IntentStore
from provisioner.store.machines import MachineStore
from provisioner.store.rollouts import RolloutStore
from provisioner.uncut import uncut

log = logging.getLogger(__name__)

UNSAVED_PAUSE_S = 5.0
"""Pause before what could not be written is written again."""
KEPT = 100
"""Rollouts that are over and still shown, the latest ones; older ones go."""


class Rollouts:
    """All rollouts of a site. Before `run`, orders are taken and nothing is begun."""

    def __init__(self, conductor: Conductor, db: Database, unsaved_pause_s: float = UNSAVED_PAUSE_S) -> None:
        self._conductor = conductor
        self._store = RolloutStore(db)
        self._runs = MachineStore(db)
        self._intents = IntentStore(db)
        self._pause_s = unsaved_pause_s
        self._all: dict[str, Rollout] = {}
        self._lock = asyncio.Lock()
        self.turns = Turns()
        self._group: asyncio.TaskGroup | None = None
        self._members: dict[str, str] = {}
        """Machines of rollouts that are not over, and which rollout."""
        self._heard: asyncio.Queue[str] = asyncio.Queue()
        """Machines of ours whose run has ended: put there by `_follow`, which must not wait."""

    async def open(self) -> None:
        """Read all rollouts, and follow their machines."""
        for rollout in await self._store.load():
            self._keep(rollout)
        await self._trim()
        self._conductor.follow(self._follow)
        self._conductor.withdrawn = self._withdrawn

    async def run(self) -> None:
        """Carry on where the last daemon stopped, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for rollout in self.all():
                    if not rollout.over:
                        await self._take_up(rollout)
                while True:
                    await self._hear(await self._heard.get())
            finally:
                self._group = None

    # what operators ask

    def all(self) -> list[Rollout]:
        """List rollouts, the latest first."""
        return sorted(self._all.values(), key=lambda rollout: rollout.created, reverse=True)

    def get(self, ref: str) -> Rollout:
        """Find a rollout by its id; raise `NotFoundError`."""
        if ref not in self._all:
            raise NotFoundError(f"there is no rollout {ref[:80]!r}", hint="`provisionctl rollouts` lists them")
        return self._all[ref]

    @in_turn
    async def begin(
        self, bootenv: str, select: str, limits: tuple[int, int], params: Mapping[str, Any], *, key: str = ""
    ) -> Rollout:
        """Start a rollout; returns once it is durable. `limits`: how many at once, how many may fail."""
        intent = asked(key, "rollout", bootenv=bootenv, select=select, limits=limits, params=params)
        if (known := await accepted(self._intents, intent)) is not None:
            if known.subject not in self._all:
                raise no_longer_kept(f"rollout {known.subject}")
            return self.get(known.subject)
        with uncut() as whole:
            async with self._lock:
                now = self._conductor.clock.now()
                rollout = replace(self.plan(bootenv, select, limits), id=new_run_id(), params=dict(params), created=now)
                self._conductor.announce(await whole(self._store.create(rollout, intent, describe(None, rollout))))
                self._keep(rollout)
            try:
                return await whole(self._apply(rollout.id, Order.CARRY_ON))
            except StoreError as error:  # it is on record, and goes on once there is room
                log.error("fleet.unsaved rollout=%s error=%s", rollout.id, error)
                if self._group is not None:
                    self._group.create_task(self._until_kept(rollout.id, Order.CARRY_ON), name=f"rollout {rollout.id}")
                return self.get(rollout.id)

    def plan(self, bootenv: str, select: str, limits: tuple[int, int]) -> Rollout:
        """Say what `begin` would begin, or raise as it would; nothing is begun."""
        self._conductor.bootenv(bootenv)
        machines = self._conductor.machines.all()
        selector = parse(select)
        if unknown := selector.unknown(machines):
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise NotFoundError(f"there is no machine {', '.join(unknown[:5])}{more}")
        chosen = [machine for machine in machines if selector.selects(machine)]
        self._refuse_taken(chosen)
        return plan("", bootenv, select, chosen, limits)

    def _refuse_taken(self, chosen: list[Machine]) -> None:
        taken = [f"{m.name} is in rollout {self._members[m.id]}" for m in chosen if m.id in self._members]
        if taken:
            raise ConflictError(f"{len(taken)} of these machines are in another rollout", hint="; ".join(taken[:5]))

    @in_turn
    async def order(self, ref: str, order: Order, *, sure: bool = False, key: str = "") -> Rollout:
        """Pause, resume or abort a rollout; returns once that is durable.

        One that a backup held is resumed only by who is `sure`: see `fleet.Recovered`.
        """
        rollout, intent = self.get(ref), asked(key, f"rollout-{order}", rollout=ref, sure=sure)
        if await accepted(self._intents, intent) is not None:
            return rollout
        left_out = [member.machine for member in rollout.members if self._taken(rollout, member.machine)]
        resumes = order is Order.RESUME and rollout.restored
        return await self._apply(ref, Recovered(frozenset(left_out), sure) if resumes else order, intent)

    # what happens

    def _keep(self, rollout: Rollout) -> None:
        self._all[rollout.id] = rollout
        for member in (rollout.members[at] for at in rollout.tally.touched):
            over = rollout.over or member.stage in (Stage.DONE, Stage.FAILED, Stage.SKIPPED)
            if not over:
                self._members[member.machine] = rollout.id
            elif self._members.get(member.machine) == rollout.id:
                del self._members[member.machine]

    async def _trim(self) -> None:
        for old in [rollout for rollout in self.all() if rollout.over][KEPT:]:
            try:
                await self._store.forget(old.id)
            except StoreError as error:  # with the next one that ends
                log.error("fleet.untrimmed rollout=%s error=%s", old.id, error)
                return
            del self._all[old.id]

    def _follow(self, before: Machine | None, after: Machine | None) -> None:
        machine = after or before
        if machine is None or machine.id not in self._members:
            return
        if after is None or (after.run is not None and after.run.step is None):
            self._heard.put_nowait(machine.id)

    async def _take_up(self, rollout: Rollout) -> None:
        for member in rollout.members:
            if member.stage is Stage.RUNNING:
                await self._hear(member.machine)
        await self._until_kept(rollout.id, Order.CARRY_ON)

    async def _hear(self, machine_id: str) -> None:
        """A machine's run may have ended: if it is the one that we wait for, say so."""
        rollout = self._all.get(self._members.get(machine_id, ""))
        if rollout is None:
            return
        member = rollout.member(machine_id)
        if member is None or member.stage is not Stage.RUNNING:
            return
        reason = await self._ending(machine_id, member.run)
        if reason is not None:
            await self._until_kept(rollout.id, Ended(machine_id, member.run, reason))

    async def _ending(self, machine_id: str, run_id: str) -> str | None:
        """Say why a run failed; empty when it reached its end, None while it is under way."""
        machine = self._conductor.machines.find(machine_id)
        if machine is None:
            return "the machine was forgotten"
        run = machine.run
        if run is not None and run.id == run_id:
            return _reason(run, machine.failure.reason if machine.failure else "") if run.step is None else None
        earlier = next((old for old in await self._runs.runs(machine_id) if old.id == run_id), None)
        return _reason(earlier, "") if earlier is not None else "its run is not on record"

    async def _until_kept(self, ref: str, event: Event) -> None:
        while True:
            try:
                await self._apply(ref, event)
            except StoreError as error:  # full or locked: nothing is begun that cannot be kept
                log.error("fleet.unsaved rollout=%s error=%s", ref, error)
                await asyncio.sleep(self._pause_s)
            else:
                return

    async def _apply(self, ref: str, event: Event, intent: Asked = UNKEYED) -> Rollout:
        with uncut() as whole:
            async with self._lock:
                before, now = self._all[ref], self._conductor.clock.now()
                after, starting = advance(before, event, now)
                if after != before or intent.key:
                    saved = self._store.save(before, after, describe(before, after), now, intent)
                    self._conductor.announce(await whole(saved))
                    self._keep(after)
                    if after.over:
                        await whole(self._trim())
            if self._group is not None:
                for machine_id in starting:
                    self._group.create_task(self._start(after, machine_id), name=f"rollout {ref}")
        return after

    async def _start(self, rollout: Rollout, machine_id: str) -> None:
        key = rollout.key(machine_id)
        while True:
            try:
                run = await self._begun(rollout, machine_id, key)
                await self._until_kept(rollout.id, Begun(machine_id, run))
                await self._hear(machine_id)  # it may have ended meanwhile
            except StoreError as error:
                log.error("fleet.unsaved rollout=%s error=%s", rollout.id, error)
                await asyncio.sleep(self._pause_s)
                continue
            except WithdrawnError:
                reason = self._taken(rollout, machine_id)
                await self._until_kept(rollout.id, LeftOut(machine_id, reason) if reason else Stopped(machine_id))
            except ProvisionerError as error:
                await self._until_kept(rollout.id, Refused(machine_id, str(error)))
            except Exception as error:  # of this machine alone; it is not begun again, now or after a restart
                log.exception("fleet.bug rollout=%s machine=%s", rollout.id, machine_id)
                await self._until_kept(rollout.id, Refused(machine_id, f"internal error: {cause(error)}"))
            return

    async def _begun(self, rollout: Rollout, machine_id: str, key: str) -> str:
        """Begin a machine, unless an earlier daemon did; return its run."""
        if (known := await self._intents.find(key)) is not None:
            return known.run
        if gone := self._withdrawn(key):
            raise WithdrawnError(gone)
        machine = await self._conductor.boot(machine_id, rollout.bootenv, key=key, params=rollout.params)
        assert machine.run is not None
        return machine.run.id

    def _withdrawn(self, key: str) -> str:
        """Say why no machine is begun under a key of ours any more.

        Its rollout was paused or aborted meanwhile, or somebody has taken the machine into use.
        """
        rollout = self._all.get(rollout_of(key))
        if rollout is None:
            return ""
        if rollout.status is not Status.RUNNING:
            return f"rollout {rollout.id} is {rollout.status}"
        return self._taken(rollout, key.rpartition("/")[2])

    def _taken(self, rollout: Rollout, machine_id: str) -> str:
        member, machine = rollout.member(machine_id), self._conductor.machines.find(machine_id)
        return taken(member, machine) if member is not None and machine is not None else ""


def _reason(run: Run, failure: str) -> str:
    if run.outcome == "done":
        return ""
    return failure or next((line.note for line in reversed(run.journal) if line.note), "") or run.outcome
