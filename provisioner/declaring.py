"""Applies directories of declarations: machines and catalogue together, all of it or nothing.

Everything is read and judged first. One transaction then has the machines, their secrets, their fixed addresses, the
folder of the catalogue's files and the revision; what is live follows it in one turn of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from provisioner.bmc.ways import secret_of
from provisioner.catalog.compare import compare
from provisioner.catalog.generations import Generations
from provisioner.catalog.load import Content
from provisioner.catalog.params import Declarations, Layer
from provisioner.catalog.system import references
from provisioner.dhcp.book import DhcpBook
from provisioner.dhcp.subnets import Reservation
from provisioner.errors import BmcError, CatalogError, ConfigError, ConflictError, ProvisionerError, RenderError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.declared import Applied, Declared, Deed, Planned, Wanted, become, difference
from provisioner.lifecycle.doors import check_board
from provisioner.lifecycle.events import describe
from provisioner.lifecycle.ports import Ports
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver
from provisioner.model.machine import Machine, State
from provisioner.shelves import Read, Shelf, read_all, unplaced
from provisioner.store.declarations import Batch, DeclarationStore
from provisioner.store.machines import Change
from provisioner.store.secrets import Secrets

log = logging.getLogger(__name__)


class Templates(Protocol):
    """What renders; `catalog.renderer.RenderProcess` is the real one."""

    def load(self, templates: Mapping[str, str]) -> Awaitable[object]: ...


@dataclass(frozen=True, slots=True)
class _Found:
    """A catalogue that is not in use yet, and the folder that its files are kept in."""

    folder: str
    read: Read


class Declaring:
    """Plans and applies, one at a time."""

    def __init__(  # noqa: PLR0913  the daemon joins the parts here
        self,
        conductor: Conductor,
        ports: Ports,
        secrets: Secrets,
        book: DhcpBook,
        shelf: Shelf,
        *,
        renderer: Templates,
        store: DeclarationStore,
        generations: Generations,
        applied: Applied,
    ) -> None:
        self._conductor, self._ports, self._secrets, self._book = conductor, ports, secrets, book
        self._shelf, self._renderer, self._store, self._generations = shelf, renderer, store, generations
        self._lock = asyncio.Lock()
        self.applied = applied
        """What was applied last."""

    async def plan(self, wanted: Wanted) -> Planned:
        """Say what an apply would do, and why it would be refused; nothing is changed."""
        async with self._lock:
            planned, _ = await self._plan(wanted)
            await asyncio.to_thread(self._generations.sweep, self.applied.folder)
            return planned

    async def apply(self, wanted: Wanted, after: int | None = None) -> Planned:
        """Do it, all or nothing; `after` is the number of what was applied when it was planned.

        Raises `ConfigError` with every fault, `ConflictError` where somebody else was first.
        """
        async with self._lock:
            if after is not None and after != self.applied.seq:
                raise ConflictError("something else was applied meanwhile", hint="plan again, and look")
            try:
                planned, found = await self._plan(wanted)
                if planned.faults or found is None:
                    raise ConfigError("nothing was applied", faults=planned.faults)
                await self._write(wanted, planned, found)
            finally:
                await asyncio.to_thread(self._generations.sweep, self.applied.folder)
        log.info(
            "site.applied revision=%s machines=%d catalogue=%d",
            wanted.revision or "none", len(planned.deeds), len(planned.catalogue),
        )  # fmt: skip
        return planned

    @property
    def lacking(self) -> Sequence[str]:
        """Why what was applied last is not in use; empty where it is."""
        return self._shelf.lacking

    async def _plan(self, wanted: Wanted) -> tuple[Planned, _Found | None]:
        machines = self._conductor.machines
        faults, lines, found_now, content = list[str](), list[str](), None, self._shelf.catalog.content
        try:
            found_now = await asyncio.to_thread(self._read, wanted.files)
        except CatalogError as error:
            faults += [unplaced(fault, self._generations) for fault in error.faults or [error.message]]
        else:
            lines, content = list(compare(content, found_now.read.content)), found_now.read.content
            faults += _unfit(wanted.machines, machines.all(), content)
        shown = content.declarations.shown
        found = difference(wanted.machines, machines, self.applied, prune=wanted.prune, shown=shown)
        faults += [*found.faults, *await self._faults_of_secrets(found.deeds, content.declarations)]
        put, _ = _reservations(found.deeds, self.applied)
        faults += self._book.faults(put)
        planned = Planned(self.applied, wanted.revision, tuple(lines), tuple(found.deeds), tuple(faults))
        return planned, found_now

    def _read(self, files: Mapping[str, str]) -> _Found:
        """Read the catalogue that it would be. Blocks; raises `CatalogError` with every fault."""
        folder = self._generations.write(files) if files else ""
        return _Found(folder, read_all([*self._shelf.paths, *([self._generations.path(folder)] if folder else [])]))

    async def _faults_of_secrets(self, deeds: Sequence[Deed], declarations: Declarations) -> Sequence[str]:
        try:
            await self._ports.secrets(sorted({*_references(deeds), *_named(deeds, declarations)}))
        except RenderError as error:
            return error.faults or [error.message]
        return []

    async def _write(self, wanted: Wanted, planned: Planned, found: _Found) -> None:
        values = await self._ports.secrets(_references(planned.deeds))
        boards = await self._boards(planned.deeds, values, verify=wanted.verify)
        put, freed = _reservations(planned.deeds, self.applied)
        held = [deed.machine.id for deed in planned.deeds if deed.machine is not None]
        async with self._conductor.holding(held), self._book.adopting(put, freed):
            now = self._conductor.clock.now()
            changes, sealed = [], []
            for deed in planned.deeds:
                change = self._change(deed, boards.get(deed.name), now)
                if change is None:
                    continue
                changes.append(change)
                if deed.login and change.after is not None and deed.declared is not None:
                    name = secret_of(change.after.id)
                    sealed.append((name, self._secrets.seal(name, values.get(deed.declared.password, ""))))
            applied = Applied(wanted.revision, found.folder, wanted.machines, at=now)
            told = {"revision": wanted.revision, "machines": len(changes), "catalogue": len(planned.catalogue)}
            self.applied, events = await self._store.write(Batch(applied, changes, sealed, put, freed, told))
            loaded = self._use(found.read)
            for name, locked in sealed:
                self._secrets.written(name, locked)
            self._conductor.written(changes, events)
        await loaded
        for change in changes:
            if change.after is None and change.before is not None:
                await self._conductor.doors.forget(change.before)

    def _use(self, found: Read) -> Awaitable[object]:
        """Go by what was read from now on; what is asked after this is rendered with its templates."""
        self._shelf.adopt(found)
        return self._renderer.load(found.content.templates)

    def _change(self, deed: Deed, board: tuple[BmcAddress, BmcIdentity] | None, now: float) -> Change | None:
        before = self._conductor.machines.get(deed.machine.id) if deed.machine is not None else None
        if deed.what == "forget":
            return Change(now, before, None, describe(before, None))
        if deed.declared is None:
            return None
        declared = deed.declared
        start = before or Machine(str(uuid.uuid4()), declared.name, State.ENROLLED, created=now)
        if board is not None:
            address, says = board
            declared = replace(declared, bmc=address)
            start = replace(start, uuid=start.uuid or says.uuid, serial=start.serial or says.serial)
        after = become(declared, start, now)
        return Change(now, before, after, describe(before, after))

    async def _boards(
        self, deeds: Sequence[Deed], values: Mapping[str, str], *, verify: bool
    ) -> dict[str, tuple[BmcAddress, BmcIdentity]]:
        """Log in to every BMC that is new; raise `ConfigError` with each that does not let us in."""
        wanted = [deed for deed in deeds if deed.login and deed.declared is not None and verify]
        found = await asyncio.gather(*(self._board(deed, values) for deed in wanted), return_exceptions=True)
        faults, boards = [], {}
        for deed, board in zip(wanted, found, strict=True):
            if isinstance(board, ProvisionerError):
                faults.append(f"{deed.name}: {board}")
            elif isinstance(board, BaseException):
                raise board
            else:
                boards[deed.name] = board
        if faults:
            raise ConfigError("nothing was applied", faults=faults)
        return boards

    async def _board(self, deed: Deed, values: Mapping[str, str]) -> tuple[BmcAddress, BmcIdentity]:
        assert deed.declared is not None
        assert deed.declared.bmc is not None
        address, password = deed.declared.bmc, values.get(deed.declared.password, "")
        if address.driver is Driver.REDFISH and not address.fingerprint:
            address = replace(address, fingerprint=await self._ports.bmcs.fingerprint(address))
        try:
            says = await self._ports.bmcs.identify(address, password)
        except TimeoutError as error:
            raise BmcError(f"{address}: no answer") from error
        check_board(deed.machine or Machine("", deed.name, State.ENROLLED), address, says)
        return address, says


def _references(deeds: Sequence[Deed]) -> list[str]:
    return sorted({deed.declared.password for deed in deeds if deed.login and deed.declared and deed.declared.password})


def _named(deeds: Sequence[Deed], declarations: Declarations) -> Iterator[str]:
    """List the secrets that parameters of machines refer to. What does not fit is a fault of its own."""
    for deed in deeds:
        if deed.declared is not None and deed.declared.params:
            layer = Layer("machine", deed.name, deed.declared.params)
            with contextlib.suppress(ConfigError):
                yield from references(declarations.resolve([declarations.checked(layer)]))


def _reservations(deeds: Sequence[Deed], before: Applied) -> tuple[list[Reservation], list[str]]:
    """Say which fixed addresses are set, and which hardware addresses lose theirs."""
    put: list[Reservation] = []
    freed: list[str] = []
    said = before.by_name()
    for deed in deeds:
        declared, was = deed.declared, said.get(deed.name)
        if deed.fixed and declared is not None and declared.address:
            put.append(Reservation(mac=declared.macs[0], address=declared.address, name=declared.name))
        elif was is not None and was.address and (deed.fixed or deed.what == "forget"):
            freed.append(was.macs[0])
    return put, freed


def _unfit(wanted: Sequence[Declared], machines: Sequence[Machine], content: Content) -> list[str]:
    """Say which declared parameters the catalogue does not take, and which runs it would leave without a bootenv."""
    faults = []
    for each in wanted:
        try:
            content.declarations.checked(Layer("machine", f"machine {each.name}", each.params or {}))
        except ConfigError as error:
            faults += [f"{each.source}: {fault}" for fault in error.faults or [error.message]]
    for machine in machines:
        run = machine.run
        if run is not None and run.step is not None and run.bootenv and run.bootenv not in content.bootenvs:
            faults.append(f"{machine.name} is {machine.state} with {run.bootenv}, which the catalogue would not have")
    return faults
