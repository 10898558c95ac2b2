"""What breaks around a daemon at a chosen point of a run, and who mends it: disk, lock, agents, power, BMCs."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.errors import BmcUnreachable, PreflightError, StoreError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.plans import JOB_STEP, KINDS, Verb
from provisioner.lifecycle.steps import SILENT_S
from provisioner.model.bmc import Power
from provisioner.model.intent import Event
from provisioner.model.machine import Machine, Run
from provisioner.store.db import Database, T
from tests.lifecycle.points import KillableDatabase, Point, Points
from tests.lifecycle.rack import Metal, Rack
from tests.lifecycle.test_conductor import settled
from tests.lifecycle.test_crash import STORIES, ask
from tests.lifecycle.test_faults import SetClock, impatient

REFUSED = 3
"""Writes that are refused before there is room again, or the lock is gone."""
LASTING = ("job ", "install")
"""How entries of a machine's log begin that are done to its disk."""


class Struck(Points):
    """Has something happen at a point, rather than a death."""

    def __init__(self, at: Point | None, strike: Callable[[str], None]) -> None:
        super().__init__()
        self._at, self._strike = at, strike
        self.struck = False

    def point(self, name: str) -> None:
        super().point(name)
        if self.passed[-1] == self._at:
            self.struck = True
            self._strike(name)


