"""Applies directories of declarations: machines and catalogue together, all of it or nothing.

Everything is read and judged first. One transaction then has the machines, their secrets, their fixed addresses, the
folder of the catalogue's files and the revision; what is live follows it in one turn of the loop.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from provisioner.bmc.join import said_by
from provisioner.catalog.compare import compare
from provisioner.catalog.generations import Generations
from provisioner.catalog.load import Content
from provisioner.catalog.params import Layer
from provisioner.catalog.system import references
from provisioner.dhcp.book import DhcpBook
from provisioner.dhcp.subnets import Reservation
from provisioner.discovery.classify import Profiles
from provisioner.errors import BmcError, CatalogError, ConfigError, ConflictError, ProvisionerError, RenderError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.declared import (
    Applied,
    Classify,
    Deed,
    Difference,
    Planned,
    Terms,
    Wanted,
    become,
    bound,
    difference,
    hosts_of_others,
    kept_for,
    left_of,
    overtaken,
)
from provisioner.lifecycle.doors import check_board
from provisioner.lifecycle.events import describe
from provisioner.lifecycle.ports import Ports
from provisioner.lifecycle.registry import Machines
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver, secret_of
from provisioner.model.machine import Machine, State
from provisioner.shelves import Read, Shelf, read_all, unplaced
from provisioner.store.declarations import Batch, DeclarationStore
from provisioner.store.machines import Change
from provisioner.store.secrets import Secrets

log = logging.getLogger(__name__)

LOGINS_AT_ONCE = 128
"""BMCs that are met at once: they take turns where they are read at length, and each has its own time for it."""


class Templates(Protocol):
    """What renders; `catalog.renderer.RenderProcess` is the real one."""

    def load(self, codes: Mapping[str, bytes]) -> Awaitable[object]: ...


Boards = Mapping[str, tuple[BmcAddress, BmcIdentity]]
"""What BMCs that are new said, by the machine's name."""


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

        Raises `ConfigError` with every fault, `ConflictError` where somebody else was first. Who goes away meanwhile
        does not cut it in two: what is durable becomes live.
        """
        return await asyncio.shield(self._apply(wanted, after))

    async def _apply(self, wanted: Wanted, after: int | None) -> Planned:
        async with self._lock:
            if after is not None and after != self.applied.seq:
                raise ConflictError("something else was applied meanwhile", hint="plan again, and look")
            try:
                planned, found = await self._plan(wanted)
                if planned.faults or found is None:
                    raise ConfigError("nothing was applied", faults=planned.faults)
                try:
                    await self._write(wanted, planned, found)
                finally:
                    await self._conductor.doors.let_go(*_addresses(planned.deeds))
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
        faults, lines, found_now = list[str](), list[str](), None
        content, profiles = self._shelf.catalog.content, self._shelf.profiles
        try:
            found_now = await asyncio.to_thread(self._read, wanted.files)
        except CatalogError as error:
            faults += [unplaced(fault, self._generations) for fault in error.faults or [error.message]]
        else:
            lines = list(compare(content, found_now.read.content))
            content, profiles = found_now.read.content, found_now.read.profiles
            faults += _stranded(machines.moving(), content)
        terms = _terms(content, profiles, self._conductor.check_may_go)
        judge = partial(_judged, wanted, machines, self.applied, content, terms, fits=found_now is not None)
        found, named = await asyncio.to_thread(judge)
        faults += [*found.faults, *await self._faults_of_secrets(named)]
        faults += await self._book.faults(*_reservations(found.deeds, wanted, self.applied))
        planned = Planned(self.applied, wanted.revision, tuple(lines), tuple(found.deeds), tuple(faults))
        return planned, found_now

    def _read(self, files: Mapping[str, str]) -> _Found:
        """Read the catalogue that it would be. Blocks; raises `CatalogError` with every fault."""
        folder = self._generations.write(files) if files else ""
        return _Found(folder, read_all([*self._shelf.paths, *([self._generations.path(folder)] if folder else [])]))

    async def _faults_of_secrets(self, named: Sequence[str]) -> Sequence[str]:
        try:
            await self._ports.secrets(named)
        except RenderError as error:
            return error.faults or [error.message]
        return []

    async def _write(self, wanted: Wanted, planned: Planned, found: _Found) -> None:
        values = await self._ports.secrets(_references(planned.deeds))
        boards = await self._boards(planned.deeds, values, verify=wanted.verify)
        put, freed = _reservations(planned.deeds, wanted, self.applied)
        done = [deed for deed in planned.deeds if deed.what != "left"]
        ids = {deed.name: deed.machine.id if deed.machine is not None else str(uuid.uuid4()) for deed in done}
        recording, held = self._conductor.doors.recording, self._conductor.holding(ids.values())
        async with recording, held, self._book.adopting(put, freed):
            self._check_still_so(done, boards, found.read.content)
            now = self._conductor.clock.now()
            making = partial(self._changes, done, ids, boards, values, now, found.read.profiles.classify)
            changes = await asyncio.to_thread(making)
            applied = Applied(wanted.revision, found.folder, wanted.machines, at=now, left=left_of(planned.deeds))
            told = {"revision": wanted.revision, "machines": len(changes), "catalogue": len(planned.catalogue)}
            self.applied, events = await self._store.write(Batch(applied, changes, put, freed, told))
            loaded = self._use(found.read)
            for change in changes:
                if change.secrets:
                    self._secrets.written(change.secrets)
            await self._conductor.written(changes, events)
        await loaded
        for change in changes:
            if change.after is None and change.before is not None:
                await self._conductor.doors.forget(change.before)

    def _check_still_so(self, deeds: Sequence[Deed], boards: Boards, content: Content) -> None:
        """Raise `ConflictError` where a machine changed since it was judged: BMCs take up to a minute."""
        machines = self._conductor.machines
        others = _boards_of_others(deeds, boards, machines)
        kept = bound(deeds, self._conductor.check_may_go)  # a workflow may have begun on one of them
        if changed := [*overtaken(deeds, machines), *kept, *others, *_stranded(machines.moving(), content)]:
            more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            raise ConflictError(f"nothing was applied: {changed[0]}{more}", hint="plan again, and look")

    def _use(self, found: Read) -> Awaitable[object]:
        """Go by what was read from now on; what is asked after this is rendered with its templates."""
        self._shelf.adopt(found)
        return self._renderer.load(found.content.renderer.codes)

    def _changes(
        self,
        deeds: Sequence[Deed],
        ids: Mapping[str, str],
        boards: Boards,
        values: Mapping[str, str],
        now: float,
        classify: Classify,
    ) -> list[Change]:
        """Make out what is written of machines that are held, with the passwords of their boards."""
        changes = []
        for deed in deeds:
            change = self._change(deed, ids[deed.name], boards.get(deed.name), now, classify)
            if deed.login and change.after is not None and deed.declared is not None:
                password = {secret_of(change.after.id): values.get(deed.declared.password, "")}
                change = replace(change, secrets=self._secrets.seal(password))
            changes.append(change)
        return changes

    def _change(
        self, deed: Deed, machine_id: str, board: tuple[BmcAddress, BmcIdentity] | None, now: float, classify: Classify
    ) -> Change:
        before = self._conductor.machines.get(machine_id) if deed.machine is not None else None
        if deed.what == "forget":
            return Change(now, before, None, describe(before, None))
        assert deed.declared is not None
        declared = deed.declared
        start = before or Machine(machine_id, declared.name, State.ENROLLED, created=now)
        if board is not None:
            address, says = board
            declared = replace(declared, bmc=address)
            start = said_by(says, start, address)
        after = become(declared, start, now, classify)
        return Change(now, before, after, describe(before, after))

    async def _boards(self, deeds: Sequence[Deed], values: Mapping[str, str], *, verify: bool) -> Boards:
        """Log in to every BMC that is new; raise `ConfigError` with each that does not let us in or is another's."""
        wanted = [deed for deed in deeds if deed.login and deed.declared is not None and verify]
        room = asyncio.Semaphore(LOGINS_AT_ONCE)

        async def board(deed: Deed) -> tuple[BmcAddress, BmcIdentity]:
            async with room:
                return await self._board(deed, values)

        found = await asyncio.gather(*map(board, wanted), return_exceptions=True)
        faults, boards = [], {}
        for deed, says in zip(wanted, found, strict=True):
            if isinstance(says, ProvisionerError):
                faults.append(f"{deed.name}: {says}")
            elif isinstance(says, BaseException):
                raise says
            else:
                boards[deed.name] = says
        faults += _boards_of_others(deeds, boards, self._conductor.machines)
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
        return address, says


