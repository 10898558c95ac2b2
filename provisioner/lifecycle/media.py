"""CDs of machines that boot without a network: made for one run, given to its BMC alone, taken out and removed again.

While a medium is in, or may be, its file is there: what is left of a run that stopped on its way is found by it, also
after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from provisioner.bmc.ways import Ways
from provisioner.boot.files import ServedFile
from provisioner.boot.medium import BIOS_IMAGE, EFI, ip_arguments
from provisioner.errors import ArtifactError, BmcError, ConflictError, NotFoundError, ProvisionerError, TicketError
from provisioner.lifecycle.boots import Boots
from provisioner.lifecycle.discs import files_of, read_programs, write
from provisioner.lifecycle.places import static_place
from provisioner.lifecycle.plans import goes_by_medium
from provisioner.lifecycle.ports import Ports
from provisioner.lifecycle.preflight import by_medium
from provisioner.lifecycle.rendering import starts_with
from provisioner.model.bmc import BmcAddress
from provisioner.model.boot import Place
from provisioner.model.catalog import Bootenv
from provisioner.model.intent import Check
from provisioner.model.machine import Machine
from provisioner.model.net import Mac
from provisioner.model.trace import NOW, Channel, Observe, TraceLine
from provisioner.store.tokens import Purpose, Tokens

log = logging.getLogger(__name__)

INSERT, EJECT = "vmedia.insert", "vmedia.eject"
_MACHINE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The id of a machine, by which its medium is called."""
PAUSES_S = (5.0, 30.0, 120.0, 600.0)
"""Between tries to take out what a run left in; the last one repeats."""


