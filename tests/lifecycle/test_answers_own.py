"""Answer files at the place that an installer tells all machines: given by the address that the ticket is for."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.catalog.context import Occasion
from provisioner.catalog.kept import Stamp
from provisioner.errors import TicketError, TicketUsedError
from provisioner.model.catalog import Bootenv
from tests.lifecycle.rack import Rack
from tests.lifecycle.shelf import INSTALLER, FakeCatalogue
from tests.lifecycle.test_answers import installing
from tests.lifecycle.test_faults import at, until

TOLD = replace(INSTALLER, answers=tuple(replace(each, by_address=each.id == "preseed") for each in INSTALLER.answers))


class ToldCatalogue(FakeCatalogue):
    """Its installer asks for the first file at one place for all machines."""

    def bootenv(self, name: str) -> Bootenv:
        return TOLD if name == TOLD.name else super().bootenv(name)

    async def answer(self, occasion: Occasion, answer_id: str, stamp: Stamp | None = None) -> bytes:
        return json.dumps({"answer": answer_id, "ticket": occasion.boot.ticket}).encode()


class ToldRack(Rack):
    catalogue = ToldCatalogue


async def test_it_is_given_once_and_leads_to_the_others(tmp_path: Path) -> None:
    rack = ToldRack(tmp_path, ["node17", "node18"])
    async with rack.daemon() as conductor:
        metal, script = await installing(rack, conductor)
        body, _ = await conductor.booter.own_answer("preseed", metal.ip)
        await until(conductor, at("wait.installed"))
        ticket = json.loads(body)["ticket"]
        assert ticket != script
        for _ in range(2):
            with pytest.raises(TicketUsedError):
                await conductor.booter.own_answer("preseed", metal.ip)
        assert (await conductor.booter.answer(ticket, "late.sh", metal.ip))[0]


@pytest.mark.parametrize("bad", ["other address", "no lease", "by ticket only", "other file", "after the run"])
async def test_whatever_does_not_fit_is_refused_alike(tmp_path: Path, bad: str) -> None:
    rack = ToldRack(tmp_path, ["node17", "node18"])
    async with rack.daemon() as conductor:
        metal, _ = await installing(rack, conductor)
        answer, address = "preseed", metal.ip
        match bad:
            case "other address":
                address = rack.one("node18").ip
            case "no lease":
                address = "10.0.0.250"
            case "by ticket only":
                answer = "late.sh"
            case "other file":
                answer = "shadow"
            case "after the run":
                await conductor.cancel("node17")
        with pytest.raises(TicketError, match="there is no such answer file") as caught:
            await conductor.booter.own_answer(answer, address)
        assert not isinstance(caught.value, TicketUsedError)


async def test_of_a_hundred_at_once_one_is_answered(tmp_path: Path) -> None:
    rack = ToldRack(tmp_path)
    async with rack.daemon() as conductor:
        metal, _ = await installing(rack, conductor)
        asked = (conductor.booter.own_answer("preseed", metal.ip) for _ in range(100))
        got = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(each, tuple) for each in got) == 1
        assert sum(isinstance(each, TicketError) for each in got) == 99


async def test_what_a_daemon_gave_that_was_killed_is_given_once_more(tmp_path: Path) -> None:
    rack = ToldRack(tmp_path)
    async with rack.daemon() as conductor:
        metal, _ = await installing(rack, conductor)
        await conductor.booter.own_answer("preseed", metal.ip)
    async with rack.daemon() as conductor:
        assert (await conductor.booter.own_answer("preseed", metal.ip))[0]