def _boards_of_others(deeds: Sequence[Deed], boards: Boards, machines: Machines) -> Iterator[str]:
    """Say which boards are not those of their machines, but of others on record that stay there, or among them."""
    yield from hosts_of_others(deeds, machines, {name: says for name, (_, says) in boards.items()})
    gone = {deed.machine.id for deed in deeds if deed.what == "forget" and deed.machine is not None}
    among = Machines()
    for deed in deeds:
        if deed.name not in boards:
            continue
        address, says = boards[deed.name]
        machine = deed.machine or Machine(deed.name, deed.name, State.ENROLLED)
        stay = [each for each in machines.like_board(says) if each.id not in gone]
        try:
            check_board(machine, address, says, [*stay, *among.like_board(says)])
        except ConflictError as error:
            yield f"{deed.name}: {error}"
        among.put(said_by(says, machine, address))


def _addresses(deeds: Sequence[Deed]) -> tuple[list[BmcAddress], list[BmcAddress]]:
    """List the BMCs that are declared, and those that were on record."""
    declared = [deed.declared.bmc for deed in deeds if deed.declared is not None and deed.declared.bmc is not None]
    return declared, [each for deed in deeds if deed.machine is not None for each in deed.machine.bmcs]


def _references(deeds: Sequence[Deed]) -> list[str]:
    return sorted({deed.declared.password for deed in deeds if deed.login and deed.declared and deed.declared.password})