class BreakableDatabase(KillableDatabase):
    """A store whose disk is full, or that another process locks, until that many writes were refused."""

    _left = 0
    _lock = False
    _other: sqlite3.Connection | None = None

    def fill(self) -> None:
        """Have no room from the next write on."""
        self.full, self._left = True, REFUSED

    def lock(self) -> None:
        """Be locked by another connection from the next write on, for longer than the store waits."""
        self._lock, self._left = True, REFUSED

    def refused(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.full = self._lock = False

    def _commit(self, connection: sqlite3.Connection, group: Any) -> Any:  # in the writer's thread
        if self._lock and self._other is None:
            self._other = self._file()
            self._other.execute("BEGIN IMMEDIATE")
        if self._other is not None and not self._lock:
            self._other.close()
            self._other = None
        return super()._commit(connection, group)


@dataclass
class Scene:
    """A machine that is taken through a verb, by one daemon, while something breaks."""

    rack: Rack
    clock: SetClock
    conductor: Conductor | None = None
    points: Points = field(default_factory=Points)
    untold: int = 0
    """What was done to its disk and nobody could know of when it had to begin anew: so much may be repeated."""

    @property
    def metal(self) -> Metal:
        return self.rack.one()

    @property
    def db(self) -> BreakableDatabase:
        assert self.conductor is not None
        db = self.conductor._store._db
        assert isinstance(db, BreakableDatabase)
        return db

    @property
    def machine(self) -> Machine:
        assert self.conductor is not None
        return self.conductor.machines.get("node17")

    def note_untold(self, before: int) -> None:
        """Remember whether the disk has what the run does not know of; `before`: what was done to it before the run."""
        told = machine_was_told(self.machine.run) if self.machine.run is not None else False
        self.untold = max(self.untold, 0 if told else len(done_to_disk(self.metal.log)) - before)


def done_to_disk(log: list[str]) -> list[str]:
    """List what of a machine's log was done to its disk, in order."""
    return [what for what in log if what.startswith(LASTING)]


def machine_was_told(run: Run) -> bool:
    """Say whether a run knows that its job, or its installer, has ended."""
    return any(line.step in (JOB_STEP, "wait.installed") and line.outcome == "done" for line in run.journal)


# what breaks


def nothing(_scene: Scene, _name: str) -> None:
    return


def disk_full(scene: Scene, _name: str) -> None:
    scene.db.fill()


def locked(scene: Scene, _name: str) -> None:
    scene.db.lock()


def agent_vanishes(scene: Scene, _name: str) -> None:
    """Whatever runs on the machine is never heard of again; its power is on."""
    scene.metal.lives += 1


def power_lost(scene: Scene, _name: str) -> None:
    scene.metal.lives += 1
    scene.metal.power = Power.OFF


def bmc_restarts(scene: Scene, name: str) -> None:
    """The BMC is away for two calls: the one under way, if there is one, and the next."""
    _bmc_fails(scene, name, 2)


def bmc_dies(scene: Scene, name: str) -> None:
    """The BMC is away until somebody mends it."""
    _bmc_fails(scene, name, 0)


def _bmc_fails(scene: Scene, name: str, times: int) -> None:
    scene.metal.broken, scene.metal.left = BmcUnreachable("no answer"), times
    if name.split(" ", 1)[1].startswith(("power ", "boot ")):  # it is asked just now
        scene.metal.left -= 1
        raise BmcUnreachable("no answer")


@dataclass(frozen=True)
class Breakage:
    """`silent`: the machine may never be heard of again, so time has to pass until the daemon judges.

    `mended`: it may end a run, which is taken up once somebody saw to it.
    """

    strike: Callable[[Scene, str], None]
    silent: bool = False
    mended: bool = False


BREAKAGES = {
    "the disk is full": Breakage(disk_full),
    "another process locks the store": Breakage(locked),
    "whatever runs on the machine vanishes": Breakage(agent_vanishes, silent=True, mended=True),
    "the machine loses its power": Breakage(power_lost, silent=True, mended=True),
    "the BMC restarts": Breakage(bmc_restarts),
    "the BMC dies": Breakage(bmc_dies, mended=True),
}
UNBROKEN = Breakage(nothing)


# playing


async def hurried(db: Database) -> None:
    """Have a store wait for a lock as long as these tests do; that is no point of its daemon."""
    await Database.submit(db, impatient)


def take_over(rack: Rack, start: Rack) -> None:
    """Have a rack begin where another has come to: with a store like its own, and machines as they stand."""
    shutil.copytree(start.folder, rack.folder, dirs_exist_ok=True)
    rack.metal = deepcopy(start.metal)


def breakable(start: Rack, folder: Path) -> Rack:
    """Make a rack that stands where another has come to."""
    rack = Rack(folder)
    rack.database = BreakableDatabase
    take_over(rack, start)
    return rack


async def start_of(folder: Path, verb: Verb) -> Rack:
    """Bring a machine to where a verb starts."""
    rack = Rack(folder)
    async with rack.alive(), rack.daemon() as conductor:
        await rack.enrol()
        for earlier in STORIES[verb][0]:
            await ask(conductor, earlier, key="")
            await settled(conductor)
    return rack


async def play(start: Rack, folder: Path, verb: Verb, breakage: Breakage, at: Point | None) -> tuple[Scene, Machine]:
    """Ask for a verb, let something break at a point, have it mended, and see the machine to its end."""
    scene = Scene(await asyncio.to_thread(breakable, start, folder), SetClock())
    scene.rack.clock = scene.clock
    before = len(done_to_disk(scene.metal.log))

    def strike(name: str) -> None:
        scene.note_untold(before)
        breakage.strike(scene, name)

    scene.rack.opened = hurried
    scene.points = Struck(at, strike)
    async with scene.rack.alive(), scene.rack.daemon(scene.points) as scene.conductor:
        await insisted(scene, lambda: ask(scene.conductor, verb))
        machine = await seen_through(scene, breakage)
        if machine.failure is not None and breakage.mended:
            scene.note_untold(before)
            scene.metal.broken = None
            await insisted(scene, lambda: scene.conductor.resume("node17"))
            machine = await seen_through(scene, breakage)
        check_story(machine, await scene.conductor.events(0, 10_000))
    return scene, machine


async def insisted(scene: Scene, asked: Callable[[], Awaitable[T]]) -> T:
    """Ask as an operator does: again where the store is full or locked, and where the BMC does not answer."""
    while True:
        try:
            return await once_there_is_room(asked)
        except PreflightError:
            scene.metal.broken = None


async def once_there_is_room(asked: Callable[[], Awaitable[T]]) -> T:
    """Ask until the store takes it."""
    while True:
        try:
            return await asked()
        except StoreError:
            await asyncio.sleep(0.002)


async def seen_through(scene: Scene, breakage: Breakage) -> Machine:
    """Wait until the run has ended; time passes where the machine says nothing and nothing else is to be done."""
    quiet = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while (machine := scene.machine).run is None or machine.run.step is not None:
                await asyncio.sleep(0.004)
                quiet = quiet + 1 if breakage.silent and is_quiet(scene) and scene.machine == machine else 0
                if quiet == 3:
                    scene.clock.ahead_s += to_come(machine, scene.clock.now())
                    quiet = -12  # time for two looks at its power
    assert machine.run is not None
    assert machine.run.step is None, f"{scene} is stuck in {machine.run}"
    return machine


def to_come(machine: Machine, now: float) -> float:
    """Say how long nothing happens: until an agent has been silent for too long, or a limit is over; in seconds."""
    run = machine.run
    assert run is not None
    assert run.step is not None
    return SILENT_S if run.step.name == JOB_STEP else max(0.0, run.deadline - now) + 1


def is_quiet(scene: Scene) -> bool:
    """Say whether nothing of the machine is under way: it waits, and so does the daemon."""
    run = scene.machine.run
    waits = run is not None and run.step is not None and KINDS[run.step.name].signal is not None
    return waits and not scene.db.pending and not scene.rack.asking["node17", scene.metal.lives]


def check_story(machine: Machine, events: list[Event]) -> None:
    """Hold that the outbox tells the last run as its journal does, once each, and all events without a gap."""
    run = machine.run
    assert run is not None
    numbers = [event.seq for event in events]
    assert numbers == list(range(1, len(numbers) + 1))
    of_run = [(event.type, event.data) for event in events if event.data.get("run") == run.id]
    kinds = [kind for kind, _ in of_run]
    assert kinds.count("run.started") == 1
    assert kinds.count("run.done") == 1
    told = [(data["step"], kind) for kind, data in of_run if kind.startswith("step.")]
    assert told == [(line.step, f"step.{line.outcome}") for line in run.journal]
    assert kinds.count("run.failed") == sum(line.outcome == "failed" for line in run.journal)
