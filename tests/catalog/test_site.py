"""What is rendered once and kept: always what rendering it anew would give, and a change touches nothing else."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.catalog.context import Boot, Occasion, Stored, subject_of
from provisioner.catalog.kept import Kept
from provisioner.catalog.load import Catalog
from provisioner.catalog.site import SiteCatalogue
from provisioner.catalog.system import Secrets
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac

FILES = {
    "bootenvs/x.yaml": "name: x\ntitle: X\nkind: live\nfamily: x\nparams: {at.bootenv: 1}\n"
    "answers: {all: {template: all.json.j2}, name: {template: name.txt.j2}}\n"
    "arch: {amd64: {kernel: k, args: 'host={{ machine.name }}', "
    "artifacts: {k: {build: provisionctl images build k}}}}\n",
    "bootenvs/params/at.yaml": "".join(
        f"at.{layer}: {{about: x, schema: {{}}, default: 0}}\n"
        for layer in ("site", "bootenv", "profile", "role", "own")
    )
    + "list.all: {about: x, schema: {type: array}, merge: append}\n"
    + "word.secret: {about: x, schema: {type: string}, secret: true, default: 'store:word'}\n",
    "bootenvs/values/site.yaml": "at.site: 1\n",
    "bootenvs/values/profiles/p.yaml": "at.profile: 1\n",
    "bootenvs/values/roles/r.yaml": "at.role: 1\n",
    "templates/all.json.j2": "[{{ machine }}, {{ facts }}, {{ profile }}, {{ params }}, {{ bootenv }}, {{ boot }},"
    ' {{ urls }}, {{ artifacts }}, {{ agent }}, {{ secrets.word.secret }}, {% include "part.txt.j2" %}]',
    "templates/part.txt.j2": "{{ 1 }}",
    "templates/name.txt.j2": "{{ machine.name }}",
}
"""A catalogue in which one file shows everything that can be shown, and another one a name."""


ONE = Machine("m1", "one", State.READY, macs=(Mac("52:54:00:00:00:01"),), profile="p", tags=("role:r",), facts=Facts())
TWO = Machine("m2", "two", State.READY, macs=(Mac("52:54:00:00:00:02"),), facts=Facts())


@dataclass
class World:
    """Two machines and all that their files follow from."""

    folder: Path
    files: dict[str, str] = field(default_factory=lambda: dict(FILES))
    one: Machine = ONE
    two: Machine = TWO
    secret: str = "word"
    boot: Boot = field(
        default_factory=lambda: Boot(
            "http://h", Mac("52:54:00:00:00:01"), "amd64", token="t", ticket="s", artifacts={"k": Stored("ab", 1)}
        )
    )
    given: dict[str, Any] = field(default_factory=dict)
    rendered: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, text in self.files.items():
            self.put(name, text)
        self.catalog = Catalog.load([self.folder], ours=False)
        self.kept = SiteCatalogue(self.catalog, self)

    def put(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, name: str, before: str, after: str) -> None:
        """Change a file of the catalogue."""
        self.files[name] = self.files[name].replace(before, after)
        self.put(name, self.files[name])
        self.catalog.reload()

    async def render(self, template: str, context: Mapping[str, Any]) -> str:
        self.rendered.append(template)
        return self.catalog.content.renderer.render(template, context)

    def occasion(self, machine: Machine) -> Occasion:
        boot = self.boot if machine is self.one else replace(self.boot, mac=machine.macs[0])
        given = self.given if machine is self.one else {}
        secrets = Secrets("seed", {"store:word": self.secret})
        return Occasion(self.catalog.bootenv("x"), subject_of(machine), boot, given, secrets)

    async def ask(self, shelf: SiteCatalogue) -> dict[str, bytes]:
        """Ask for every file of both machines."""
        found = {}
        for machine in (self.one, self.two):
            occasion = self.occasion(machine)
            found |= {f"{machine.name} {each}": await shelf.answer(occasion, each) for each in ("all", "name")}
            found[f"{machine.name} args"] = (await shelf.kernel_args(occasion)).encode()
        return found

    def changed(self) -> list[str]:
        """Ask anew; name what was rendered for it."""

        async def ask() -> list[str]:
            names = []
            for machine in (self.one, self.two):
                occasion = self.occasion(machine)
                for each in ("all", "name"):
                    before = len(self.rendered)
                    await self.kept.answer(occasion, each)
                    names += [f"{machine.id} {each}"] * (len(self.rendered) - before)
            return names

        return asyncio.run(ask())

    def is_as_fresh(self) -> bool:
        """Say whether what is kept is what rendering anew gives."""

        async def ask() -> bool:
            return await self.ask(self.kept) == await self.ask(SiteCatalogue(self.catalog, self, Kept(0)))

        return asyncio.run(ask())


def set_one(**changes: Any) -> Callable[[World], None]:
    def do(world: World) -> None:
        world.one = replace(world.one, **changes)

    return do


def set_boot(**changes: Any) -> Callable[[World], None]:
    def do(world: World) -> None:
        world.boot = replace(world.boot, **changes)

    return do


def edit(name: str, before: str, after: str) -> Callable[[World], None]:
    return lambda world: world.edit(name, before, after)


ALL = ["m1 all", "m1 name", "m2 all", "m2 name"]
OF_ONE, NONE = ALL[:2], list[str]()
CHANGES: dict[str, tuple[Callable[[World], None], list[str]]] = {
    "nothing": (lambda _: None, NONE),
    "a catalogue that is read again": (lambda world: world.catalog.reload(), NONE),
    "a parameter of the machine": (set_one(params={"at.own": 1}), OF_ONE),
    "the same parameters": (set_one(params={}), NONE),
    "its facts": (set_one(facts=Facts(firmware="uefi")), OF_ONE),
    "facts that were found again": (set_one(facts=Facts()), NONE),
    "its name": (set_one(name="uno"), OF_ONE),
    "its role": (set_one(tags=()), OF_ONE),
    "its power, its run, what was seen of it": (set_one(seen=5.0, generation=2, bootenv="x"), NONE),
    "a parameter of this boot": (lambda world: setattr(world, "given", {"at.own": 2}), OF_ONE),
    "a parameter of its profile": (edit("bootenvs/values/profiles/p.yaml", "1", "2"), OF_ONE),
    "a parameter of its role": (edit("bootenvs/values/roles/r.yaml", "1", "2"), OF_ONE),
    "a parameter of the site": (edit("bootenvs/values/site.yaml", "1", "2"), ALL),
    "a parameter of the bootenv": (edit("bootenvs/x.yaml", "at.bootenv: 1", "at.bootenv: 2"), ALL),
    "a default": (edit("bootenvs/params/at.yaml", "default: 0", "default: 9"), ALL),
    "1 instead of true": (edit("bootenvs/values/site.yaml", "1", "true"), ALL),
    "a template": (edit("templates/name.txt.j2", "{{ machine.name }}", "x"), ["m1 name", "m2 name"]),
    "a part that a template includes": (edit("templates/part.txt.j2", "1", "2"), ["m1 all", "m2 all"]),
    "a secret": (lambda world: setattr(world, "secret", "other"), ALL),
    "the ticket": (set_boot(ticket="u"), ALL),
    "the address": (set_boot(address="10.0.0.9"), ALL),
    "an artefact": (set_boot(artifacts={"k": Stored("cd", 1)}), ALL),
    "a step of a workflow": (set_boot(steps=("system",)), ALL),
}


@pytest.mark.parametrize(("change", "anew"), CHANGES.values(), ids=CHANGES.keys())
def test_a_change_takes_effect_at_once_and_touches_nothing_else(
    tmp_path: Path, change: Callable[[World], None], anew: list[str]
) -> None:
    world = World(tmp_path)
    assert world.changed() == ALL
    change(world)
    assert world.changed() == anew
    assert world.is_as_fresh()
    assert world.changed() == NONE


def any_value(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Callable[[World], None]]:
    return values.map(lambda value: lambda world: setattr(world, "one", replace(world.one, params={name: value})))


VALUES = st.sampled_from([0, 1, 1.0, True, False, "1", None, [1], {"a": 1, "b": 2}, {"b": 2, "a": 1}])
STEPS = st.one_of(
    st.sampled_from([change for change, _ in CHANGES.values()]),
    st.sampled_from([set_one(profile=""), set_one(profile="p"), set_one(tags=("role:r",)), set_boot(ticket="s")]),
    st.sampled_from([edit("bootenvs/values/site.yaml", "2", "1"), edit("templates/part.txt.j2", "2", "1")]),
    any_value("at.own", VALUES.filter(lambda value: value is not None)),
    any_value("list.all", st.lists(VALUES, max_size=2)),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_what_is_kept_is_what_rendering_anew_gives(steps: list[Callable[[World], None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for step in steps:
            step(world)
            assert world.is_as_fresh()