def _terms(content: Content, profiles: Profiles, check_may_go: Callable[[Machine], None]) -> Terms:
    named = {layer: frozenset(name for kind, name in content.values if kind == layer) for layer in ("profile", "role")}
    known = named["profile"] | {each.name for each in profiles.profiles}
    return Terms(content.declarations.shown, profiles.classify, known, named["role"], check_may_go)


def _judged(
    wanted: Wanted, machines: Machines, last: Applied, content: Content, terms: Terms, *, fits: bool
) -> tuple[Difference, list[str]]:
    """Say what follows from declarations alone, and name the secrets that new and changed machines refer to.

    Takes a second for a few thousand machines: in a thread, where DHCP does not wait for it. `fits`: parameters that
    the catalogue does not take are faults.
    """
    declarations = content.declarations
    found = difference(wanted.machines, machines, last, prune=wanted.prune, terms=terms)
    changed, named, unfit = {deed.name for deed in found.deeds}, set(_references(found.deeds)), list[str]()
    for each in wanted.machines:
        try:
            layer = declarations.checked(Layer("machine", f"machine {each.name}", each.params or {}))
        except ConfigError as error:
            unfit += [f"{each.source}: {fault}" for fault in error.faults or [error.message]]
        else:
            if each.name in changed and each.params:
                named.update(references(declarations.resolve([layer])))
    if not wanted.verify:
        found.faults += hosts_of_others(found.deeds, machines, {})
    if fits:
        found.faults[:0] = unfit
    return found, sorted(named)


def _reservations(deeds: Sequence[Deed], wanted: Wanted, before: Applied) -> tuple[list[Reservation], list[str]]:
    """Say which fixed addresses are set, and which hardware addresses lose theirs."""
    put = [
        Reservation(mac=deed.declared.macs[0], address=deed.declared.address, name=deed.declared.name)
        for deed in deeds
        if deed.fixed and deed.declared is not None and deed.declared.address
    ]
    keep = {kept_for(each)[1] for each in (*wanted.machines, *left_of(deeds))}
    return put, sorted({kept_for(each)[1] for each in before.holds()} - keep - {""})


def _stranded(machines: Sequence[Machine], content: Content) -> Iterator[str]:
    """Say which runs the catalogue would leave without a bootenv."""
    for machine in machines:
        run = machine.run
        if run is not None and run.step is not None and run.bootenv and run.bootenv not in content.bootenvs:
            yield f"{machine.name} is {machine.state} with {run.bootenv}, which the catalogue would not have"
