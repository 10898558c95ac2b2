"""A backup is a folder that is there whole or not at all, and holds what a start needs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner import backups
from provisioner.config import Config, Store
from provisioner.daemon import Daemon
from provisioner.errors import ProvisionerError
from provisioner.lifecycle.declared import Applied
from provisioner.shelves import generations
from provisioner.store import backup
from provisioner.store.db import Database
from provisioner.store.declarations import Batch, DeclarationStore
from provisioner.store.secrets import Secrets

AT = 1_790_000_000.0
FILES = {"bootenvs/a.yaml": "a: 1\n", "templates/x/a.j2": "text"}
CHANGED = {**FILES, "bootenvs/a.yaml": "a: 2\n"}


async def site(folder: Path, *, applied: bool = True) -> Config:
    """Make a state directory as a daemon leaves it."""
    config = Config(store=Store(state_dir=str(folder / "state")))
    db = Database(config.state_dir / "state.db")
    await db.open()
    await (await Secrets.opened(db, config.key_file)).put("bmc/1", "one")
    if applied:
        await apply(config, db, FILES)
    await db.close()
    await asyncio.to_thread(_beside, config.state_dir)
    return config


def _beside(folder: Path) -> None:
    (folder / "artifacts").mkdir()
    (folder / "tls").mkdir(mode=0o750)
    for name, mode in {"ca.key": 0o600, "ca.pem": 0o644, ".ca.pem": 0o644}.items():
        (folder / "tls" / name).touch(mode)


async def apply(config: Config, db: Database, files: dict[str, str]) -> None:
    kept = generations(config)
    folder = await asyncio.to_thread(kept.write, files)
    await DeclarationStore(db).write(Batch(Applied(at=1.0, revision="r", folder=folder)))
    await asyncio.to_thread(kept.sweep, folder)


def listed(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its mode."""
    return {
        path.relative_to(folder).as_posix(): f"{path.stat().st_mode & 0o777:o}"
        for path in folder.rglob("*")
        if path.is_file()
    }


async def test_what_is_in_it(tmp_path: Path) -> None:
    config = await site(tmp_path)
    made = await asyncio.to_thread(backups.write, config, tmp_path / "b", AT)
    assert made.parts == ("catalogue", "secrets.key", "state.db", "tls")
    found = await asyncio.to_thread(listed, tmp_path / "b")
    folder = await asyncio.to_thread(backups.folder_in, tmp_path / "b" / "state.db")
    files = {f"catalogue/{folder}/{name}": "644" for name in FILES}
    assert found == {"state.db": "640", "secrets.key": "600", "tls/ca.key": "600", "tls/ca.pem": "644", **files}
    assert await asyncio.to_thread(lambda: (tmp_path / "b").stat().st_mode & 0o777) == 0o700
    sizes = await asyncio.to_thread(lambda: [(tmp_path / "b" / name).stat().st_size for name in found])
    assert made.size_bytes == sum(sizes)
    assert await asyncio.to_thread(left, tmp_path) == ["b", "state"]


async def test_the_key_may_be_kept_elsewhere(tmp_path: Path) -> None:
    config = await site(tmp_path, applied=False)
    made = await asyncio.to_thread(lambda: backups.write(config, tmp_path / "b", AT, key=False))
    assert made.parts == ("state.db", "tls")


async def test_an_apply_meanwhile_is_copied_with_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = await site(tmp_path)
    copies = []

    def copied(source: Path, target: Path, at: float, key_file: Path | None) -> backup.Stopped:
        found = backup.copy(source, target, at, key_file)
        if not copies:
            asyncio.run(applied_meanwhile(config))
        copies.append(target)
        return found

    monkeypatch.setattr(backups, "copy", copied)
    await asyncio.to_thread(backups.write, config, tmp_path / "b", AT)
    folder = await asyncio.to_thread(backups.folder_in, tmp_path / "b" / "state.db")
    kept = generations(Config(store=Store(state_dir=str(tmp_path / "b"))))
    assert await asyncio.to_thread((kept.path(folder) / "bootenvs/a.yaml").read_text) == CHANGED["bootenvs/a.yaml"]
    assert len(copies) == 2


async def applied_meanwhile(config: Config) -> None:
    db = Database(config.state_dir / "state.db")
    await db.open()
    await apply(config, db, CHANGED)
    await db.close()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _damage(config: Config) -> None:
    file = next((config.state_dir / "catalogue").rglob("a.yaml"))
    file.write_text("something else")


BROKEN: dict[str, tuple[Callable[[Config], object], str]] = {
    "no store": (lambda config: (config.state_dir / "state.db").unlink(), "there is no store here"),
    "neither store nor key": (
        lambda config: [(config.state_dir / name).unlink() for name in ("state.db", "secrets.key")],
        "there is no store here",
    ),
    "no key": (lambda config: config.key_file.unlink(), "secrets.key: cannot read the key"),
    "the catalogue is damaged": (_damage, "holds something else than what was applied"),
    "the folder is there": (lambda config: config.state_dir.with_name("b").mkdir(), "b: is there already"),
}


@pytest.mark.parametrize(("change", "said"), BROKEN.values(), ids=BROKEN.keys())
async def test_nothing_is_left_of_one_that_failed(
    tmp_path: Path, change: Callable[[Config], object], said: str
) -> None:
    config = await site(tmp_path)
    await asyncio.to_thread(change, config)
    before = await asyncio.to_thread(left, tmp_path)
    with pytest.raises(ProvisionerError, match=said):
        await asyncio.to_thread(backups.write, config, tmp_path / "b", AT)
    assert await asyncio.to_thread(left, tmp_path) == before


async def test_a_folder_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    config = await site(tmp_path, applied=False)
    with pytest.raises(ProvisionerError, match="none: there is no such folder"):
        await asyncio.to_thread(backups.write, config, tmp_path / "none" / "b", AT)


async def test_a_daemon_that_starts_from_one_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = await site(tmp_path)
    await asyncio.to_thread(backups.write, config, tmp_path / "b", AT)
    for name, said in {"b": ["store.restored"], "state": []}.items():
        caplog.clear()
        restored = Config(store=Store(state_dir=str(tmp_path / name)))
        async with contextlib.AsyncExitStack() as stack:
            await Daemon(restored)._open_store(stack)
        assert [record.getMessage().split()[0] for record in caplog.records] == said
    await asyncio.to_thread((tmp_path / "b" / "state.db").unlink)
    async with contextlib.AsyncExitStack() as stack:
        await Daemon(Config(store=Store(state_dir=str(tmp_path / "b"))))._open_store(stack)
    assert caplog.records[-1].getMessage().startswith("store.empty ")
