"""What comes from catalogue directories: ours, the configuration's, and what was applied, read together or not at all.

Where what was applied is damaged, gone, or does not fit (an upgrade renamed what it uses), a daemon starts without it:
DHCP, running machines and `apply`, which mends it, are wanted then most of all. But nothing is resolved that would have
had a part of it in it, so nothing is installed with the values of nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioner.catalog.generations import Generations
from provisioner.catalog.load import Catalog, Content, read, shipped
from provisioner.config import Config
from provisioner.discovery.classify import Profiles
from provisioner.discovery.profiles import load_profiles
from provisioner.errors import CatalogError, LackingError, StoreError
from provisioner.lifecycle.declared import Applied
from provisioner.model.facts import Facts
from provisioner.model.intent import Tell
from provisioner.store.db import Database
from provisioner.store.declarations import DeclarationStore
from provisioner.workflow.load import Library, load_workflows

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Read:
    """What directories hold, consistent in itself; it is not in use yet."""

    roots: tuple[Path, ...]
    content: Content
    profiles: Profiles
    library: Library


def read_all(paths: Sequence[Path]) -> Read:
    """Read ours and `paths`; raise `CatalogError` with every fault of all of it. Blocks."""
    faults: list[str] = []
    roots = (shipped(), *paths)
    content = profiles = library = None
    try:
        content = read(roots)
    except CatalogError as error:
        faults += error.faults
    try:
        profiles = load_profiles(paths)
    except CatalogError as error:
        faults += error.faults
    try:
        library = load_workflows(paths)
    except CatalogError as error:
        faults += error.faults
    if content is None or profiles is None or library is None:
        raise CatalogError("catalogue", faults=faults)
    return Read(roots, content, profiles, library)


@dataclass(slots=True)
class Shelf:
    """What comes from catalogue directories, as it is used now; `paths` are those of the configuration."""

    catalog: Catalog
    profiles: Profiles
    library: Library
    paths: Sequence[Path] = ()
    lacking: tuple[str, ...] = ()
    """Why what was applied is not in use; empty where it is, or where nothing was applied."""

    def lack(self, faults: Sequence[str]) -> None:
        """Go without what was applied, for these reasons, until there is something else to go by."""
        self.lacking = tuple(faults)
        self.catalog.lacking = self.library.lacking = LackingError(
            f"what was applied last is not in use: {faults[0]}", hint="`provisionctl apply DIR` mends it"
        )

    def adopt(self, found: Read) -> None:
        """Go by what was read from now on."""
        self.lacking = ()
        self.catalog.adopt(found.roots, found.content)
        self.profiles = found.profiles
        self.library.adopt(found.library)

    def classify(self, facts: Facts) -> tuple[str, str]:
        """Name the hardware profile of facts, and say why; raise `LackingError` where profiles may be missing."""
        if self.catalog.lacking is not None:
            raise self.catalog.lacking
        return self.profiles.classify(facts)


def paths_of(config: Config) -> list[Path]:
    """Say which directories of the site's own the configuration names."""
    return [Path(path) for path in config.catalogue.paths]


def generations(config: Config) -> Generations:
    """Say where applied catalogues are kept."""
    return Generations(config.state_dir / "catalogue")


async def shelf_of(config: Config, db: Database) -> tuple[Shelf, Applied]:
    """Read every catalogue directory; raise `CatalogError` where ours or the configuration's are at fault."""
    applied = await DeclarationStore(db).last()
    return await asyncio.to_thread(_shelf, config, applied.folder), applied


def _shelf(config: Config, folder: str) -> Shelf:
    paths = paths_of(config)
    faults: Sequence[str] = ()
    try:
        found = read_applied(config, folder)
    except CatalogError as error:
        faults, found = error.faults, read_all(paths)
    shelf = Shelf(Catalog(found.roots, found.content), found.profiles, found.library, paths)
    if faults:
        shelf.lack(faults)
    return shelf


def read_applied(config: Config, folder: str) -> Read:
    """Read ours, the configuration's and what was applied; raise `CatalogError` with every fault. Blocks."""
    paths, kept = paths_of(config), generations(config)
    if not folder:
        return read_all(paths)
    kept.check(folder)
    try:
        return read_all([*paths, kept.path(folder)])
    except CatalogError as error:
        raise CatalogError("catalogue", faults=[unplaced(fault, kept) for fault in error.faults]) from error


async def tell_lacking(faults: Sequence[str], tell: Tell) -> None:
    """Say at a start why what was applied last is not in use, where that is so."""
    if faults:
        for fault in faults:
            log.error("site.lacking %s", fault)
        with contextlib.suppress(StoreError):  # full: the log has it
            await tell("site.lacking", {"faults": list(faults)})


def unplaced(fault: str, kept: Generations) -> str:
    """Name a file as the operator does: without the folder that we keep it in."""
    before, found, after = fault.partition(f"{kept.path('')}/")
    return before + after.partition("/")[2] if found else fault
