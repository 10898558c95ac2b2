"""The files of an installation are of one declaration, whatever is applied amid it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from provisioner.catalog.context import Occasion
from provisioner.catalog.kept import Stamp
from provisioner.errors import ConflictError, RenderError
from provisioner.model.catalog import Bootenv
from tests.lifecycle.rack import Rack
from tests.lifecycle.shelf import FakeCatalogue
from tests.lifecycle.test_answers import declare, installing


class Saying(FakeCatalogue):
    """Files that say what is declared of their machine; `gone` are no longer in the catalogue, `broken` fail."""

    gone: ClassVar[frozenset[str]] = frozenset()
    broken: ClassVar[frozenset[str]] = frozenset()

    def bootenv(self, name: str) -> Bootenv:
        found = super().bootenv(name)
        left = tuple(replace(each, refetch=each.id == "preseed") for each in found.answers if each.id not in self.gone)
        return (
            found
            if left == found.answers
            else self._known.setdefault(f"{name}-{self.gone}", replace(found, answers=left))
        )

    async def answer(self, occasion: Occasion, answer_id: str, stamp: Stamp | None = None) -> bytes:
        if answer_id in self.broken:
            raise RenderError("a template fails")
        assert occasion.subject is not None
        return json.dumps(dict(occasion.subject.params)).encode()


class SayingRack(Rack):
    catalogue = Saying


async def test_an_installation_has_the_files_of_one_declaration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rack = SayingRack(tmp_path)
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        await declare(conductor, {"at": 1})
        assert (await conductor.booter.answer(ticket, "preseed", metal.ip))[0] == b'{"at": 1}', "at once"
        await declare(conductor, {"at": 2})
        monkeypatch.setattr(Saying, "gone", frozenset({"late.sh"}))
        assert (await conductor.booter.answer(ticket, "preseed", metal.ip))[0] == b'{"at": 1}', "read twice"
        assert (await conductor.booter.answer(ticket, "late.sh", metal.ip))[0] == b'{"at": 1}'


async def test_a_file_that_could_not_be_made_at_first_is_made_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rack = SayingRack(tmp_path)
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        monkeypatch.setattr(Saying, "broken", frozenset({"late.sh"}))
        assert (await conductor.booter.answer(ticket, "preseed", metal.ip))[0]
        with pytest.raises(RenderError, match="a template fails"):
            await conductor.booter.answer(ticket, "late.sh", metal.ip)
        monkeypatch.setattr(Saying, "broken", frozenset())
        assert (await conductor.booter.answer(ticket, "late.sh", metal.ip))[0] == b"{}"


async def test_what_changed_around_a_restart_is_told_and_never_read_twice(tmp_path: Path) -> None:
    rack = SayingRack(tmp_path)
    async with rack.daemon() as conductor:
        metal, ticket = await installing(rack, conductor)
        assert (await conductor.booter.answer(ticket, "preseed", metal.ip))[0] == b"{}"
    async with rack.daemon() as conductor:
        await declare(conductor, {"at": 2})
        with pytest.raises(ConflictError, match="preseed is not what was given of it"):
            await conductor.booter.answer(ticket, "preseed", metal.ip)
        assert (await conductor.booter.answer(ticket, "late.sh", metal.ip))[0] == b'{"at": 2}'
        told = [line.text for _, line in await conductor.trace("node17") if line.event == "http.answer.changed"]
        assert [text.split()[0] for text in told] == ["preseed", "late.sh"]
