"""A backup of a site: a new folder with all of its state directory that nobody else has, written whole or not at all.

Artefacts, mirrored packages and consoles' records are left out: the first two can be fetched again, and are large.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provisioner.catalog.generations import Generations
from provisioner.config import Config
from provisioner.durable import sync
from provisioner.errors import CatalogError, StoreError
from provisioner.shelves import generations
from provisioner.store.backup import Stopped, copy
from provisioner.store.declarations import folder_in
from provisioner.store.secrets import read_key

DATABASE, KEY, TLS, CATALOGUE = "state.db", "secrets.key", "tls", "catalogue"
"""What a backup holds, called as in the state directory."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What was written."""

    parts: tuple[str, ...]
    size_bytes: int
    stopped: Stopped


def write(config: Config, folder: Path, at: float, *, key: bool = True) -> Backup:
    """Write a backup, beside the daemon or without it. `at` is now; without `key` nobody can open its secrets.

    Blocks. Raises `StoreError`, `CatalogError` where what was applied is damaged, and `OSError`.
    """
    if folder.exists() or folder.is_symlink():
        raise StoreError(f"{folder}: is there already", hint="a backup is a folder of its own")
    if not folder.parent.is_dir():
        raise StoreError(f"{folder.parent}: there is no such folder")
    if not (source := config.database).is_file():
        raise StoreError(f"{source}: there is no store here", hint="does the configuration name its state_dir?")
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # 0700
    try:
        stopped = _fill(config, staged, at, key)
        for path in (*staged.rglob("*"), staged):
            sync(path)
        parts = tuple(sorted(path.name for path in staged.iterdir()))
        size_bytes = sum(path.stat().st_size for path in _files(staged))
        staged.rename(folder)
        sync(folder.parent)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise StoreError(f"{folder}: cannot be written: its disk is full") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Backup(parts, size_bytes, stopped)


def _fill(config: Config, staged: Path, at: float, key: bool) -> Stopped:
    key_file = None
    if key:
        key_file = staged / KEY
        with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(read_key(config.key_file))
    if (tls := config.state_dir / TLS).is_dir():
        _copy_tree(tls, staged / TLS)
    while True:
        stopped = copy(config.database, staged / DATABASE, at, key_file)
        folder = folder_in(staged / DATABASE)
        try:
            _copy_catalogue(generations(config), Generations(staged / CATALOGUE), folder)
        except (CatalogError, FileNotFoundError):
            if folder_in(config.database) == folder:
                raise
        else:
            return stopped
        (staged / DATABASE).unlink()  # another catalogue was applied meanwhile: that one, and its store
        shutil.rmtree(staged / CATALOGUE, ignore_errors=True)


def _copy_catalogue(kept: Generations, copies: Generations, folder: str) -> None:
    """Copy the catalogue that was applied last; raise `CatalogError` where it is not what was applied."""
    if folder:
        kept.check(folder)
        copies.path("").mkdir(mode=0o750)
        _copy_tree(kept.path(folder), copies.path(folder))
        copies.check(folder)


def _copy_tree(source: Path, target: Path) -> None:
    """Copy files and their modes; those whose name begins with a dot are being written by somebody."""
    target.mkdir(mode=source.stat().st_mode & 0o777)
    for path in source.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            _copy_tree(path, target / path.name)
        else:
            shutil.copy(path, target / path.name)  # nobody else may enter the folder meanwhile


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
