"""Answer files that are kept: a change of whatever they follow from takes effect at once, and touches nothing else."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.boot.plan import BootPolicy
from provisioner.boot.tickets import SECRET_BYTES, Holder, Ticket, arm
from provisioner.catalog.artifacts import ArtifactStore
from provisioner.catalog.kept import Kept
from provisioner.catalog.load import Catalog
from provisioner.catalog.secretsource import ENVIRONMENT_PREFIX, STORE_PREFIX, SecretSources
from provisioner.catalog.site import SiteCatalogue
from provisioner.dhcp.subnets import Subnet
from provisioner.lifecycle.answers import SEED_BYTES
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.inputs import Begin
from provisioner.lifecycle.plans import ANSWERS_S, Verb
from provisioner.lifecycle.ports import Bmcs, Discovery, Network, Ports
from provisioner.lifecycle.steps import advance
from provisioner.model.boot import Arch, Asker, BootClient
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from provisioner.store.artifacts import ArtifactIndex
from provisioner.store.db import Database
from provisioner.store.secrets import KEY_OCTETS, Secrets
from provisioner.wiring import Addresses, SiteArtifacts

FILES = {
    "bootenvs/x.yaml": "name: x\ntitle: X\nkind: live\nfamily: x\n"
    "answers: {all: {template: all.json.j2}, name: {template: name.txt.j2, secret: false}}\n"
    "arch: {amd64: &files {kernel: k, args: quiet, artifacts: {k: {build: provisionctl images build k}}},"
    " arm64: *files}\n",
    "bootenvs/params/at.yaml": "".join(
        f"at.{layer}: {{about: x, schema: {{}}, default: 0}}\n" for layer in ("site", "profile", "role", "own")
    )
    + "".join(
        f"word.{source}: {{about: x, schema: {{type: string}}, secret: true{default}}}\n"
        for source, default in (("store", ", default: 'store:word'"), ("file", ""), ("env", ""))
    )
    + "users.accounts: {about: x, schema: {type: array}, default: []}\n",
    "bootenvs/values/site.yaml": "at.site: 1\n",
    "bootenvs/values/profiles/p.yaml": "at.profile: 1\n",
    "bootenvs/values/roles/r.yaml": "at.role: 1\n",
    "templates/all.json.j2": "[{{ machine }}, {{ facts }}, {{ profile }}, {{ params }}, {{ bootenv }}, {{ boot }},"
    " {{ urls }}, {{ artifacts }}, {{ agent }}, {{ secrets }}]",
    "templates/name.txt.j2": "{{ machine.name }} {{ urls.base }}",
}
"""A catalogue in which one file shows everything that can be shown, and another one no secret."""
OWN = {"at.own": 1, "word.file": "file:word", "word.env": "env:WORD"}
SUBNET = Subnet(network="10.0.0.0/24", interface="eth1", server_address="")
VARIABLE = f"{ENVIRONMENT_PREFIX}WORD"


class World:
    """Two machines in their installs, and the daemon's own parts that make their files."""

    def __init__(self, folder: Path, db: Database) -> None:
        self.folder = folder
        self.rendered: list[str] = []
        for name, text in FILES.items():
            self.put(f"catalogue/{name}", text)
        self.put("secrets/word", "from a file")
        self.put("k", "kernel")
        self.catalog = Catalog.load([folder / "catalogue"], ours=False)
        self.secrets = Secrets(db, bytes(KEY_OCTETS))
        self.store = ArtifactStore(folder / "artifacts", ArtifactIndex(db))
        self.own = {"10.0.0.1": "10.0.0.250", "10.0.0.2": "10.0.0.250"}
        self.addresses = Addresses([SUBNET], lambda address: self.own[address], 8080)
        self.waiting: set[str] = set()
        self.ports = Ports(
            cast(Bmcs, None),
            SiteCatalogue(self.catalog, self),
            SiteArtifacts(self.store),
            cast(Discovery, None),
            Network(self.addresses.base_url, lambda _: None, lambda _: BootPolicy()),
            secrets=SecretSources(self.secrets, folder=folder / "secrets").look_up,
        )
        anew = replace(self.ports, catalogue=SiteCatalogue(self.catalog, self, Kept(0)))
        self.kept, self.anew = (Conductor(db, self.secrets, ports) for ports in (self.ports, anew))
        self.tickets: dict[str, tuple[str, Ticket]] = {}
        for conductor in (self.kept, self.anew):
            conductor.booter.boots.expects = lambda machine, _: machine in self.waiting
        for number, params in ((1, OWN), (2, {})):
            mac = Mac(f"52:54:00:00:00:0{number}")
            machine = Machine(f"m{number}", f"n{number}", State.READY, macs=(mac,), facts=Facts(), params=params)
            machine, _ = advance(machine, Begin(f"run-{number}", Verb.INSTALL, "x"), 0.0)
            self.set(replace(machine, profile="p", tags=("role:r",)) if number == 1 else machine)
            self.arm(machine, number)

    def put(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    async def edit(self, name: str, before: str, after: str) -> None:
        """Change a file of the catalogue."""
        path = self.folder / "catalogue" / name
        path.write_text(path.read_text().replace(before, after))
        await asyncio.to_thread(self.catalog.reload)

    def arm(self, machine: Machine, chance: int) -> None:
        assert machine.run is not None
        holder = Holder(machine.id, machine.run.id, machine.macs[0], f"10.0.0.{machine.id[-1]}")
        octets = bytes([chance]) * (SECRET_BYTES + SEED_BYTES)
        self.tickets[machine.id] = arm(octets, holder, "x", self.catalog.bootenv("x").answers, 0.0, ANSWERS_S)

    def set(self, machine: Machine) -> None:
        for conductor in (self.kept, self.anew):
            conductor.machines.put(machine)

    async def render(self, template: str, context: Mapping[str, Any]) -> str:
        self.rendered.append(template)
        return self.catalog.content.renderer.render(template, context)

    async def ask(self, conductor: Conductor) -> Mapping[str, tuple[bytes, bool]]:
        """Ask for every file of both machines: what is in it, and whether it was rendered for that."""
        found = {}
        for name, (secret, ticket) in self.tickets.items():
            machine, bootenv = conductor.machines.get(name), conductor.booter.ports.catalogue.bootenv("x")
            for answer in bootenv.answers:
                before = len(self.rendered)
                text = await conductor.booter.answers.render(machine, bootenv, answer, secret, ticket)
                found[f"{name} {answer.id}"] = text, len(self.rendered) > before
        return found

    async def changed(self) -> list[str]:
        """Ask for what is kept; name what was rendered for it. Whatever is given is what rendering anew gives."""
        given, fresh = await self.ask(self.kept), await self.ask(self.anew)
        assert {name: text for name, (text, _) in given.items()} == {name: text for name, (text, _) in fresh.items()}
        return [name for name, (_, was_rendered) in given.items() if was_rendered]


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    db = Database(folder / "state.db")
    await db.open()
    try:
        made = await asyncio.to_thread(World, folder, db)
        await made.store.open()
        await made.secrets.put(f"{STORE_PREFIX}word", "from the store")
        yield made
    finally:
        await db.close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "from the environment")


