"""More than one way to a machine's board: put on record only where it is the same board, by UUID or serial number."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import replace

from provisioner.bmc.join import at_host, match, on_record, said_by, sole_twin, twin_of
from provisioner.bmc.rotation import NEXT, make_password
from provisioner.clock import SteadyClock
from provisioner.errors import BmcError, ConflictError, NotFoundError
from provisioner.lifecycle import rest
from provisioner.lifecycle.ports import Bmcs
from provisioner.lifecycle.registry import Machines
from provisioner.lifecycle.runner import Runner
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver, secret_of
from provisioner.model.intent import Asked, EnrolRequest
from provisioner.model.machine import Machine, State
from provisioner.model.uuids import are_two
from provisioner.store.sealed import Sealed
from provisioner.store.secrets import Secrets
from provisioner.uncut import uncut

MADE = "/made"
"""What the name of the secret ends with that is the password of an account that is being made from inside a machine."""


class Doors:
    """Puts machines with their boards on record, adds and removes ways."""

    def __init__(self, machines: Machines, runner: Runner, bmcs: Bmcs, secrets: Secrets, clock: SteadyClock) -> None:
        self._clock = clock
        self._machines = machines
        self._runner = runner
        self._bmcs = bmcs
        self._secrets = secrets
        self.recording = asyncio.Lock()
        """Whose a board is, is looked up and put on record by one at a time, though many may have asked boards at once.

        It is taken before the locks of machines.
        """

    async def enrol(self, request: EnrolRequest, intent: Asked) -> Machine:
        """Put a machine on record, with its BMC; if that is wanted, it has to let us in before anything is written."""
        self._check_new(request)
        try:
            bmc, board = await self._look(request)
            async with self.recording:
                self._check_new(request)  # a login takes seconds: others may have been faster
                return await self._put_on_record(request, bmc, board, intent)
        finally:
            await self.let_go([request.bmc] if request.bmc is not None else [])

    def _check_new(self, request: EnrolRequest) -> None:
        if self._machines.find(request.name) is not None:
            raise rest.taken(request)
        for mac in request.macs:
            if (owner := self._machines.by_mac(mac)) is not None:
                raise ConflictError(f"{mac} belongs to {owner.name}")

    async def _look(self, request: EnrolRequest) -> tuple[BmcAddress | None, BmcIdentity]:
        """Log in to a new machine's BMC: its address with what is pinned of it, and what it says."""
        bmc, board = request.bmc, BmcIdentity()
        if bmc is not None and request.verify:
            if bmc.driver is Driver.REDFISH and not bmc.fingerprint:
                bmc = replace(bmc, fingerprint=await self._bmcs.fingerprint(bmc))
            board = await self._bmcs.identify(bmc, request.password)
        return bmc, board

    async def _put_on_record(
        self, request: EnrolRequest, bmc: BmcAddress | None, board: BmcIdentity, intent: Asked
    ) -> Machine:
        """Write a new machine, or what is asked for of the one that its board says it is: it was found before."""
        like, now = self._machines.like_board(board), self._clock.now()
        twin = sole_twin(board, like)
        new = Machine(str(uuid.uuid4()), request.name, State.ENROLLED, macs=request.macs, created=now)
        if bmc is not None:
            taker = twin if twin is not None and twin.bmc is None else new
            check_board(taker, bmc, board, like)
            check_free(taker, bmc, board, self._machines)
        machine_id = twin.id if twin is not None else new.id
        passwords = self._secrets.seal({} if bmc is None else {secret_of(machine_id): request.password})
        if twin is not None:
            made = self._runner.change(
                twin.id,
                lambda m, now: (rest.enrolled(said_by(board, m, bmc), request, bmc, now), []),
                intent=intent,
                secrets=passwords,
            )
        else:
            made = self._runner.create(
                rest.enrolled(said_by(board, new, bmc), request, bmc, now), intent, secrets=passwords
            )
        return await self._known(made, passwords)

    async def _known(self, change: Awaitable[Machine], passwords: Sealed) -> Machine:
        """Make a change that writes passwords, and know them by heart then."""
        with uncut() as whole:
            changed = await whole(change)
            self._secrets.written(passwords)
        return changed

    async def next_password(self, machine_id: str) -> str:
        """Return the random password of an account that is being made from inside the machine; made once, kept."""
        name = secret_of(machine_id) + MADE
        try:
            return await self._secrets.get(name)
        except NotFoundError:
            made = make_password()
            await self._secrets.put(name, made)
            return made

    async def adopt(self, ref: str, user: str, ports: Mapping[Driver, int]) -> list[Driver]:
        """Put the BMC that a machine sees of itself on record, by every driver that lets our new account in.

        Its address comes from inside the machine; whether it is this machine's board, UUID or serial number say.
        """
        machine = self._machines.get(ref)
        where = machine.facts.bmc.address if machine.facts is not None else ""
        if not where:
            raise ConflictError(f"{machine.name} sees no BMC with an address", hint="give its BMC one, then discover")
        made = secret_of(machine.id) + MADE
        try:
            password = await self._secrets.get(made)
        except NotFoundError as error:
            if done := [one.driver for one in machine.bmcs if _is_way(one, where, user, ports)]:
                return done  # begun again: whoever did it died before that was on record
            raise ConflictError(f"{machine.name}: no account was made at its BMC", hint="a step does, first") from error
        found: list[Driver] = []
        faults: list[str] = []
        for driver, port in ports.items():
            try:
                await self.add(ref, BmcAddress(driver, where, port, user), password, certain=True)
                found.append(driver)
            except (BmcError, ConflictError) as error:
                faults.append(str(error))
        if not found:
            raise ConflictError(f"{machine.name}: its BMC lets {user!r} in by no driver: {'; '.join(faults)}")
        await self._secrets.remove(made)
        return found

    async def add(self, ref: str, address: BmcAddress, password: str, *, certain: bool = False) -> Machine:
        """Put another way to a machine's board on record, after a look at whose board it is.

        The first way of a machine is its BMC; another driver's stands beside it, the same driver's in its place.
        """
        machine = self._machines.get(ref)
        try:
            return await self._add(machine, address, password, certain=certain)
        finally:
            await self.let_go([address], machine.bmcs)

    async def _add(self, machine: Machine, address: BmcAddress, password: str, *, certain: bool) -> Machine:
        if address.driver is Driver.REDFISH and not address.fingerprint:
            address = replace(address, fingerprint=await self._bmcs.fingerprint(address))
        board = await self._bmcs.identify(address, password)
        async with self.recording:
            machine = self._machines.get(machine.id)
            check_board(machine, address, board, self._machines.like_board(board), certain=certain)
            check_free(machine, address, board, self._machines)
            await self._bmcs.forget(address)  # of what was there before nothing counts any more
            first = machine.bmc is None or machine.bmc.driver is address.driver
            name = secret_of(machine.id, None if first else address)
            passwords = self._secrets.seal({name: password}, [name + NEXT])
            return await self._known(
                self._runner.change(machine.id, lambda m, _: (_added(m, address, board), []), secrets=passwords),
                passwords,
            )

    async def remove(self, ref: str, driver: Driver) -> Machine:
        """Take a way off the record; the first one stays."""
        async with self.recording:
            machine = self._machines.get(ref)
            gone = next((one for one in machine.more_bmcs if one.driver is driver), None)
            if gone is None:
                raise ConflictError(
                    f"{machine.name} has no other way by {driver}", hint="the first one goes with the machine"
                )
            name = secret_of(machine.id, gone)
            passwords = self._secrets.seal({}, [name, name + NEXT])
            changed = await self._known(
                self._runner.change(machine.id, lambda m, _: (_removed(m, driver), []), secrets=passwords), passwords
            )
        await self._bmcs.forget(gone)
        return changed

    async def repin(self, address: BmcAddress, fingerprint: str) -> None:
        """Pin the certificate that we had a BMC install in the place of the one before, for all machines that it is on
        record of."""
        for machine in self._machines.all():
            if any(_is_pinned(each, address) for each in machine.bmcs) and self._machines.find(machine.id) is not None:
                await self._runner.change(machine.id, lambda m, _: (_repinned(m, address, fingerprint), []))

    async def let_go(self, tried: Iterable[BmcAddress], known: Iterable[BmcAddress] = ()) -> None:
        """End the sessions with BMCs that were tried, or known before, and are on no record now."""
        ends = [*((self._bmcs.leave, each) for each in tried), *((self._bmcs.forget, each) for each in known)]
        await asyncio.gather(*(end(address) for end, address in ends if not self._machines.by_bmc(address)))

    async def forget(self, machine: Machine) -> None:
        """Forget what is known by heart of a board whose machine is off the record, and end the sessions there."""
        first = secret_of(machine.id)
        names = [first, *(secret_of(machine.id, other) for other in machine.more_bmcs)]
        self._secrets.written(Sealed(gone=(first + MADE, *names, *(name + NEXT for name in names))))
        for address in machine.bmcs:
            await self._bmcs.forget(address)


