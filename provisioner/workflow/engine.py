"""Carries workflow runs out: plans them, saves what `progress.advance` says, and has steps performed.

What is decided is durable before it is done, with its events in the same transaction. A daemon that starts again goes
on from there: `progress` says what may be begun once more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict

from provisioner.errors import ConflictError, NotFoundError, ProvisionerError, StoreError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.once import accepted, asked, no_longer_kept
from provisioner.lifecycle.turns import Turns, in_turn
from provisioner.model.intent import UNKEYED, Asked
from provisioner.model.machine import Machine
from provisioner.model.workflow import FlowMember, FlowRun, FlowStep, Stage, Wish
from provisioner.store.db import Database
from provisioner.store.intents import IntentStore
from provisioner.store.workflows import WorkflowStore
from provisioner.uncut import uncut
from provisioner.workflow.events import describe, trace_lines
from provisioner.workflow.gates import waits
from provisioner.workflow.guard import disturbs, refusal
from provisioner.workflow.perform import Performer, Try, can_help
from provisioner.workflow.progress import Ended, Event, Forgotten, Lost, Order, Signal, Start, Tick, advance

log = logging.getLogger(__name__)

UNSAVED_PAUSE_S = 5.0
"""Pause before what could not be written is written again."""
TICK_S = 1.0
KEPT = 100
"""Runs that are over and still shown, the latest ones; older ones go, with all that their steps printed."""
SILENT_S = 300.0
"""Whatever carries out a script gives a sign of life every few seconds; so long without one, and it is gone."""
ENDS_S = 15.0
"""A script whose limit is over is ended by the sign of life after that, at the latest: one comes every ten seconds."""
NOTE_CHARS = 400
SIGNALS = 100
"""Signals of one run: whoever sends them may be a program that runs wild."""


class Engine:
    """All workflow runs of a site. Before `run`, orders are taken and nothing of ours is begun."""

    def __init__(
        self,
        conductor: Conductor,
        db: Database,
        performer: Performer,
        *,
        tick_s: float = TICK_S,
        unsaved_pause_s: float = UNSAVED_PAUSE_S,
    ) -> None:
        self.store = WorkflowStore(db)
        self._intents = IntentStore(db)
        self.turns = Turns()
        self._conductor = conductor
        self._performer = performer
        self._tick_s = tick_s
        self._pause_s = unsaved_pause_s
        self._all: dict[str, FlowRun] = {}
        self._members: dict[str, str] = {}
        """Machines of runs that are not over, and which run."""
        self._lock = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[tuple[str, str], tuple[int, asyncio.Task[None]]] = {}
        self._heard: dict[str, float] = {}
        """When whatever carries out a script on a machine was last heard of."""
        self._gone: list[str] = []
        self._loose: dict[str, FlowMember] = {}
        """Machines (their ids) on which a script of a try that is over may go on."""

    async def open(self) -> None:
        """Read all runs, and follow their machines."""
        for run in await self.store.load():
            self._keep(run)
        self._conductor.engaged = self.engaged
        self._conductor.stands = self.stands
        self._conductor.follow(self._follow)

    async def run(self) -> None:
        """Carry on where the last daemon stopped, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group, self._tasks = group, {}
            try:
                for run in self.all():
                    if not run.over:
                        await self.until_kept(run.id, Order.CARRY_ON)
                while True:
                    await asyncio.sleep(self._tick_s)
                    await self._tick()
            finally:
                self._group = None

    # looking

    def all(self) -> list[FlowRun]:
        """List runs, the latest first."""
        return sorted(self._all.values(), key=lambda run: run.created, reverse=True)

    def get(self, ref: str) -> FlowRun:
        """Find a run by its id; raise `NotFoundError`."""
        if ref not in self._all:
            raise NotFoundError(f"there is no run {ref[:80]!r}", hint="`provisionctl workflow status` lists them")
        return self._all[ref]

    def of_machine(self, machine: str) -> tuple[FlowRun, FlowMember] | None:
        """Find the run that a machine is in, if that is not over."""
        run = self._all.get(self._members.get(machine, ""))
        member = run.member(machine) if run is not None else None
        return (run, member) if run is not None and member is not None else None

    def engaged(self, machine: str, key: str) -> str:
        """Say which run a machine is in; empty for what that run itself asks for."""
        found = self.of_machine(machine)
        if found is None or found[1].over or key.startswith(f"workflow/{found[0].id}/"):
            return ""
        return f"workflow {found[0].workflow} (run {found[0].id})"

    def stands(self, machine: str) -> str:
        """Say where a machine stands in the run that it is in; empty where it is in none."""
        found = self.of_machine(machine)
        if found is None:
            return ""
        run, member = found
        return f"in workflow {run.workflow} (run {run.id}): {waits(run, member, self._conductor.clock.now())}"

    def now(self) -> float:
        """Read the clock that deadlines follow."""
        return self._conductor.clock.now()

    # what operators ask

    @in_turn
    async def begin(self, wish: Wish, plan: Callable[[Wish], Awaitable[FlowRun]], *, key: str = "") -> FlowRun:
        """Begin what is wished for, once it is planned; returns when that is durable."""
        intent = asked(key, "workflow-run", **asdict(wish))
        if (known := await accepted(self._intents, intent)) is not None:
            if known.subject not in self._all:
                raise no_longer_kept(f"run {known.subject}")
            return self.get(known.subject)
        run = await plan(wish)
        with uncut() as whole:
            async with self._lock:
                taken = [
                    f"{m.name} is in run {self._members[m.machine]}" for m in run.members if m.machine in self._members
                ]
                if taken:
                    raise ConflictError(
                        f"{len(taken)} of these machines are in another workflow", hint="; ".join(taken[:5])
                    )
                self._conductor.announce(await whole(self.store.create(run, intent, describe(None, run))))
                self._keep(run)
            return await whole(self.apply(run.id, Tick()))

    @in_turn
    async def order(self, ref: str, order: Order, *, key: str = "") -> FlowRun:
        """Pause, resume, step, skip or abort; returns once that is durable."""
        run, intent = self.get(ref), asked(key, f"workflow-{order}", run=ref)
        if await accepted(self._intents, intent) is not None:
            return run
        if run.over:
            other = [m.name for m in run.members if self._members.get(m.machine, run.id) != run.id]
            if other:
                raise ConflictError(f"in another workflow by now: {', '.join(other[:5])}")
        return await self.apply(run.id, order, intent)

    @in_turn
    async def signal(self, ref: str, name: str, *, key: str = "") -> FlowRun:
        """Say something to a run; a step may wait for it, now or later."""
        run, intent = self.get(ref), asked(key, "workflow-signal", run=ref, name=name)
        if await accepted(self._intents, intent) is not None:
            return run
        if run.over:
            raise ConflictError(f"run {run.id} is {run.status}: nothing in it waits for {name!r}")
        if len(run.signals) >= SIGNALS:
            raise ConflictError(f"run {run.id} was told {SIGNALS} signals already")
        return await self.apply(run.id, Signal(name), intent)

    # what happens

    async def apply(self, ref: str, event: Event, intent: Asked = UNKEYED) -> FlowRun:
        """Advance a run by an event, durably; then begin what follows. Raises `ConflictError`, `StoreError`."""
        with uncut() as whole:
            async with self._lock:
                before, now = self._all[ref], self.now()
                after, starts = advance(before, event, now, lambda member, step: self._refusal(before, member, step))
                if after != before or intent.key:
                    events = describe(before, after)
                    self._conductor.announce(await whole(self.store.save(before, after, events, now, intent)))
                    self._keep(after)
                    for line in trace_lines(events, now):
                        self._conductor.observe(line)
            if after is not before:
                self._changed(before, after)
            self._start(after, starts)
        return after

    def _refusal(self, run: FlowRun, member: FlowMember, step: FlowStep) -> str:
        found = self._conductor.machines.find(member.machine)
        return "" if found is None else refusal(step, found) or disturbs(run, member, step, found)

    async def until_kept(self, ref: str, event: Event) -> None:
        """Apply an event, again and again where the store refuses it."""
        while ref in self._all:
            try:
                await self.apply(ref, event)
            except StoreError as error:  # full or locked: nothing is begun that cannot be kept
                log.error("workflow.unsaved run=%s error=%s", ref, error)
                await asyncio.sleep(self._pause_s)
            else:
                return

    def _keep(self, run: FlowRun) -> None:
        before, self._all[run.id] = self._all.get(run.id), run
        known = before.members if before is not None else (None,) * len(run.members)
        for old, member in zip(known, run.members, strict=True):
            if member.loose != (old.loose if old is not None else 0.0):
                self._loose[member.machine] = member
            if not run.over and member.stage in (Stage.WAITING, Stage.RUNNING, Stage.FAILED):
                self._members[member.machine] = run.id
            elif self._members.get(member.machine) == run.id:
                del self._members[member.machine]

    def _changed(self, before: FlowRun, after: FlowRun) -> None:
        for old, new in zip(before.members, after.members, strict=True):
            if old is new:
                continue
            task = self._tasks.get((after.id, new.machine))
            if task is not None and (new.fence != task[0] or new.stage is not Stage.RUNNING):
                del self._tasks[after.id, new.machine]
                if task[1] is not asyncio.current_task():
                    task[1].cancel()
            self._conductor.wake(new.machine)
        if before.signals != after.signals:  # their steps may wait for it
            for member in after.members:
                self._conductor.wake(member.machine)

    def _start(self, run: FlowRun, starts: Sequence[Start]) -> None:
        for start in starts:
            key = (run.id, start.machine)
            if self._group is None or (key in self._tasks and self._tasks[key][0] == start.fence):
                continue  # not running yet: `run` takes it up
            task = self._group.create_task(self._act(run.id, start), name=f"workflow {run.id} {start.machine}")
            self._tasks[key] = (start.fence, task)

    async def _act(self, ref: str, start: Start) -> None:
        run = self._all[ref]
        member = run.member(start.machine)
        step = run.step(member) if member is not None else None
        if member is None or step is None or member.fence != start.fence or member.stage is not Stage.RUNNING:
            return
        attempt = Try(run, member, step, lambda: self._all.get(ref, run))
        event = await self._ended(attempt)
        await self.until_kept(ref, event)

    async def _ended(self, attempt: Try) -> Ended:
        machine, fence = attempt.member.machine, attempt.member.fence
        try:
            note, output = await self._performed(attempt)
        except ProvisionerError as error:
            note, output = str(error).replace("\n", " ")[:NOTE_CHARS], f"{error}\n"
            ended = Ended(machine, fence, False, note, can_help(error))
        except Exception as error:
            log.exception("workflow.bug run=%s machine=%s step=%s", attempt.run.id, machine, attempt.step.name)
            ended = Ended(machine, fence, False, f"internal error: {type(error).__name__}: {error}", again=False)
            output = ""
        else:
            ended = Ended(machine, fence, True, note[:NOTE_CHARS])
        if output:
            with suppress(StoreError):  # the run is what counts
                await self.store.put_output(attempt.run.id, machine, fence, 0, output.encode())
        return ended

    async def _performed(self, attempt: Try) -> tuple[str, str]:
        """Perform a step. An action of ours that cannot be kept is none that failed: it is keyed, and begun again."""
        while True:
            try:
                return await self._performer.perform(attempt)
            except StoreError as error:
                if not attempt.step.action:
                    raise
                log.error("workflow.unsaved run=%s error=%s", attempt.run.id, error)
            await asyncio.sleep(self._pause_s)

    # time

    async def _tick(self) -> None:
        now, gone = self.now(), self._gone
        self._gone = []
        for machine in gone:
            if (ref := self._members.get(machine)) is not None:
                await self._quietly(ref, Forgotten(machine))
        for run in [run for run in self._all.values() if not run.over]:
            await self._quietly(run.id, Tick())
            for member in run.members:
                if self._is_silent(run, member, now):
                    reason = f"what carries it out was not heard of for {SILENT_S:.0f} s"
                    await self._quietly(run.id, Lost(member.machine, member.fence, reason))
        await self._trim()

    async def _quietly(self, ref: str, event: Event) -> None:
        try:
            await self.apply(ref, event)
        except StoreError as error:  # the next tick says it again
            log.error("workflow.unsaved run=%s error=%s", ref, error)

    def hear(self, machine: str) -> None:
        """Note a sign of life of what carries out a script."""
        self._heard[machine] = self.now()

    def loose(self, machine: str) -> FlowMember | None:
        """Return how a machine stood in a run whose script may still go on on it, though its try is over."""
        member = self._loose.get(machine)
        return member if member is not None and self.now() < member.loose + ENDS_S else None

    def still(self, machine: str) -> None:
        """Note that no script of a try that is over goes on on a machine: it asked what to do, or was switched off."""
        self._loose.pop(machine, None)

    def _is_silent(self, run: FlowRun, member: FlowMember, now: float) -> bool:
        if member.stage is not Stage.RUNNING or not member.taken:
            return False
        return now - self._heard.setdefault(member.machine, now) >= SILENT_S

    async def _trim(self) -> None:
        for old in [run for run in self.all() if run.over][KEPT:]:
            try:
                await self.store.forget(old.id)
            except StoreError as error:
                log.error("workflow.unsaved run=%s error=%s", old.id, error)
                return
            del self._all[old.id]

    def _follow(self, before: Machine | None, after: Machine | None) -> None:
        if after is None and before is not None and before.id in self._members:
            self._gone.append(before.id)
