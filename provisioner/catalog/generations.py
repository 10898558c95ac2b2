"""Catalogues that were handed to the daemon: each in a folder named after its content, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from provisioner.durable import sync
from provisioner.errors import CatalogError, StoreError

FILE = re.compile(r"(bootenvs(/[A-Za-z0-9][A-Za-z0-9._+-]*)+\.yaml|templates(/[A-Za-z0-9][A-Za-z0-9._+-]*)+\.j2)")
"""What a catalogue consists of: nothing else is taken, and no name leads anywhere else."""
MAX_FILES = 4000
MAX_BYTES = 16 << 20
NAME_DIGITS = 32
_OURS = re.compile(rf"[0-9a-f]{{{NAME_DIGITS}}}|\.new-.*")


class Generations:
    """Folders below `root`. All calls block."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, folder: str) -> Path:
        """Say where a generation lies."""
        return self._root / folder

    def write(self, files: Mapping[str, str]) -> str:
        """Keep a catalogue durably; return the name of its folder. The same content is kept once.

        Raises `CatalogError` for what is no catalogue, `StoreError` where it cannot be written; nothing is left then.
        """
        faults = [f"{name[:80]!r}: not a file of a catalogue" for name in files if not FILE.fullmatch(name)]
        if len(files) > MAX_FILES or sum(len(text) for text in files.values()) > MAX_BYTES:
            faults.append(f"more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB")
        if faults:
            raise CatalogError("the catalogue is not taken", faults=faults)
        folder = _name_of({name: text.encode() for name, text in files.items()})
        try:
            self.check(folder)
        except CatalogError:
            try:
                self._make(folder, files)
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                why = "its disk is full" if full else str(error)
                hint = "free space, then try again" if full else ""
                raise StoreError(f"{self._root}: the catalogue cannot be written: {why}", hint=hint) from error
        return folder

    def check(self, folder: str) -> None:
        """Raise `CatalogError` where a generation is gone, or is not what was written."""
        path = self.path(folder)
        if not path.is_dir():
            raise CatalogError("catalogue", faults=[f"{path}: is gone"])
        try:
            names = {each.relative_to(path).as_posix(): each for each in path.rglob("*") if not each.is_dir()}
            same = len(names) <= MAX_FILES and _name_of({n: each.read_bytes() for n, each in names.items()}) == folder
        except OSError as error:
            raise CatalogError("catalogue", faults=[f"{path}: cannot be read: {error}"]) from error
        if not same:
            raise CatalogError("catalogue", faults=[f"{path}: holds something else than what was applied"])

    def _make(self, folder: str, files: Mapping[str, str]) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o750)
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=self._root))
        try:
            for name, text in files.items():
                path = made / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("w", encoding="utf-8", newline="") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
            for place in (*(each for each in made.rglob("*") if each.is_dir()), made):
                sync(place)
            if self.path(folder).is_dir():  # it was damaged
                self.path(folder).rename(made.with_name(f"{made.name}-damaged"))
            made.rename(self.path(folder))
            sync(self._root)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def sweep(self, keep: str) -> None:
        """Remove every generation but one, and what a write that was cut short has left; nothing else."""
        for path in self._root.iterdir() if self._root.is_dir() else ():
            if path.name != keep and _OURS.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)


def _name_of(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return digest.hexdigest()[:NAME_DIGITS]
