"""What the indexes of package mirrors say of their packages: SUMS/HEX.sorted for the index of this hash.

Each is read once, by a process of its own (packageindex.py), before any package that it may name is given. The one that
was given last goes before the others: repositories sign or build packages anew under the names that they had.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from provisioner.catalog import packageindex
from provisioner.model.mirror import Kept, is_index, place_of, root_of, roots

log = logging.getLogger(__name__)

T = TypeVar("T")

GENERATIONS = 4
"""Of all that stood in one place so many are heeded: an index is there packed in two ways, and those before it."""


class IndexSums:
    """What was read, in `folder`. `content` says where the index of a hash lies."""

    def __init__(self, folder: Path, content: Callable[[str], Path]) -> None:
        self._folder, self._content = folder, content
        self._given: dict[tuple[str, str], dict[str, Kept]] = {}
        """The indexes of a mirror by where their paths begin, then by path; the one that was given last is the last."""
        self._reading = asyncio.Lock()
        self._unread: set[str] = set()
        """Indexes that were not read yet: they came just now, or the daemon before ended amid it."""

    def prepare(self, indexes: set[str]) -> None:
        """Have what these say, and nothing else, nor anything half written. Blocks."""
        self._folder.mkdir(mode=0o750, exist_ok=True)
        wanted = {self._file(sha256): sha256 for sha256 in indexes}
        found = set(self._folder.iterdir())
        for path in found - wanted.keys():
            path.unlink(missing_ok=True)
        self._unread = {wanted[path] for path in wanted.keys() - found}

    def forget(self, indexes: Iterable[str]) -> None:
        """Drop what these say. Blocks."""
        for sha256 in indexes:
            self._file(sha256).unlink(missing_ok=True)

    def given(self, kept: Kept) -> None:
        """Go by this before all others from now on, where it is an index."""
        if is_index(kept.path):
            beside = self._given.setdefault((kept.mirror, root_of(kept.path)), {})
            beside.pop(kept.path, None)
            beside[kept.path] = kept
            place = place_of(kept.path)
            for path in [path for path in beside if place_of(path) == place][:-GENERATIONS]:
                del beside[path]

    def gone(self, kept: Kept) -> None:
        """Go by this no more."""
        if is_index(kept.path):
            self._given.get((kept.mirror, root_of(kept.path)), {}).pop(kept.path, None)

    async def learn(self, index: Kept) -> None:
        """Read an index that came."""
        if not await _in_thread(self._file(index.sha256).exists):
            self._unread.add(index.sha256)
            await self._know(index)

    async def newest(self, mirror: str, path: str) -> str:
        """What the index that was given last says the SHA-256 of a package is; empty where none names it."""
        places = await self._places(mirror, path)
        return await _in_thread(lambda: next(_look_up(places), "")) if places else ""

    async def named(self, mirror: str, path: str) -> tuple[str, ...]:
        """All that the indexes say the SHA-256 of a package is, the one that was given last first."""
        places = await self._places(mirror, path)
        return await _in_thread(lambda: tuple(dict.fromkeys(_look_up(places)))) if places else ()

    async def _places(self, mirror: str, path: str) -> list[tuple[Path, str]]:
        """Where a package may be named, and as what."""
        if is_index(path):
            return []
        found = [(root, self._given.get((mirror, root), {})) for root in roots(path)]
        indexes = [(root, index) for root, beside in found for index in reversed(beside.values())]
        for _, index in indexes:
            await self._know(index)
        return [(self._file(index.sha256), path.removeprefix(root)) for root, index in indexes]

    def _file(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.sorted"

    async def _know(self, index: Kept) -> None:
        """Have an index read, one at a time, where that was not done yet."""
        if index.sha256 not in self._unread:
            return
        async with self._reading:
            if index.sha256 in self._unread:
                reason = await self._read(index.sha256)
                self._unread.discard(index.sha256)
                if reason:
                    log.warning("mirror.index mirror=%s path=%s: %s", index.mirror, index.path, reason)

    async def _read(self, sha256: str) -> str:
        """Have the hashes of an index's packages read; say why where that could not be done."""
        words = ("-m", "provisioner.catalog.packageindex", str(self._content(sha256)), str(self._file(sha256)))
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *words, stderr=asyncio.subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            return str(error)
        try:
            _, said = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()  # to the end of its output: a pipe that is left open outlives the loop
        return said.decode("utf-8", "replace").strip()[-200:] or "it ended early" if process.returncode else ""


def _look_up(places: list[tuple[Path, str]]) -> Iterator[str]:
    for sums, name in places:
        with contextlib.suppress(OSError, ValueError):
            if digest := packageindex.look_up(sums, name):
                yield digest


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work)