def check_board(
    machine: Machine, address: BmcAddress, board: BmcIdentity, known: Iterable[Machine], *, certain: bool = False
) -> None:
    """Raise `ConflictError` where a board says that it is another machine's, be it one of those that are `known`.

    One that says nothing is believed, for an operator named it; `certain` asks for a word that it is this machine's.
    """
    whose = twin_of(board, [machine, *(each for each in known if each.id != machine.id)])
    if whose is machine:
        return
    if whose is not None:
        raise ConflictError(
            f"the BMC at {address} says that it is {whose.name} (UUID {board.uuid or '?'}, serial number"
            f" {board.serial or '?'})",
            hint="nothing was put on record",
        )
    says = certain or board.uuid or board.serial
    told = certain or machine.uuid or machine.serial
    if says and told:
        raise ConflictError(
            f"the BMC at {address} is not that of {machine.name}: UUID {board.uuid or '?'}, serial number"
            f" {board.serial or '?'}, not {machine.uuid or '?'}, {machine.serial or '?'}",
            hint="nothing was put on record",
        )


def check_free(machine: Machine, address: BmcAddress, board: BmcIdentity, machines: Machines) -> None:
    """Raise `ConflictError` where an address is on record as one of another machine's board, or its host by another
    driver: a host is one board, unless both say by UUID that they are two.

    Addresses move from board to board: one that says by its UUID that it is this machine's has moved here.
    """
    why = match(board, machine.uuid, machine.serial)
    if why is not None and why.by == "uuid":
        return
    for other in machines.by_bmc(address):
        if other.id != machine.id:
            raise on_record(address, other)
    for other in machines.by_bmc_host(address):
        if other.id != machine.id and not are_two(board.uuid, other.uuid):
            raise at_host(address, other)


