"""All BMCs behind one door: every verb by address and password, over the lanes of `lanes.py`.

What a machine's journey needs has a method; everything else goes through `do`, by the names of `table.py`. What a
driver or a board cannot do is `BmcUnsupported`, and nothing is done in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from typing import Any

from provisioner import yamlfile
from provisioner.bmc.capabilities import CanShowConsole, ConsoleLine, beyond
from provisioner.bmc.ensure import PATIENCE, Patience
from provisioner.bmc.hostkeys import HostKeys
from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.bmc.lanes import Lanes, Make
from provisioner.bmc.ledger import Ledger, seen_of
from provisioner.bmc.libvirt.driver import Libvirt
from provisioner.bmc.quirks import Quirk, parse_quirks
from provisioner.bmc.redfish.client import RedfishClient
from provisioner.bmc.redfish.driver import Redfish
from provisioner.bmc.redfish.way import fingerprint as read_fingerprint
from provisioner.bmc.resolve import Evidence, Resolution, Verdict, resolve
from provisioner.bmc.table import ACTION_S, VERBS
from provisioner.bmc.verbs import Bmc, Press
from provisioner.errors import BmcError, BmcUnsupported
from provisioner.model.bmc import BmcAddress, BmcIdentity, BootOverride, BootTarget, Driver, Power

MAX_REQUESTS = 256
"""Requests on the wire at once, all BMCs together: so many sockets are busy, and a hundred dead BMCs do not fill it."""

MAX_PROGRAMS = 8
"""Programs that run at once for the drivers that need one (virsh)."""

DRIVERS: dict[Driver, type[Bmc]] = {Driver.IPMI: Ipmi, Driver.REDFISH: Redfish, Driver.LIBVIRT: Libvirt}


MEET = replace(VERBS["identify"], changes=True, limit_s=ACTION_S)
"""What is asked before a change."""

DAY_S = 86_400.0

ACQUAINT_S = 20.0
"""So long a board may take to say what it is, before the operator's order counts."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """Why an operator wants a driver tried that failed, and for how many days."""

    reason: str
    days: float


