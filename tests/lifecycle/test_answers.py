"""Answer files of an installer: given once, to the machine that they are for, while its run expects it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import ClassVar

import pytest

from provisioner.catalog.context import Occasion
from provisioner.errors import RenderError, TicketError, TicketUsedError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.rendering import TICKET
from provisioner.model.bmc import BootTarget, Power
from provisioner.model.boot import Arch, Asker, BootClient, LocalDisk
from provisioner.model.machine import State
from tests.lifecycle.rack import Metal, Rack
from tests.lifecycle.shelf import FakeCatalogue
from tests.lifecycle.test_conductor import settled


async def installing(rack: Rack, conductor: Conductor) -> tuple[Metal, str]:
    """Bring node17 to where its installer has been started; return the secret of its ticket."""
    metal = rack.one()
    await rack.enrol()
    conductor.decide(BootClient(metal.mac, Asker.PXE, Arch.X86_BIOS, metal.uuid))
    token = token_of(await conductor.booter.boot_script(metal.mac, metal.ip, "ipxe"))
    await conductor.booter.agent_facts(token, metal.ip, b'{"name": "node17"}')
    await conductor.boot("node17", "fake-installer")
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


class Watched(FakeCatalogue):
    """Notes what is rendered of answer files, and for which ticket."""

    rendered: ClassVar[list[tuple[str, str]]] = []
    broken: ClassVar[bool] = False

    async def answer(self, occasion: Occasion, answer_id: str) -> bytes:
        self.rendered.append((answer_id, occasion.boot.ticket))
        if self.broken and occasion.boot.ticket != TICKET:  # what is only tried before the boot is good
            raise RenderError("a template fails")
        return await super().answer(occasion, answer_id)


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
            with pytest.raises(RenderError, match="a template fails"):
                await conductor.booter.answer(ticket, "preseed", metal.ip)
        else:
            assert (await conductor.booter.answer(ticket, "preseed", metal.ip))[0]


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