class Media:
    """The CDs of all machines. `run` takes out what is left over, until cancelled."""

    def __init__(self, folder: Path, boots: Boots, tokens: Tokens, ports: Ports, ways: Ways, observe: Observe) -> None:
        self._folder = folder
        self._machines = boots.machines
        self._boots = boots
        self._tokens = tokens
        self._ports = ports
        self._ways = ways
        self._observe = observe
        self._in: set[str] = set()
        """Machines (ids) whose medium has a file."""
        self._left: asyncio.Queue[str] = asyncio.Queue()
        self._clearing: dict[str, asyncio.Event] = {}
        """Those whose medium is being taken out, and what has it tried at once: some boards keep it for days."""
        self.served: Callable[[str], ServedFile | None] = lambda _name: None
        """Finds loaders (by name) and artefacts (`artifacts/BOOTENV/ARCH/NAME`) that we serve."""
        self.listens: Callable[[str], bool] = lambda _address: True
        """Says whether machines and BMCs are served on an address of ours."""

    # before a run

    def checks(self, machine: Machine, bootenv: Bootenv, given: Mapping[str, Any]) -> list[Check]:
        """Judge whether a machine can boot a bootenv by a medium, with these parameters for this boot alone."""
        system = starts_with(self._ports.catalogue, bootenv)
        place = self._place(machine, bootenv, given)
        programs = self._names(machine)
        return by_medium(machine, system, place[1] if place else None, bool(programs))

    def _place(self, machine: Machine, bootenv: Bootenv, given: Mapping[str, Any]) -> tuple[Mac, Place] | None:
        """Say by which of its ports a machine reaches us, and at which address: by its parameters or a reservation."""
        params = self._ports.catalogue.params(bootenv, machine, given).values
        nics = machine.facts.nics if machine.facts else ()
        for mac in machine.macs:
            place = static_place(params, nics, mac) or self._ports.network.place_of(mac)
            if place is not None:
                return mac, place
        return None

    # steps of a run

    async def perform(self, machine: Machine, step: str) -> str:
        """Do a step; return a note for the journal. Raises a `ProvisionerError`."""
        if step == "media.eject":
            await self._eject(machine)
            return "the medium is out"
        at, size_bytes = await self._make(machine)
        await self._ways.ask(machine, EJECT, self._call(EJECT))
        await self._ways.ask(machine, INSERT, partial(self._insert, machine, at))
        return f"a medium of {size_bytes >> 20} MiB is in"

    async def _insert(self, machine: Machine, at: Place, to: BmcAddress, password: str) -> None:
        assert machine.run is not None
        now = self._boots.clock.now()
        token = await self._tokens.mint(Purpose.MEDIUM, machine.macs[0], machine.id, machine.run.id, "", now)
        base = self._ports.network.base_url(await _address_of(to.host))
        if not self.listens(urlsplit(base).hostname or ""):  # on the BMCs' network we are not: by way of the machines'
            base = self._ports.network.base_url(at.address)
        uri = f"{base}/media/{token}/{machine.name}.iso"
        await self._ports.bmcs.do(to, password, INSERT, uri=uri)

    def _call(self, verb: str) -> Callable[[BmcAddress, str], Awaitable[object]]:
        return lambda to, password: self._ports.bmcs.do(to, password, verb)

    async def _eject(self, machine: Machine) -> None:
        await self._ways.ask(machine, EJECT, self._call(EJECT))
        await self._remove(machine.id)

    async def _make(self, machine: Machine) -> tuple[Place, int]:
        """Write the medium of a run, of which a machine has one at most; return its machine's place, and its size."""
        run = machine.run
        assert run is not None
        bootenv = self._ports.catalogue.bootenv(run.bootenv or "discovery")
        system, place = starts_with(self._ports.catalogue, bootenv), self._place(machine, bootenv, run.params)
        if place is None:
            raise ConflictError(f"{machine.name} has no address of its own any more", hint="params or a reservation")
        mac, at = place
        record = await self._boots.record(mac, machine, system, at.address)
        arch = self._boots.arch_of(mac)
        files = [self._file(f"artifacts/{system.name}/{arch}/{name}") for name in files_of(system, arch)]
        words = record.title, f"{record.args} {ip_arguments(at, machine.name)}"
        path = self._folder / f"{machine.id}.iso"
        self._in.add(machine.id)
        programs = await asyncio.to_thread(read_programs, {name: self._file(name) for name in self._names(machine)})
        return at, await asyncio.to_thread(write, path, files, words, programs, arch)

    def _names(self, machine: Machine) -> list[str]:
        """Name the loaders for a machine's firmware; of firmware that nobody knows yet, all that there are."""
        firmware = machine.facts.firmware if machine.facts else ""
        names = EFI.get(self._boots.arch_of(machine.macs[0]) if machine.macs else "amd64")
        found = []
        if names is not None and firmware != "bios" and self.served(names.grub):
            secure = machine.facts is not None and machine.facts.secure_boot
            found += [names.grub, *([names.shim] if secure else [])]
        if names is EFI["amd64"] and firmware != "uefi" and self.served(BIOS_IMAGE):
            found.append(BIOS_IMAGE)
        return found

    def _file(self, name: str) -> ServedFile:
        file = self.served(name)
        if file is None:
            raise ArtifactError(f"{name} is not in store any more")
        return file

    # giving it to the BMC

    async def find(self, token: str) -> ServedFile:
        """Find the medium that a BMC asks for; raise `TicketError`."""
        bearer = self._tokens.check(token, Purpose.MEDIUM, "", self._boots.clock.now())
        machine = self._machines.find(bearer.machine)
        if machine is None or not _under_way(machine) or machine.run is None or machine.run.id != bearer.run:
            raise TicketError("this medium is not to be had")
        path = self._folder / f"{machine.id}.iso"
        try:
            size_bytes = (await asyncio.to_thread(path.stat)).st_size
        except OSError as error:
            raise NotFoundError("this medium is not to be had") from error
        return ServedFile(f"{machine.name}.iso", path, size_bytes, bearer.digest)

    # what is left over

    def __call__(self, before: Machine | None, after: Machine | None) -> None:
        """Hear of a change: a run that stopped on its way may have left its medium in."""
        known = after or before
        if known is not None and known.id in self._in and (after is None or not _under_way(after)):
            self._left.put_nowait(known.id)
            if (soon := self._clearing.get(known.id)) and (after is None or (before and _under_way(before))):
                soon.set()  # it is another run's by now, and the board may give that one back

    async def run(self) -> None:
        """Take out what runs leave in, now and from now on."""
        self._clearing.clear()  # tasks of a run before this one are gone, those too that had not begun
        self._in |= set(await asyncio.to_thread(_held, self._folder))
        for machine_id in tuple(self._in):
            machine = self._machines.find(machine_id)
            if machine is None or not _under_way(machine):
                self._left.put_nowait(machine_id)
        async with asyncio.TaskGroup() as group:
            while True:
                machine_id = await self._left.get()
                if machine_id not in self._clearing:
                    soon = self._clearing[machine_id] = asyncio.Event()
                    group.create_task(self._clear(machine_id, soon))

    async def _clear(self, machine_id: str, soon: asyncio.Event) -> None:
        """Take a medium out, unless another run has one in."""
        try:
            await self._take_out(machine_id, soon)
        finally:
            self._clearing.pop(machine_id, None)

    async def _take_out(self, machine_id: str, soon: asyncio.Event) -> None:
        """Try it with pauses, which end where a run does."""
        pauses = iter(PAUSES_S)
        while True:
            machine = self._machines.find(machine_id)
            if machine_id not in self._in or (machine is not None and _under_way(machine)):
                return
            try:
                if machine is None:
                    await self._remove(machine_id)
                    return
                await self._eject(machine)
            except ProvisionerError as error:
                text = f"the medium of a run that ended may still be in: {error}"
                if machine is None:
                    log.warning("bmc.media-left machine=%s %s", machine_id, text)
                else:
                    self._see(machine, "bmc.media-left", text, ok=False)
                if await _comes(soon, next(pauses, PAUSES_S[-1])):
                    pauses = iter(PAUSES_S)
            else:
                self._see(machine, "bmc.media-out", "the medium of a run that ended was taken out")

    async def _remove(self, machine_id: str) -> None:
        await self._tokens.end(machine_id, Purpose.MEDIUM)
        path = self._folder / f"{machine_id}.iso"
        try:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be removed: {error.strerror}") from error
        self._in.discard(machine_id)

    def _see(self, machine: Machine, event: str, text: str, *, ok: bool = True) -> None:
        (log.info if ok else log.warning)("%s machine=%s %s", event, machine.name, text)
        self._observe(TraceLine(NOW, Channel.BMC, event, text, None, machine.id, "", ok))


def _under_way(machine: Machine) -> bool:
    return machine.run is not None and machine.run.step is not None and goes_by_medium(machine.run)


async def _comes(event: asyncio.Event, limit_s: float) -> bool:
    """Wait for an event so long; say whether it came, and begin anew."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await event.wait()
    came = event.is_set()
    event.clear()
    return came


def _held(folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    return [path.stem for path in folder.glob("*.iso") if _MACHINE.fullmatch(path.stem)]


async def _address_of(host: str) -> str:
    """Look up the address of a BMC that is on record by name."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        raise BmcError(f"{host}: {getattr(error, 'strerror', error)}") from error
    return str(found[0][4][0])
