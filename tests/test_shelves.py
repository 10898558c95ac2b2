"""A start with what was applied: in order, damaged, gone, or no longer fitting; and what mends it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from provisioner.catalog.load import Catalog
from provisioner.config import Catalogue, Config, Store
from provisioner.discovery.profiles import load_profiles
from provisioner.errors import CatalogError, LackingError
from provisioner.lifecycle.declared import Applied, Wanted
from provisioner.model.facts import Facts
from provisioner.shelves import Read, Shelf, generations, read_all, shelf_of, tell_lacking
from provisioner.store.db import Database
from provisioner.store.declarations import Batch, DeclarationStore
from provisioner.workflow.load import load_workflows
from tests.declarations import declared
from tests.shipped import catalogue
from tests.test_declaring import FILES

VALUES = {**FILES, "bootenvs/values/site.yaml": "disk: {swap: 8GiB}\n"}


def shelf() -> Shelf:
    return Shelf(Catalog((), catalogue().content), load_profiles(), load_workflows())


RESOLVED: dict[str, Callable[[Shelf], Any]] = {
    "a machine's parameters": lambda shelf: shelf.catalog.resolve_for(shelf.catalog.bootenv("debian-12"), None),
    "common ones": lambda shelf: shelf.catalog.common(shelf.catalog.bootenv("discovery"), None),
    "a bootenv's": lambda shelf: shelf.catalog.resolve(shelf.catalog.bootenv("discovery")),
    "a hardware profile": lambda shelf: shelf.classify(Facts()),
    "a workflow": lambda shelf: shelf.library.get("burn-in"),
}


@pytest.mark.parametrize("resolved", RESOLVED.values(), ids=RESOLVED.keys())
def test_nothing_is_made_out_that_a_part_is_missing_of(resolved: Callable[[Shelf], Any]) -> None:
    used = shelf()
    assert resolved(used)
    used.lack(["bootenvs/x.yaml:1: title: missing"])
    with pytest.raises(LackingError, match=r"is not in use: bootenvs/x\.yaml:1: title: missing \(`provisionctl apply"):
        resolved(used)
    used.adopt(Read((), catalogue().content, load_profiles(), load_workflows()))
    assert resolved(used)
    assert used.lacking == ()


def test_what_is_wrong_with_each_part_is_told_at_once(tmp_path: Path) -> None:
    for name in ("values/site", "profiles/x", "profiles/y", "workflows/x"):
        path = tmp_path / "bootenvs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x: [" if name != "profiles/y" else "y: {whem: {}}")
    with pytest.raises(CatalogError) as caught:
        read_all([tmp_path])
    told = [fault.partition(":")[0] for fault in caught.value.faults]
    names = ("values/site", "profiles/x", "profiles/y", "workflows/x")
    assert [told.count(str(tmp_path / "bootenvs" / f"{name}.yaml")) > 0 for name in names] == [True] * 4


def put(config: Config, name: str, text: str) -> None:
    (folder,) = (config.state_dir / "catalogue").iterdir()
    (folder / name).write_text(text)


def remove(config: Config, name: str = "") -> None:
    (folder,) = (config.state_dir / "catalogue").iterdir()
    (folder / name).unlink() if name else shutil.rmtree(folder)


HURT: dict[str, tuple[Callable[[Config], None], str]] = {
    "changed": (lambda config: put(config, "bootenvs/values/site.yaml", ""), "holds something else than what was"),
    "a file more": (lambda config: put(config, "bootenvs/more.yaml", "name: more\n"), "holds something else than"),
    "a file less": (lambda config: remove(config, "bootenvs/values/site.yaml"), "holds something else than what was"),
    "gone": (remove, "is gone"),
}


def apply(config: Config, files: dict[str, str]) -> None:
    """Make a store in which these files were applied."""
    applied = Applied("abc", generations(config).write(files))
    asyncio.run(with_store(config, lambda db: DeclarationStore(db).write(Batch(applied))))


def start(config: Config) -> tuple[Shelf, Applied]:
    """Read what a start reads."""
    found: tuple[Shelf, Applied] = asyncio.run(with_store(config, lambda db: shelf_of(config, db)))
    return found


async def with_store(config: Config, do: Callable[[Database], Awaitable[Any]]) -> Any:
    db = Database(config.state_dir / "state.db")
    await db.open()
    try:
        return await do(db)
    finally:
        await db.close()


@pytest.mark.slow
@pytest.mark.parametrize(("hurt", "why"), HURT.values(), ids=HURT.keys())
def test_a_start_goes_on_without_what_is_damaged(tmp_path: Path, hurt: Callable[[Config], None], why: str) -> None:
    config = Config(store=Store(state_dir=str(tmp_path / "state")))
    apply(config, VALUES)
    used, _ = start(config)
    assert used.lacking == ()
    assert used.catalog.resolve_for(used.catalog.bootenv("site-os"), None).flat["disk.swap"] == "8GiB"
    hurt(config)
    used, was = start(config)
    assert was.revision == "abc"
    assert len(used.lacking) == 1
    assert why in used.lacking[0]
    with pytest.raises(LackingError):
        used.catalog.resolve_for(used.catalog.bootenv("debian-12"), None)
    assert generations(config).write(VALUES) == was.folder  # the same again is written anew
    assert start(config)[0].lacking == ()


@pytest.mark.slow
def test_a_start_goes_on_without_what_no_longer_fits(tmp_path: Path) -> None:
    config = Config(store=Store(state_dir=str(tmp_path / "state")))
    apply(config, {**FILES, "bootenvs/values/site.yaml": "disk: {swop: 8GiB}\n"})
    used, _ = start(config)
    (fault,) = used.lacking
    assert fault.startswith("bootenvs/values/site.yaml: disk.swop: no such parameter")
    with pytest.raises(LackingError):
        used.catalog.bootenv("site-os")


@pytest.mark.slow
def test_a_start_needs_what_the_configuration_names(tmp_path: Path) -> None:
    (tmp_path / "own/bootenvs").mkdir(parents=True)
    (tmp_path / "own/bootenvs/x.yaml").write_text("name: x\n")
    named = Catalogue(paths=(str(tmp_path / "own"),))
    config = Config(store=Store(state_dir=str(tmp_path / "state")), catalogue=named)
    apply(config, FILES)
    with pytest.raises(CatalogError, match=r"x\.yaml"):
        start(config)


@pytest.mark.slow
async def test_an_apply_mends_it(tmp_path: Path) -> None:
    async with declared(tmp_path) as rig:
        await rig.site.apply(Wanted("abc", (), VALUES))
        await asyncio.to_thread(remove, rig.config)
    async with declared(tmp_path) as rig:
        assert len(rig.site.lacking) == 1
        planned = await rig.site.plan(Wanted("abc", (), VALUES))
        assert "bootenv site-os: added" in planned.catalogue
        assert planned.faults == ()
        await rig.site.apply(Wanted("abc", (), VALUES))
        assert rig.site.lacking == ()
        bootenv = rig.shelf.catalog.bootenv("site-os")
        assert rig.shelf.catalog.resolve_for(bootenv, None).flat["disk.swap"] == "8GiB"
    async with declared(tmp_path) as rig:
        assert rig.site.lacking == ()


async def test_it_is_told_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, Any]] = []

    async def tell(kind: str, data: Any) -> None:
        told.append((kind, data))

    await tell_lacking((), tell)
    assert (told, caplog.messages) == ([], [])
    await tell_lacking(("x: is gone", "y"), tell)
    assert told == [("site.lacking", {"faults": ["x: is gone", "y"]})]
    assert caplog.messages == ["site.lacking x: is gone", "site.lacking y"]