Change = Callable[[World], Awaitable[object] | None]


def set_one(**changes: Any) -> Change:
    return lambda world: world.set(replace(world.kept.machines.get("m1"), **changes))


def set_run(**changes: Any) -> Change:
    def do(world: World) -> None:
        machine = world.kept.machines.get("m1")
        assert machine.run is not None
        world.set(replace(machine, run=replace(machine.run, **changes)))

    return do


def edit(name: str, before: str, after: str) -> Change:
    return lambda world: world.edit(name, before, after)


def put_secret(name: str, value: str) -> Change:
    return lambda world: world.secrets.put(f"{STORE_PREFIX}{name}", value)


def import_kernel(content: str) -> Change:
    async def do(world: World) -> None:
        world.put("k", content)
        await world.store.import_file(("x", "amd64", "k"), world.folder / "k", "here")

    return do


def told(arch: Arch) -> Change:
    client = BootClient(Mac("52:54:00:00:00:01"), Asker.PXE, arch)

    def do(world: World) -> None:
        for conductor in (world.kept, world.anew):
            conductor.decide(client)

    return do


ALL = ["m1 all", "m1 name", "m2 all", "m2 name"]
OF_ONE, SECRET, NONE = ALL[:2], ["m1 all", "m2 all"], list[str]()
CHANGES: dict[str, tuple[Change, list[str]]] = {
    "nothing": (lambda _: None, NONE),
    "a catalogue that is read again": (edit("bootenvs/x.yaml", "", ""), NONE),
    "a parameter of the machine": (set_one(params=OWN | {"at.own": 2}), OF_ONE),
    "the same parameters": (set_one(params=dict(OWN)), NONE),
    "a parameter that is 1 and true": (set_one(params=OWN | {"at.own": True}), OF_ONE),
    "a parameter of this boot": (set_run(params={"at.own": 3}), OF_ONE),
    "a parameter of its profile": (edit("bootenvs/values/profiles/p.yaml", "1", "2"), OF_ONE),
    "a parameter of its role": (edit("bootenvs/values/roles/r.yaml", "1", "2"), OF_ONE),
    "a parameter of the site": (edit("bootenvs/values/site.yaml", "1", "2"), ALL),
    "another profile": (set_one(profile=""), OF_ONE),
    "another role": (set_one(tags=()), OF_ONE),
    "its facts": (set_one(facts=Facts(firmware="uefi")), OF_ONE),
    "facts that were found again": (set_one(facts=Facts()), NONE),
    "its name": (set_one(name="uno"), OF_ONE),
    "its power and its generation": (set_one(seen=5.0, generation=2), NONE),
    "where its run stands": (set_run(attempt=2, note="x"), NONE),
    "a template": (edit("templates/name.txt.j2", "{{ machine.name }}", "x"), ["m1 name", "m2 name"]),
    "a secret of the store": (put_secret("word", "other"), SECRET),
    "the same secret again": (put_secret("word", "from the store"), NONE),
    "a secret that nobody asks for": (put_secret("other", "other"), NONE),
    "a secret in a file": (lambda world: world.put("secrets/word", "other"), ["m1 all"]),
    "a secret in the environment": (lambda _: os.environ.update({VARIABLE: "other"}), ["m1 all"]),
    "the secret that a parameter points at": (set_one(params=OWN | {"word.file": "store:word"}), OF_ONE),
    "a new ticket": (lambda world: world.arm(world.kept.machines.get("m1"), 3), OF_ONE),
    "an artefact": (import_kernel("new"), ALL),
    "our address on its way": (lambda world: world.own.update({"10.0.0.1": "10.0.0.251"}), OF_ONE),
    "our address in its subnet": (
        lambda world: world.addresses.follow([replace(SUBNET, network="10.0.0.2/32", server_address="10.0.0.9")]),
        ALL[2:],
    ),
    "a step of a workflow": (lambda world: world.waiting.add("m1"), OF_ONE),
    "the architecture that its firmware tells": (told(Arch.EFI_ARM64), OF_ONE),
}


