"""One runner for each machine: saves what an event made of it, then carries out the actions that follow.

State and events go into one transaction before anything is done. Actions are written as "ensure", so after a crash the
one under way is simply done again: whether it had taken effect is seen by looking, not by remembering.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from provisioner.clock import SteadyClock
from provisioner.errors import (
    BmcAuthError,
    BmcError,
    BmcPrivilegeError,
    BmcUnsupported,
    NotFoundError,
    ProvisionerError,
    StoreError,
)
from provisioner.fairloop import between
from provisioner.lifecycle.events import describe, is_lasting, trace_lines
from provisioner.lifecycle.inputs import Done, Event, Failed, Seen, Tick
from provisioner.lifecycle.limits import delayed, resumed
from provisioner.lifecycle.plans import Signal
from provisioner.lifecycle.registry import Machines
from provisioner.lifecycle.steps import Perform, advance, current_action, waits_for
from provisioner.model.intent import UNKEYED, Asked
from provisioner.model.intent import Event as Written
from provisioner.model.machine import Machine
from provisioner.store.machines import Change, MachineStore
from provisioner.store.sealed import UNCHANGED, Sealed
from provisioner.store.trace import Trace
from provisioner.uncut import uncut

log = logging.getLogger(__name__)

Rule = Callable[[Machine, float], tuple[Machine, list[Perform]]]
Performer = Callable[[Machine, Perform], Awaitable[str]]

Follower = Callable[[Machine | None, Machine | None], None]
"""Told of every change after it was committed: the machine before and after (None: new, forgotten). Must not wait."""

SLICE = 20
"""Machines of an apply that are dealt with in one turn of the loop: 2 ms. There may be ten thousand, and DHCP waits for
none."""

NEVER_AGAIN = (BmcAuthError, BmcPrivilegeError, BmcUnsupported)
"""Another try cannot help with these; with a wrong password it locks the account."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long we wait between tries and looks, in seconds."""

    tries: tuple[float, ...] = (0.0, 2.0, 8.0, 20.0)
    """Pause before each try of an action."""
    unsaved: float = 5.0
    """Pause before what could not be written is written again."""
    tick: float = 1.0
    """How often deadlines are looked at."""
    look: float = 10.0
    """How often the power of a machine is looked at whose agent is silent."""


DEFAULT_PACE = Pace()


