"""The conductor with machines that are not what they are taken for: nothing is done to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from provisioner.errors import BmcNotTrusted, PreflightError
from provisioner.lifecycle.conductor import Conductor
from provisioner.model.machine import State
from tests.lifecycle.rack import Metal, Rack
from tests.lifecycle.test_conductor import settled


@asynccontextmanager
async def two(rack: Rack) -> AsyncIterator[Conductor]:
    """Run a daemon with a, which is ready, and b, which is in use."""
    async with rack.alive(), rack.daemon() as conductor:
        for name in ("a", "b"):
            await rack.enrol(name)
            await conductor.boot(name, "discovery")
            await settled(conductor, name)
        await conductor.boot("b", "debian-12")
        assert (await settled(conductor, "b")).state is State.ACTIVE
        yield conductor


async def test_a_board_that_answers_in_place_of_another_is_left_alone(tmp_path: Path) -> None:
    rack = Rack(tmp_path, ("a", "b"))
    b = rack.one("b")
    async with two(rack) as conductor:
        rack.moved["bmc-a"] = "bmc-b"
        log = list(b.log)
        with pytest.raises(PreflightError, match="is not the board of a any more: it is the board of b"):
            await conductor.boot("a", "debian-12")
        with pytest.raises(PreflightError, match="it is the board of b"):
            await conductor.release("a", erase=False)
        with pytest.raises(BmcNotTrusted, match="it is the board of b"):
            await conductor.power("a", "off")
        assert (conductor.machines.get("a").state, b.log) == (State.READY, log)


async def test_a_board_that_moves_during_a_run_is_asked_whose_it_is_when_the_run_comes_back_to_it(
    tmp_path: Path,
) -> None:
    rack = Rack(tmp_path, ("a", "b"))
    a, b = rack.one("a"), rack.one("b")

    def moves(metal: Metal) -> bool:
        rack.moved["bmc-a"] = "bmc-b"
        return True

    async with two(rack) as conductor:
        log, rack.during_job = list(b.log), moves
        await conductor.boot("a", "debian-12")
        machine = await settled(conductor, "a")
        assert machine.failure is not None
        assert "it is the board of b" in machine.failure.reason
        assert (machine.failure.phase, machine.failure.kind) == ("finalize", "BmcNotTrusted")
        assert b.log == log
        rack.moved.clear()
        a.met, rack.during_job = 0, lambda _: True
        await conductor.boot("a", "debian-12")
        assert (await settled(conductor, "a")).state is State.ACTIVE
        assert a.met == 2, "once before its network boot, once when its job was done"