class Bmcs:
    """Every BMC that we talk to. Use as `async with Bmcs() as bmcs`, or `start` and `stop`.

    `own`: the accounts are used by this daemon, and by no other program.
    """

    def __init__(
        self,
        *,
        quirks: tuple[Quirk, ...] | None = None,
        patience: Patience = PATIENCE,
        make: Make | None = None,
        own: bool = False,
    ) -> None:
        self._own = own
        self._quirks = quirks
        self._patience = patience
        self.ledger = Ledger()
        self.kept: Callable[[Evidence], None] | None = None
        """Told of evidence that says something new."""
        self.installed: Callable[[BmcAddress, str], Awaitable[None]] | None = None
        """Told of a certificate that a BMC was given and shows: the address with the pin so far, and the SHA-256."""
        self.host_keys = HostKeys()
        self._lanes = Lanes(make or self._driver, self._saw)
        self._gate = asyncio.Semaphore(MAX_REQUESTS)
        self._programs = asyncio.Semaphore(MAX_PROGRAMS)
        self._link = WorkerLink()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Bmcs:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Read the quirks table and start the IPMI worker."""
        if self._quirks is None:
            self._quirks = await asyncio.to_thread(load_quirks)
        await self._stack.enter_async_context(self._link)

    async def stop(self) -> None:
        """End every session and the worker."""
        await self._lanes.close()
        await self._stack.aclose()

    async def identify(self, address: BmcAddress, password: str) -> BmcIdentity:
        """Say what the BMC knows of its machine."""
        return await self._lanes.run(VERBS["identify"], address, password, lambda bmc: bmc.identify())

    async def prove(self, address: BmcAddress, password: str) -> BmcIdentity:
        """Log in anew, which proves user and password, and say what the BMC knows of its machine."""
        await self._lanes.renew(address, password)
        return await self.identify(address, password)

    async def whose(self, address: BmcAddress, password: str) -> BmcIdentity:
        """Say no more of a BMC's machine than tells it from others."""
        return await self._lanes.run(VERBS["identify"], address, password, lambda bmc: bmc.whose())

    async def meet(self, address: BmcAddress, password: str) -> BmcIdentity:
        """The same in the turn of a change: it waits for those before it, and sits out a BMC that restarts."""
        return await self._lanes.run(MEET, address, password, lambda bmc: bmc.whose())

    async def power(self, address: BmcAddress, password: str) -> Power:
        """Read the power state."""
        return await self._lanes.run(VERBS["power.status"], address, password, lambda bmc: bmc.power())

    async def set_power(self, address: BmcAddress, password: str, wanted: Power) -> None:
        """Bring the machine to `wanted` and see it there."""
        await self._lanes.run(VERBS[f"power.{wanted}"], address, password, lambda bmc: bmc.set_power(wanted))

    async def reset(self, address: BmcAddress, password: str) -> None:
        """Restart a running machine at once."""
        await self._lanes.run(VERBS["power.reset"], address, password, lambda bmc: bmc.reset())

    async def press(self, address: BmcAddress, password: str, press: Press) -> None:
        """Push once on the power controls (soft-off, cycle, nmi ...): returns when the BMC took it."""
        await self._lanes.run(VERBS[f"power.{press}"], address, password, lambda bmc: bmc.press(press))

    async def boot_override(self, address: BmcAddress, password: str) -> BootOverride:
        """Read what the firmware is told to boot."""
        return await self._lanes.run(VERBS["boot.read"], address, password, lambda bmc: bmc.boot_override())

    async def boot_once(
        self, address: BmcAddress, password: str, target: BootTarget, uri: str = "", *, uefi: bool | None = None
    ) -> None:
        """Boot from `target` the next time, and only then."""
        verb = VERBS[f"boot.once.{target}"]
        await self._lanes.run(verb, address, password, lambda bmc: bmc.boot_once(target, uri, uefi=uefi))

    async def boot_always(
        self, address: BmcAddress, password: str, target: BootTarget, uri: str = "", *, uefi: bool | None = None
    ) -> None:
        """Boot from `target` from now on (NONE: as the firmware is set up)."""
        verb = VERBS[f"boot.always.{target}"]
        await self._lanes.run(verb, address, password, lambda bmc: bmc.boot_always(target, uri, uefi=uefi))

    async def do(self, address: BmcAddress, password: str, name: str, /, **given: Any) -> Any:
        """Do any verb of `table.VERBS`; arguments and result are those of its method, less what the name says."""
        verb = VERBS[name]

        async def call(bmc: Bmc) -> Any:
            method = getattr(bmc, verb.method, None)
            if method is None:
                raise beyond(bmc, name)
            return await method(**dict(verb.fixed), **given)

        return await self._lanes.run(verb, address, password, call)

    async def open_console(self, address: BmcAddress, password: str, *, take_over: bool = False) -> ConsoleLine:
        """Open the machine's serial console; it goes beside everything else."""

        async def call(bmc: Bmc) -> ConsoleLine:
            if not isinstance(bmc, CanShowConsole):
                raise beyond(bmc, "console.open")
            return await bmc.open_console(take_over=take_over)

        return await self._lanes.beside(VERBS["console.open"], address, password, call)

    async def fingerprint(self, address: BmcAddress) -> str:
        """Return the SHA-256 of the TLS certificate that the BMC shows now: what enrolment pins. Empty for IPMI."""
        return await read_fingerprint(address) if address.driver is Driver.REDFISH else ""

    async def forget(self, address: BmcAddress) -> None:
        """End the session with a BMC that is no longer ours, or is put on record anew."""
        if address.driver is Driver.REDFISH:  # by its account, the console is opened by SSH
            self.host_keys.forget(address.host)
        await self._lanes.forget(address)

    async def leave(self, address: BmcAddress) -> None:
        """End the session with a BMC that was only tried."""
        await self._lanes.leave(address)

    async def resolve(self, verb: str, logins: Sequence[tuple[BmcAddress, str]]) -> Resolution:
        """Say which of a machine's drivers is asked for a verb, and why."""
        drivers = [address.driver for address, _ in logins]
        boards = [lane.board for lane in [await self._lanes.lane(*login) for login in logins] if lane.board is not None]
        if len(boards) < len(logins):
            boards = await asyncio.gather(*(self._board(*login) for login in logins))
        offered = {driver: offered_by(driver) for driver in drivers}
        return resolve(verb, drivers, offered, self.ledger, dict(zip(drivers, boards, strict=True)), time.time())

    async def _board(self, address: BmcAddress, password: str) -> BmcIdentity:
        """Say what board it is; one that cannot be asked now is of no kind that anything is known of."""
        lane = await self._lanes.lane(address, password)
        if lane.board is not None:
            return lane.board
        with contextlib.suppress(BmcError, TimeoutError):
            async with asyncio.timeout(ACQUAINT_S):
                return await self.identify(address, password)
        return BmcIdentity()

    async def order(self, verb: str, logins: Sequence[tuple[BmcAddress, str]]) -> list[tuple[BmcAddress, str]]:
        """Put the ways to one board in order for a verb; those that failed it are left out."""
        found = await self.resolve(verb, logins)
        ranked = {candidate.driver: place for place, candidate in enumerate(found.order)}
        return sorted((one for one in logins if one[0].driver in ranked), key=lambda one: ranked[one[0].driver])

    async def waive(self, verb: str, driver: Driver, logins: Sequence[tuple[BmcAddress, str]], why: Waiver) -> None:
        """Have a driver asked for a verb last on boards like this one, although it failed there before."""
        login = next((one for one in logins if one[0].driver is driver), None)
        if login is None:
            where = f"{logins[0][0]}: {verb}"
            raise BmcUnsupported(f"{where}: there is no way by {driver}", hint="`bmc add` puts one on record")
        board = await self.identify(*login)
        at = time.time()
        self._keep(Evidence(driver, verb, board, Verdict.WAIVED, why.reason, at, at + why.days * DAY_S))

    def _keep(self, evidence: Evidence) -> None:
        if self.ledger.add(evidence) and self.kept is not None:
            self.kept(evidence)

    def _saw(self, driver: Driver, verb: str, board: BmcIdentity, error: BmcError | None) -> None:
        seen = seen_of(driver, verb, board, error, time.time())
        if seen is not None:
            self._keep(seen)

    def _driver(self, address: BmcAddress, password: str) -> Bmc:
        match address.driver:
            case Driver.IPMI:
                return Ipmi(address, password, self._link, quirks=self._quirks or (), patience=self._patience)
            case Driver.REDFISH:
                client = RedfishClient(address, password, gate=self._gate, own=self._own)
                quirks = self._quirks or ()
                return Redfish(
                    client,
                    quirks=quirks,
                    patience=self._patience,
                    host_keys=self.host_keys,
                    installed=partial(self.installed, address) if self.installed is not None else None,
                )
            case Driver.LIBVIRT:
                return Libvirt(address, gate=self._programs, patience=self._patience)


def offered_by(driver: Driver) -> frozenset[str]:
    """Name the verbs that a driver has a method for; whether a board can is another question."""
    kind = DRIVERS[driver]
    return frozenset(name for name, verb in VERBS.items() if hasattr(kind, verb.method)) - getattr(kind, "LACKS", set())


def load_quirks() -> tuple[Quirk, ...]:
    """Read the table that comes with the package."""
    source = files("provisioner.bmc") / "quirks.yaml"
    document = yamlfile.load(source.read_text(), "quirks.yaml")
    return parse_quirks(document.value, "quirks.yaml")