async def do(change: Change, made: World) -> None:
    waits = change(made)
    if waits is not None:
        await waits


@pytest.mark.parametrize(("change", "anew"), CHANGES.values(), ids=CHANGES.keys())
async def test_a_change_takes_effect_at_once_and_touches_nothing_else(
    tmp_path: Path, change: Change, anew: list[str]
) -> None:
    async with world(tmp_path) as made:
        assert await made.changed() == ALL
        await do(change, made)
        assert await made.changed() == anew
        assert await made.changed() == NONE


async def test_an_artefact_that_is_removed_is_in_no_file(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await do(import_kernel("new"), made)
        assert await made.changed() == ALL
        await made.store.remove("x")
        assert await made.changed() == ALL


BACK = [
    edit("bootenvs/values/site.yaml", "2", "1"),
    put_secret("word", "from the store"),
    set_one(profile="p", tags=("role:r",)),
    set_one(params=OWN),
    lambda world: world.waiting.clear(),
    lambda world: world.addresses.follow([SUBNET]),
    lambda _: os.environ.update({VARIABLE: "from the environment"}),
    told(Arch.EFI_X64),
]


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([*(change for change, _ in CHANGES.values()), *BACK]), max_size=8))
async def test_what_is_kept_is_what_rendering_anew_gives(steps: list[Change]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder)) as made:
            for step in steps:
                await do(step, made)
                await made.changed()