def _is_way(address: BmcAddress, host: str, user: str, ports: Mapping[Driver, int]) -> bool:
    """Say whether an address is the one of its driver at a host, as this user."""
    return replace(address, fingerprint="") == BmcAddress(address.driver, host, ports.get(address.driver, 0), user)


def _added(machine: Machine, address: BmcAddress, board: BmcIdentity) -> Machine:
    machine = said_by(board, machine, address)
    if machine.bmc is None or machine.bmc.driver is address.driver:
        return replace(machine, bmc=address)
    others = tuple(one for one in machine.more_bmcs if one.driver is not address.driver)
    return replace(machine, more_bmcs=(*others, address))


def _is_pinned(way: BmcAddress, address: BmcAddress) -> bool:
    """Say whether a way leads to the same place by the same certificate: a BMC may look after several machines."""
    return way.place == address.place and way.fingerprint == address.fingerprint != ""


def _repinned(machine: Machine, address: BmcAddress, fingerprint: str) -> Machine:
    def pinned(way: BmcAddress) -> BmcAddress:
        return replace(way, fingerprint=fingerprint) if _is_pinned(way, address) else way

    first = pinned(machine.bmc) if machine.bmc is not None else None
    return replace(machine, bmc=first, more_bmcs=tuple(pinned(each) for each in machine.more_bmcs))


def _removed(machine: Machine, driver: Driver) -> Machine:
    left = tuple(one for one in machine.more_bmcs if one.driver is not driver)
    return replace(
        machine, more_bmcs=left, boards={each: said for each, said in machine.boards.items() if each != driver}
    )
