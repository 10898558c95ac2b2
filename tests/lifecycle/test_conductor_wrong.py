"""The conductor with machines that are not what they are taken for: nothing is done to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from provisioner.boot.script import Dialect
from provisioner.errors import BmcNotTrusted, ConflictError, PreflightError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.ports import Bmcs
from provisioner.model.bmc import BmcAddress, BmcIdentity, Power
from provisioner.model.boot import Arch, Asker, BootClient, LocalDisk
from provisioner.model.machine import State
from provisioner.model.net import Mac
from tests.lifecycle.points import Points
from tests.lifecycle.rack import FakeBmcs, Metal, Rack
from tests.lifecycle.test_conductor import ready, settled


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
        assert (machine.failure.phase, machine.failure.kind) == ("finalize", "BmcStranger")
        assert b.log == log
        rack.moved.clear()
        a.met, rack.during_job = 0, lambda _: True
        await conductor.boot("a", "debian-12")
        assert (await settled(conductor, "a")).state is State.ACTIVE
        assert a.met == 2, "once before its network boot, once when its job was done"


class Slow(FakeBmcs):
    """BMCs at which something happens while somebody logs in, or switches a machine off."""

    def __init__(self, rack: Leisurely, points: Points) -> None:
        super().__init__(rack, points)
        self._meanwhile = rack.meanwhile

    async def identify(self, address: BmcAddress, password: str) -> BmcIdentity:
        if self._meanwhile:
            await self._meanwhile.pop()()
        return await super().identify(address, password)

    async def set_power(self, address: BmcAddress, password: str, wanted: Power) -> None:
        await super().set_power(address, password, wanted)
        if wanted is Power.OFF and self._meanwhile:
            await self._meanwhile.pop()()


class Leisurely(Rack):
    """A rack of those."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.meanwhile: list[Callable[[], Awaitable[object]]] = []

    def bmcs(self, points: Points) -> Bmcs:
        return Slow(self, points)


@pytest.mark.parametrize("verb", ["boot", "release"])
async def test_who_is_taken_into_use_while_somebody_looks_is_not_installed_over(tmp_path: Path, verb: str) -> None:
    rack = Leisurely(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        log = list(rack.one().log)
        rack.meanwhile.append(lambda: conductor.adopt("node17", "their-database"))
        with pytest.raises(ConflictError, match=r"taken into use meanwhile \(their-database\): nothing was touched"):
            await (conductor.boot("node17", "debian-12") if verb == "boot" else conductor.release("node17"))
        assert (conductor.machines.get("node17").state, rack.one().log) == (State.ACTIVE, log)
        rack.meanwhile.append(lambda: conductor.boot_by("node17", "http"))
        await conductor.boot("node17", "debian-12")  # who asks now knows that it is in use
        assert (await settled(conductor)).bootenv == "debian-12"


async def test_who_cycles_the_power_by_hand_does_not_switch_on_what_a_run_has_by_then(tmp_path: Path) -> None:
    rack = Leisurely(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        rack.meanwhile.append(lambda: conductor.boot("node17", "debian-12"))
        with pytest.raises(ConflictError, match="node17 is deploying"):
            await conductor.power("node17", "cycle")
        machine = await settled(conductor)
        assert (machine.state, machine.bootenv, machine.failure) == (State.ACTIVE, "debian-12", None)


CARD = Mac("52:54:00:00:00:99")


async def looked_at(conductor: Conductor, name: str) -> None:
    await conductor.boot(name, "discovery")
    assert (await settled(conductor, name)).failure is None


async def until_it_waits(conductor: Conductor, name: str) -> None:
    """Wait until a run waits for its machine's firmware."""
    while (run := conductor.machines.get(name).run) is None or run.step is None or run.step.name != "wait.dhcp":
        await conductor.wait_change(conductor.machines.get(name).id, 0.05)


def asks_by_the_card(metal: Metal) -> BootClient:
    """What the firmware of a machine asks by the card that moved."""
    return BootClient(CARD, Asker.PXE, Arch.X86_BIOS, b"\0" + UUID(metal.uuid).bytes_le)


async def test_a_card_that_moved_has_no_machine_in_use_installed_over(tmp_path: Path) -> None:
    rack = Rack(tmp_path, ("a", "b"))
    a, b = rack.one("a"), rack.one("b")
    async with two(rack) as conductor:
        a.cards = (CARD,)
        await looked_at(conductor, "a")
        a.cards, b.cards = (), (CARD,)
        await looked_at(conductor, "b")
        assert (b.disk[:5], conductor.machines.get("b").macs) == ("home:", (b.mac,))
        texts = [line.text for _, line in await conductor.trace("b")]
        assert f"{CARD} stays on record as a port of a until that reports without it" in texts
        await conductor.hold("b", "look")
        await conductor.let_go("b")
        assert conductor.machines.by_mac(CARD) is conductor.machines.get("a")

        rack.boots = lambda _metal: None  # a takes its time
        await conductor.boot("a", "debian-12")
        await until_it_waits(conductor, "a")
        told = f"a port of a, but it is another machine that asks: its UUID is {b.uuid}"
        assert conductor.decide(asks_by_the_card(b)) == LocalDisk(told)
        run = conductor.machines.get("a").run
        assert run is not None
        assert run.step is not None
        assert run.step.name == "wait.dhcp", "nothing was heard of a"


async def test_what_booted_as_another_machine_is_given_nothing_and_fails_its_run(tmp_path: Path) -> None:
    rack = Rack(tmp_path, ("a", "b"))
    a = rack.one("a")
    async with two(rack) as conductor:
        rack.boots = lambda _metal: None
        await conductor.boot("a", "debian-12")
        await until_it_waits(conductor, "a")
        conductor.decide(BootClient(a.mac, Asker.PXE, Arch.X86_BIOS))  # firmware that sends no UUID
        script = (await conductor.booter.boot_script(a.mac, a.ip, Dialect.IPXE)).decode()
        token = script.partition("provisioner.token=")[2].split()[0]
        before = conductor.machines.get("a")
        with pytest.raises(ConflictError, match="what booted as a is another machine: UUID is"):
            await conductor.booter.agent_facts(token, a.ip, b'{"name": "b"}')
        machine = conductor.machines.get("a")
        assert machine.failure is not None
        assert machine.failure.reason.startswith("what booted as a is another machine: UUID is")
        assert (machine.state, machine.uuid, machine.macs) == (State.READY, before.uuid, before.macs)
        assert conductor.machines.get("b").state is State.ACTIVE


async def test_a_card_is_the_other_machines_once_its_first_one_reports_without_it(tmp_path: Path) -> None:
    rack = Rack(tmp_path, ("a", "b"))
    a, b = rack.one("a"), rack.one("b")
    async with two(rack) as conductor:
        a.cards = (CARD,)
        await looked_at(conductor, "a")
        a.cards, b.cards = (), (CARD,)
        for name in ("b", "a", "b"):
            await looked_at(conductor, name)
        assert [conductor.machines.get(name).macs for name in ("a", "b")] == [(a.mac,), (b.mac, CARD)]
        assert conductor.machines.by_mac(CARD) is conductor.machines.get("b")