class Runner:
    """Applies events to machines, one at a time for each, and performs actions in tasks of its own."""

    def __init__(
        self,
        store: MachineStore,
        machines: Machines,
        trace: Trace,
        clock: SteadyClock,
        perform: Performer,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._store = store
        self._machines = machines
        self._trace = trace
        self._clock = clock
        self._perform = perform
        self._pace = pace
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._changed: dict[str, asyncio.Event] = {}
        self._anything = asyncio.Event()
        self._refused_at: float | None = None
        """Since when changes cannot be written, and runs have not been since: no deadline is looked at."""
        self._unheard: set[str] = set()
        """Machines of which something was not heard since then."""
        self._regained: set[str] = set()
        """Machines whose runs have been written again."""
        self.last_event = 0
        self.newest: dict[str, int] = {}
        """Number of the newest event of each machine that had one since this daemon was started."""
        self.followers: list[Follower] = []
        self.fetching: Callable[[], frozenset[str]] = frozenset
        """Gives the ids of machines that are being sent what they boot."""

    async def run(self) -> None:
        """Take up every run where it stood, then watch the deadlines until cancelled."""
        self.last_event = await self._store.last_event()
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await self._take_up(self._machines.moving())
                while True:
                    await asyncio.sleep(self._pace.tick)
                    if self.refused:
                        await self._regain()
                    else:
                        await self._watch_deadlines()
            finally:
                self._group = None  # machines are still heard while we stop, but nothing is begun any more

    async def _take_up(self, machines: Sequence[Machine]) -> None:
        while machines:
            unsaved = []
            for machine in machines:
                try:
                    await self.change(machine.id, lambda m, now: (resumed(m, now), current_action(m)))
                except StoreError as error:  # full or locked: nothing is begun that cannot be kept
                    log.error("life.unsaved machine=%s step=resumed error=%s", machine.name, error)
                    unsaved.append(machine)
                except NotFoundError:  # it was cancelled and forgotten while it waited
                    continue
                except Exception:  # the run's deadline ends it; the other machines go on
                    log.exception("life.bug machine=%s step=resumed", machine.name)
            if machines := unsaved:
                await asyncio.sleep(self._pace.unsaved)

    @property
    def refused(self) -> bool:
        """Changes cannot be written: what machines say is not heard."""
        return self._refused_at is not None

    async def _regain(self) -> None:
        """Once something can be written again, give every run the time back, and where something of its machine was not
        heard the time that it has after a start.
        """
        machines, lasted_s = self._machines.moving(), self._clock.now() - (self._refused_at or 0.0)

        def given(machine: Machine, now: float) -> tuple[Machine, list[Perform]]:
            return (resumed(machine, now) if machine.id in self._unheard else delayed(machine, lasted_s)), []

        for machine in machines:
            if machine.id in self._regained:
                continue
            try:
                await self.change(machine.id, given, lasting=True)
            except StoreError:  # the store says so itself
                return
            except NotFoundError:
                continue
            self._regained.add(machine.id)
        self._refused_at = None
        self._unheard.clear()
        self._regained.clear()
        log.info("life.regained runs=%d s=%.0f", len(machines), lasted_s)

    async def _watch_deadlines(self) -> None:
        now = self._clock.now()
        due = [m for m in self._machines.moving() if m.run and now >= min(m.run.deadline, m.run.limit or now)]
        fetching = self.fetching() if due else frozenset()
        for machine in due:
            await self._apply_heard(machine, Tick(machine.id in fetching), "deadline")

    async def apply(self, machine_id: str, event: Event) -> Machine:
        """Advance a machine by an event; returns it as it is then. Raises `ConflictError`, `StoreError`."""
        return await self.change(machine_id, lambda m, now: advance(m, event, now))

    def signal(self, machine: Machine, signal: Signal) -> None:
        """Hear of something that a run may wait for. From a hot path: what changes nothing costs no task."""
        if self._group is not None and machine.run is not None and waits_for(machine.run, signal):
            self.hear(machine, Seen(signal))

    def hear(self, machine: Machine, event: Event) -> None:
        """Advance a machine by what was heard of it, soon."""
        if self._group is not None:
            self._group.create_task(self._apply_heard(machine, event, "heard"), name=f"hear {machine.name}")

    async def _apply_heard(self, machine: Machine, event: Event, step: str) -> None:
        try:
            await self.apply(machine.id, event)
        except ProvisionerError as error:  # the machine repeats itself, or the run's deadline tells
            log.error("life.unsaved machine=%s step=%s error=%s", machine.name, step, error)
            if isinstance(error, StoreError) and isinstance(event, Seen):
                self._unheard.add(machine.id)
        except Exception:  # of this machine alone
            log.exception("life.bug machine=%s step=%s", machine.name, step)

    async def change(
        self,
        machine_id: str,
        rule: Rule,
        *,
        intent: Asked = UNKEYED,
        secrets: Sealed = UNCHANGED,
        lasting: bool = False,
    ) -> Machine:
        """Replace a machine by what `rule` makes of it, durably, then start the actions that follow.

        `intent` is the request that asks for it, `secrets` the passwords that go with it, on record with the change.
        What is `lasting` is written though nothing changed.
        """
        async with self._locks[machine_id]:
            before = self._machines.get(machine_id)
            now = self._clock.now()
            after, actions = rule(before, now)
            with uncut() as whole:
                if after != before or intent.key or secrets or lasting:
                    change = Change(now, before, after, describe(before, after), intent, secrets=secrets)
                    try:
                        await self._save(change, after, whole, lasting=lasting)
                    except StoreError:
                        if self._refused_at is None:
                            self._refused_at = now
                        raise
                self._start(after, actions)
        return after

    async def create(self, machine: Machine, intent: Asked = UNKEYED, *, secrets: Sealed = UNCHANGED) -> Machine:
        """Add a new machine and its passwords, durably. Raises `ConflictError` where the name is taken."""
        async with self._locks[machine.id]:
            with uncut() as whole:
                change = Change(self._clock.now(), None, machine, describe(None, machine), intent, secrets=secrets)
                await self._save(change, machine, whole)
        return machine

    @contextlib.asynccontextmanager
    async def holding(self, machine_ids: Iterable[str]) -> AsyncIterator[None]:
        """Keep everybody else from changing these machines."""
        async with contextlib.AsyncExitStack() as stack:
            for at, machine_id in enumerate(sorted(set(machine_ids)), 1):
                # in one order: who wants several never waits for another
                await stack.enter_async_context(self._locks[machine_id])
                await between(at, SLICE)
            yield

    async def written(self, changes: Sequence[Change], events: Sequence[Written]) -> None:
        """Make live what was written of machines that are held, in a transaction with other things.

        Machines are on record in one turn of the loop; who follows them hears of some in each turn.
        """
        for change in changes:
            if change.after is not None:
                self._machines.put(change.after)
            elif change.before is not None:
                self._machines.remove(change.before)
        for at, change in enumerate(changes, 1):
            self._tell(change.before, change.after)
            if change.after is not None:
                self.wake(change.after.id)
            await between(at, SLICE)
        self.announce(events)

    async def forget(self, machine_id: str, check: Callable[[Machine], None], intent: Asked = UNKEYED) -> Machine:
        """Remove a machine, durably, and return it as it was. `check` raises where it is not to go, as it is now."""
        async with self._locks[machine_id]:
            machine, now = self._machines.get(machine_id), self._clock.now()
            check(machine)
            change = Change(now, machine, None, describe(machine, None), intent)
            with uncut() as whole:
                self.announce(await whole(self._store.save(change)))
                self._machines.remove(machine)
                self._tell(machine, None)
                self._locks.pop(machine_id, None)
                self.newest.pop(machine_id, None)
        return machine

    async def _save(self, change: Change, after: Machine, whole: uncut, *, lasting: bool = False) -> None:
        """Keep what a machine is now, and make it live; what only shows how far it is, is not written."""
        before, asked = change.before, change.events or change.intent.key or change.secrets
        if asked or lasting or (before and is_lasting(before, after)):
            with self._trace.with_change(trace_lines(after, change.events, change.at)) as lines:
                self.announce(await whole(self._store.save(replace(change, lines=lines))))
        self._machines.put(after)
        self._tell(before, after)
        self.wake(after.id)

    def _tell(self, before: Machine | None, after: Machine | None) -> None:
        """Tell who follows machines: the change is made, whatever one of them makes of it."""
        for follow in self.followers:
            try:
                follow(before, after)
            except Exception:
                known = after or before
                log.exception("life.bug machine=%s step=told", known.name if known is not None else "")

    def announce(self, written: Sequence[Written]) -> None:
        """Wake who waits for events, of any machine or of one: these were written."""
        for event in written:
            if event.machine:
                self.newest[event.machine] = event.seq
                self.wake(event.machine)
        if written:
            self.last_event = max(self.last_event, written[-1].seq)
            self._anything.set()
            self._anything = asyncio.Event()

    # waiting

    def wake(self, machine_id: str) -> None:
        """Wake who waits for a change of a machine, or of what is wanted of it."""
        if waiting := self._changed.pop(machine_id, None):
            waiting.set()

    async def wait_change(self, machine_id: str, timeout_s: float) -> None:
        """Return when the machine changes, or after `timeout_s`."""
        event = self._changed.setdefault(machine_id, asyncio.Event())
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return

    async def wait_event(self, after: int, timeout_s: float) -> bool:
        """Say whether there is an event with a number above `after`, waiting for one at most `timeout_s`."""
        if self.last_event > after:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await self._anything.wait()
        except TimeoutError:
            return False
        return self.last_event > after

    # acting

    def _start(self, machine: Machine, actions: list[Perform]) -> None:
        task = self._tasks.get(machine.id)
        over = bool(actions) or machine.run is None or machine.run.step is None
        if task is not None and over and task is not asyncio.current_task():
            task.cancel()
        for action in actions:
            if self._group is None:
                return  # not running yet: `run` takes it up
            self._tasks[machine.id] = self._group.create_task(self._act(machine, action), name=f"act {machine.name}")

    async def quiet(self, machine_id: str) -> None:
        """Return once no action of a machine is under way, when it was told to end."""
        if (task := self._tasks.get(machine_id)) is not None:
            await asyncio.wait([task])

    async def _act(self, machine: Machine, action: Perform) -> None:
        event = await self._try(machine, action)
        if self._tasks.get(machine.id) is asyncio.current_task():
            del self._tasks[machine.id]
        while self._machines.find(machine.id) is not None:
            try:
                await self.apply(machine.id, event)
            except StoreError as error:  # full or locked: the result waits until it can be kept
                log.error("life.unsaved machine=%s step=%s error=%s", machine.name, action.step.name, error)
                await asyncio.sleep(self._pace.unsaved)
            except Exception:  # the run's deadline ends it; the other machines go on
                log.exception("life.bug machine=%s step=%s", machine.name, action.step.name)
                return
            else:
                return

    async def _try(self, machine: Machine, action: Perform) -> Event:
        attempt = machine.run.attempt if machine.run else 1
        tries = self._pace.tries
        await asyncio.sleep(tries[min(attempt, len(tries)) - 1])
        try:
            async with asyncio.timeout(action.step.timeout_s):
                note = await self._perform(machine, action)
        except BmcError as error:
            again = not isinstance(error, NEVER_AGAIN)
            return Failed(action.run_id, action.at, error.message, error.hint, again, type(error).__name__)
        except ProvisionerError as error:
            return Failed(action.run_id, action.at, error.message, error.hint, again=False)
        except TimeoutError:
            return Failed(
                action.run_id,
                action.at,
                f"{action.step.name} took longer than {action.step.timeout_s:.0f} s",
                kind="BmcTimeout",
            )
        except Exception as error:
            log.exception("life.bug machine=%s step=%s", machine.name, action.step.name)
            return Failed(action.run_id, action.at, f"internal error: {type(error).__name__}: {error}", again=False)
        return Done(action.run_id, action.at, note)


def new_run_id() -> str:
    """Name a run: its start to the second, and enough chance to be the only one."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:6]
