"""Rollouts that behave, over the machines of a `FakeConductor`: who is begun is done at the next look, or fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from provisioner.errors import NotFoundError
from provisioner.lifecycle.fleet import Begun, Ended, Order, Recovered, Rollout, Stage, advance, plan
from provisioner.lifecycle.selectors import parse
from tests.web.fakes import BOOTENVS, NOW, FakeConductor


class FakeRollouts:
    """Moves on by one machine with each look. `fails` names those whose run fails."""

    def __init__(self, conductor: FakeConductor) -> None:
        self._conductor = conductor
        self._all: dict[str, Rollout] = {}
        self._keys: dict[str, str] = {}
        self.fails: set[str] = set()
        self.stuck = False

    def all(self) -> Sequence[Rollout]:
        return list(reversed(self._all.values()))

    def get(self, ref: str) -> Rollout:
        if ref not in self._all:
            raise NotFoundError(f"there is no rollout {ref!r}")
        found = self._all[ref]
        for member in found.members:
            if member.stage is Stage.STARTING and not self.stuck:
                found, _ = advance(found, Begun(member.machine, "r-1"), NOW)
                reason = "disk too small" if member.name in self.fails else ""
                found, _ = advance(found, Ended(member.machine, "r-1", reason), NOW + 60)
                break
        self._all[ref] = found
        return found

    def replace(self, ref: str, rollout: Rollout) -> None:
        """Have it stand like that."""
        self._all[ref] = rollout

    async def begin(
        self, bootenv: str, select: str, limits: tuple[int, int], params: Mapping[str, Any], *, key: str = ""
    ) -> Rollout:
        if key and key in self._keys:
            return self._all[self._keys[key]]
        number = f"R{len(self._all) + 1}"
        rollout = replace(self.plan(bootenv, select, limits), id=number, params=params, created=NOW)
        self._keys[key] = rollout.id
        self._all[rollout.id], _ = advance(rollout, Order.CARRY_ON, NOW)
        return self._all[rollout.id]

    def plan(self, bootenv: str, select: str, limits: tuple[int, int]) -> Rollout:
        if bootenv not in {status.bootenv.name for status in BOOTENVS}:
            raise NotFoundError(f"no bootenv is called {bootenv!r}")
        chosen = [machine for machine in self._conductor.machines.all() if parse(select).selects(machine)]
        return plan("", bootenv, select, chosen, limits)

    async def order(self, ref: str, order: Order, *, sure: bool = False, key: str = "") -> Rollout:
        if key and key in self._keys:
            return self._all[self._keys[key]]
        self._keys[key] = ref
        resumes = order is Order.RESUME and self._all[ref].restored
        self._all[ref], _ = advance(self._all[ref], Recovered(frozenset(), sure) if resumes else order, NOW)
        return self._all[ref]
