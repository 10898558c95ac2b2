"""Answer files of an installer: given once, to the machine that they are for, while its run expects it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from provisioner.boot.tickets import ANSWER_PHASES
from provisioner.catalog.context import Occasion
from provisioner.catalog.kept import Stamp
from provisioner.errors import (
    ProvisionerError,
    RenderError,
    RunOverError,
    StoreError,
    TicketError,
    TicketUsedError,
)
from provisioner.lifecycle.answers import ALARMS
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.inputs import Begin
from provisioner.lifecycle.plans import ANSWERS_S, Verb
from provisioner.lifecycle.rendering import TICKET
from provisioner.lifecycle.steps import advance, due_s
from provisioner.model.bmc import BootTarget, Power
from provisioner.model.boot import Arch, Asker, BootClient, LocalDisk
from provisioner.model.machine import Machine, State
from provisioner.store.db import T, Work
from provisioner.store.machines import Change
from tests.lifecycle.breaking import once_there_is_room
from tests.lifecycle.points import KillableDatabase, Point, Points
from tests.lifecycle.rack import Metal, Rack
from tests.lifecycle.shelf import FakeCatalogue
from tests.lifecycle.test_conductor import settled
from tests.lifecycle.test_faults import SetClock, at, until


async def installing(rack: Rack, conductor: Conductor, params: dict[str, Any] | None = None) -> tuple[Metal, str]:
    """Bring node17 to where its installer has been started; return the secret of its ticket."""
    metal = rack.one()
    await rack.enrol()
    conductor.decide(BootClient(metal.mac, Asker.PXE, Arch.X86_BIOS, metal.uuid))
    token = token_of(await conductor.booter.boot_script(metal.mac, metal.ip, "ipxe"))
    await conductor.booter.agent_facts(token, metal.ip, b'{"name": "node17"}')
    await conductor.boot("node17", "fake-installer", params=params)
    async with asyncio.timeout(10):
        while step(conductor) != "wait.dhcp":
            await asyncio.sleep(0)
    script = (await conductor.booter.boot_script(metal.mac, metal.ip, "ipxe")).decode()
    async with asyncio.timeout(10):
        while step(conductor) != "wait.answer":
            await asyncio.sleep(0)
    return metal, script.partition("provisioner.ticket=")[2].split()[0]


def token_of(script: bytes) -> str:
    return script.decode().partition("provisioner.token=")[2].split()[0]


def step(conductor: Conductor) -> str:
    run = conductor.machines.get("node17").run
    return run.step.name if run and run.step else ""


async def test_an_installer_is_answered_reports_and_never_installs_twice(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        body, kind = await conductor.booter.answer(ticket, "preseed", metal.ip)
        seen = json.loads(body)
        assert (seen["job"], kind) == ("preseed", "text/plain; charset=utf-8")
        async with asyncio.timeout(10):
            while step(conductor) != "wait.installed":
                await asyncio.sleep(0)
        assert metal.always is BootTarget.DISK
        plan = conductor.decide(BootClient(metal.mac, Asker.PXE, Arch.X86_BIOS))
        assert isinstance(plan, LocalDisk)
        await conductor.booter.agent_progress(seen["token"], metal.ip, "install", 50.0, "")
        await conductor.booter.phone_home(seen["home"], metal.ip, "node17", "Debian 12", 20.0, [])
        machine = await settled(conductor)
        assert (machine.state, machine.bootenv, metal.power) == (State.ACTIVE, "fake-installer", Power.ON)
        with pytest.raises(TicketUsedError):
            await conductor.booter.answer(ticket, "preseed", metal.ip)


def left_s(conductor: Conductor, clock: SetClock) -> float:
    """Seconds until the step under way is over."""
    run = conductor.machines.get("node17").run
    assert run is not None
    return run.deadline - clock.now()


async def test_a_ticket_lasts_as_long_as_its_run_may_ask(tmp_path: Path) -> None:
    """Each file in the last minute of its step: the first by a slow line, the last at the end of a large install."""
    rack = Rack(tmp_path)
    rack.clock = clock = SetClock()
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        clock.ahead_s += left_s(conductor, clock) - 30
        assert (await conductor.booter.answer(ticket, "preseed", metal.ip))[0]
        await until(conductor, at("wait.installed"))
        clock.ahead_s += left_s(conductor, clock) - 30
        assert (await conductor.booter.answer(ticket, "late.sh", metal.ip))[0]


async def test_a_ticket_ends_with_the_step_that_may_ask(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    rack.clock = clock = SetClock()
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        clock.ahead_s += left_s(conductor, clock) + 1
        await settled(conductor)
        with pytest.raises(TicketError, match="there is no such answer file"):
            await conductor.booter.answer(ticket, "preseed", metal.ip)


def test_tickets_outlast_all_steps_that_may_ask() -> None:
    begin = Begin("r", Verb.INSTALL, "x")
    machine, _ = advance(Machine("m", "node17", State.READY), begin, 0.0)
    assert machine.run is not None
    asking = [step for step in machine.run.steps if step.phase in ANSWER_PHASES]
    assert sum(due_s(step) * (1 + step.retries) for step in asking) <= ANSWERS_S


class Watched(FakeCatalogue):
    """Notes what is rendered of answer files, and for which ticket."""

    rendered: ClassVar[list[tuple[str, str]]] = []
    broken: ClassVar[bool] = False

    async def answer(self, occasion: Occasion, answer_id: str, stamp: Stamp | None = None) -> bytes:
        self.rendered.append((answer_id, occasion.boot.ticket))
        if self.broken and occasion.boot.ticket != TICKET:  # what is only tried before the boot is good
            raise RenderError("a template fails")
        return await super().answer(occasion, answer_id, stamp)


class WatchedRack(Rack):
    catalogue = Watched


@pytest.mark.parametrize("broken", [False, True], ids=["good", "with a template that fails"])
async def test_files_are_rendered_when_their_script_goes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.setattr(Watched, "broken", broken)
    monkeypatch.setattr(Watched, "rendered", [])
    rack = WatchedRack(tmp_path)
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        ahead = [(answer, ticket) for answer in ("preseed", "late.sh")]
        assert [each for each in Watched.rendered if each[1] == ticket] == (ahead[:1] if broken else ahead)
        if broken:
            for _ in range(2):
                with pytest.raises(RenderError, match="a template fails"):
                    await conductor.booter.answer(ticket, "preseed", metal.ip)
            assert (step(conductor), metal.always) == ("wait.answer", BootTarget.NONE), (
                "nothing left: its disk is empty"
            )
            monkeypatch.setattr(Watched, "broken", False)
        assert (await conductor.booter.answer(ticket, "preseed", metal.ip))[0]
        await until(conductor, at("wait.installed"))
        with pytest.raises(TicketUsedError):
            await conductor.booter.answer(ticket, "preseed", metal.ip)


class FillingDatabase(KillableDatabase):
    """A disk that is full for writes after the first ticket is redeemed: that of the machine, and what undoes it."""

    redeemed = 0
    fails: ClassVar[tuple[str, ...]] = ()

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        name = getattr(work, "__qualname__", "")
        self.redeemed += name.startswith("TicketStore.redeem")
        self.full = self.redeemed == 1 and name.startswith(self.fails)
        return super().submit(work)


class FillingRack(Rack):
    database = FillingDatabase


@pytest.mark.parametrize("fails", [("prepared",), ("prepared", "TicketStore.give_back")])
async def test_what_the_run_cannot_be_told_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: tuple[str, ...]
) -> None:
    monkeypatch.setattr(FillingDatabase, "fails", fails)
    rack = FillingRack(tmp_path)
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        with pytest.raises(StoreError, match="full"):
            await conductor.booter.answer(ticket, "preseed", metal.ip)
        assert step(conductor) == "wait.answer"
        # again, as an installer does: a write of the daemon's own may meet the full disk, and ours be with it
        assert (await once_there_is_room(lambda: conductor.booter.answer(ticket, "preseed", metal.ip)))[0]
        with pytest.raises(TicketUsedError):
            await conductor.booter.answer(ticket, "preseed", metal.ip)


class SlowCatalogue(FakeCatalogue):
    """Renders when it is let."""

    may: ClassVar[asyncio.Event]
    waits: ClassVar[asyncio.Event]

    async def answer(self, occasion: Occasion, answer_id: str, stamp: Stamp | None = None) -> bytes:
        if occasion.boot.ticket != TICKET:
            self.waits.set()
            await self.may.wait()
        return await super().answer(occasion, answer_id, stamp)


class SlowRack(Rack):
    catalogue = SlowCatalogue


async def test_a_run_that_ends_while_its_file_is_rendered_gets_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlowCatalogue, "may", may := asyncio.Event(), raising=False)
    monkeypatch.setattr(SlowCatalogue, "waits", waits := asyncio.Event(), raising=False)
    may.set()
    rack = SlowRack(tmp_path)
    async with rack.daemon() as conductor, asyncio.TaskGroup() as group:
        metal, ticket = await installing(rack, conductor)
        may.clear()
        waits.clear()
        asked = group.create_task(refused(conductor, ticket, metal.ip))
        await asyncio.wait_for(waits.wait(), 10)
        await conductor.cancel("node17")
        may.set()
        assert await asked == "there is no such answer file"


async def refused(conductor: Conductor, ticket: str, address: str) -> str:
    try:
        await conductor.booter.answer(ticket, "preseed", address)
    except ProvisionerError as error:
        return str(error)
    return "given"


@pytest.mark.parametrize("point", ["before TicketStore.redeem", "after TicketStore.redeem", "before prepared"])
async def test_a_daemon_that_is_killed_on_the_way_gives_it_after_its_restart(tmp_path: Path, point: str) -> None:
    rack, points = Rack(tmp_path), Points()
    got: list[object] = []
    async with rack.daemon(points) as conductor:
        metal, ticket = await installing(rack, conductor)
        points.die_at = Point(point, sum(each.name == point for each in points.passed))
        got.append(await conductor.booter.answer(ticket, "preseed", metal.ip))
    assert got == []
    async with rack.daemon() as conductor:
        assert (await conductor.booter.answer(ticket, "preseed", metal.ip))[0]
        with pytest.raises(TicketUsedError):
            await conductor.booter.answer(ticket, "preseed", metal.ip)


async def test_of_a_thousand_at_once_one_is_answered(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        asked = (conductor.booter.answer(ticket, "preseed", metal.ip) for _ in range(1000))
        got = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(each, tuple) for each in got) == 1
        assert sum(isinstance(each, TicketUsedError) for each in got) == 999
        lines = [line for _, line in await conductor.trace("node17", limit=2000) if line.event == "http.answer.refused"]
        assert len(lines) == 999
        assert all(ticket not in line.text for line in lines)


async def told(conductor: Conductor) -> list[dict[str, object]]:
    return [dict(event.data) for event in await conductor.events(0, 1000) if event.type == "ticket.refused"]


async def test_a_second_fetch_is_an_event_and_many_are_a_few(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        await conductor.booter.answer(ticket, "preseed", metal.ip)
        assert await told(conductor) == []
        for _ in range(ALARMS + 2):
            with pytest.raises(TicketUsedError):
                await conductor.booter.answer(ticket, "preseed", "10.0.0.66")
        said = {"answer": "preseed", "peer": "10.0.0.66", "reason": "used", "status": 410}
        assert await told(conductor) == [said] * ALARMS
        machine = conductor.machines.get("node17").id
        events = await conductor.events(0, 1000)
        assert {event.machine for event in events if event.type == "ticket.refused"} == {machine}


async def declare(conductor: Conductor, params: dict[str, Any], **changes: Any) -> None:
    """Change what is declared of node17, as an apply does."""
    machine = conductor.machines.get("node17")
    after = replace(machine, params=params, generation=machine.generation + 1, **changes)
    async with conductor.holding([machine.id]):
        await conductor.written([Change(0.0, machine, after, ())], [])


async def test_an_installer_that_takes_the_static_address_is_known_there(tmp_path: Path) -> None:
    rack, static = Rack(tmp_path), "10.0.0.200"
    async with rack.daemon() as conductor:
        params = {"net.interfaces": [{"match": {"mac": str(rack.one().mac)}, "addresses": [f"{static}/24"]}]}
        metal, ticket = await installing(rack, conductor, params)
        with pytest.raises(TicketError, match="there is no such answer file"):
            await conductor.booter.answer(ticket, "preseed", static)  # that it may know of from the file alone
        body, _ = await conductor.booter.answer(ticket, "preseed", metal.ip)
        token = json.loads(body)["token"]
        await until(conductor, at("wait.installed"))
        run = conductor.machines.get("node17").run
        assert run is not None
        await declare(conductor, {}, run=replace(run, params={}))  # what it was told holds
        await conductor.booter.answer(ticket, "late.sh", static)
        await conductor.booter.agent_progress(token, static, "install", 90.0, "")
        for stranger in ("10.0.0.201", "not an address"):
            with pytest.raises(TicketError):
                await conductor.booter.agent_progress(token, stranger, "install", 95.0, "")
        await conductor.cancel("node17")
        with pytest.raises(RunOverError):
            await conductor.booter.agent_progress(token, static, "install", 95.0, "")
        await settled(conductor)  # its BMC has switched it off
        with pytest.raises(TicketError, match="its run has stopped"):
            await conductor.booter.phone_home(json.loads(body)["home"], static, "node17", "Debian 12", 20.0, [])


@pytest.mark.parametrize("bad", ["guessed", "other address", "other file", "after a newer script", "after the run"])
async def test_whatever_does_not_fit_is_refused_alike(tmp_path: Path, bad: str) -> None:
    rack = Rack(tmp_path, ["node17", "node18"])
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        secret, answer, address = ticket, "preseed", metal.ip
        match bad:
            case "guessed":
                secret = "x" * 43
            case "other address":
                address = rack.one("node18").ip
            case "other file":
                answer = "shadow"
            case "after a newer script":
                await conductor.booter.boot_script(metal.mac, metal.ip, "ipxe")
            case "after the run":
                await conductor.cancel("node17")
        with pytest.raises(TicketError, match="there is no such answer file") as caught:
            await conductor.booter.answer(secret, answer, address)
        assert not isinstance(caught.value, TicketUsedError)
        reasons = {"other address": "other address", "other file": "no such file", "after the run": "other phase"}
        assert [each["reason"] for each in await told(conductor)] == (
            [] if bad == "guessed" else [reasons.get(bad, "revoked")]
        )


async def test_what_a_daemon_gave_that_was_killed_is_given_once_more(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        await conductor.booter.answer(ticket, "preseed", metal.ip)
    async with rack.daemon() as conductor:
        with pytest.raises(TicketUsedError):
            await conductor.booter.answer(ticket, "preseed", rack.one().ip[:-1] + "99")
        assert (await conductor.booter.answer(ticket, "preseed", metal.ip))[0]
        with pytest.raises(TicketUsedError):
            await conductor.booter.answer(ticket, "preseed", metal.ip)
