"""Whatever is cancelled, at whichever point of its run: nothing is written to the disk once it is said to be over.

The points are enumerated, not sampled, as in `test_crash`: each BMC call and each durable write of each verb, before
and after. Where the BMC is dead from there on, a run whose machine may be writing says so.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from provisioner.errors import BmcUnreachable, ConflictError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.plans import CANCEL_STEP, VERBS, Verb
from provisioner.model.bmc import Power
from provisioner.model.machine import Machine
from tests.lifecycle.breaking import Struck, start_of, take_over
from tests.lifecycle.points import LIVES, Point, Points, certain
from tests.lifecycle.rack import LIFE, Metal, Rack
from tests.lifecycle.test_conductor import settled
from tests.lifecycle.test_crash import ask

WRITES = 3
"""Pieces that a job writes, with a report after each."""


class Writers(Rack):
    """Machines whose jobs and installers write to the disk for some time; `written` has which of their lives did."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.written: list[int] = []

    def _writes(self, metal: Metal) -> bool:
        if metal.power is Power.OFF or LIFE.get() != metal.lives:
            return False
        self.written.append(metal.lives)
        return True

    async def _job(self, metal: Metal, token: str, job_id: str) -> str | None:
        fetched = await self._until(metal, lambda c: c.booter.agent_job(token, metal.ip, job_id))
        if not fetched:
            return None
        home = json.loads(fetched)["home"]
        metal.disk = f"home:{home}" if home else ""
        for _ in range(WRITES):
            refused = self.unanswered
            if not self._writes(metal):
                return None
            await self._until(metal, lambda c: c.booter.agent_progress(token, metal.ip, "write", 50.0, ""))
            if self.unanswered != refused:  # it is told to stop
                return None
        command: str | None = await self._until(metal, lambda c: c.booter.agent_done(token, metal.ip, job_id, 0, ""))
        return command

    async def _install(self, metal: Metal, ticket: str) -> None:
        """An installer of others: nobody can tell it anything."""
        await self._until(metal, lambda c: c.booter.answer(ticket, "preseed", metal.ip))
        while self._writes(metal):
            await asyncio.sleep(0.001)


async def cancelled(start: Rack, folder: Path, verb: Verb, at: Point | None, *, dead: bool) -> tuple[Points, Writers]:
    """Ask for a verb and end it at a point; hold what is said of it then. Without a point: as it goes by itself."""
    rack, there = Writers(folder), asyncio.Event()
    await asyncio.to_thread(take_over, rack, start)
    metal = rack.one()

    def strike(_name: str) -> None:
        metal.broken = BmcUnreachable("no answer") if dead else metal.broken
        there.set()

    points = Struck(at, strike)
    async with rack.alive(), rack.daemon(points) as conductor:
        await ask(conductor, verb)
        if at is None:
            await _gone_by(conductor, rack)
            return points, rack
        await asyncio.wait_for(there.wait(), 20)
        try:
            await conductor.cancel("node17")
        except ConflictError:
            run = conductor.machines.get("node17").run
            assert run is not None
            assert run.step is None, "it is refused only where the run was over: this was the last point"
            return points, rack
        machine = await settled(conductor)
        writes = len(rack.written)
        await asyncio.sleep(0.01)  # for a writer that goes on
        _hold(machine, rack, len(rack.written) - writes)
    return points, rack


async def _gone_by(conductor: Conductor, rack: Writers) -> None:
    """Wait until a run has ended, or its installer, which never does, has written for a while."""
    async with asyncio.timeout(20):
        while (run := conductor.machines.get("node17").run) is None or run.step is not None:
            if run is not None and run.verb == Verb.INSTALL and len(rack.written) > WRITES:
                return
            await asyncio.sleep(0.002)


def _hold(machine: Machine, rack: Writers, more: int) -> None:
    run, failure, metal = machine.run, machine.failure, rack.one()
    assert run is not None
    assert failure is not None
    assert run.outcome == "cancelled"
    assert all(step.name != CANCEL_STEP for step in run.steps)
    told = "may go on writing" in failure.reason
    if rack.one().broken is None:
        assert machine.power is metal.power, "nobody would look at it again"
    if not told:
        assert more == 0, "it was said to be over"
    if rack.written and rack.written[-1] == metal.lives and metal.power is Power.ON:
        # the system that was installed may run already: its job was done
        assert told or any((line.step, line.outcome) == ("wait.job", "done") for line in run.journal)
    if run.verb != Verb.INSTALL:
        assert more == 0, "an agent is told to stop, whatever its BMC does"


WRITERS = {verb for verb, rule in VERBS.items() if {"wait.job", "wait.installed"}.intersection(rule.steps)}
CASES = {
    **{f"{verb}, its BMC obeys": (verb, False) for verb in Verb},
    **{f"{verb}, its BMC is dead from then on": (verb, True) for verb in Verb if verb in WRITERS},
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("verb", "dead"), CASES.values(), ids=CASES.keys())
async def test_what_is_cancelled_at_any_point_writes_no_more(tmp_path: Path, verb: Verb, dead: bool) -> None:
    start = await start_of(tmp_path / "start", verb)
    lives = [await cancelled(start, tmp_path / f"whole{number}", verb, None, dead=False) for number in range(LIVES)]
    assert {bool(rack.written) for _, rack in lives} == {verb in WRITERS}
    whole = certain(points for points, _ in lives)
    assert len(whole) > 4
    for at, point in enumerate(whole):
        points, _ = await cancelled(start, tmp_path / f"at{at}", verb, point, dead=dead)
        assert isinstance(points, Struck)
        assert points.struck, point
