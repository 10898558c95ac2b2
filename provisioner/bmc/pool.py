"""All BMCs behind one door: sessions kept, one queue per BMC, bounds, retries, deadlines, and a breaker for dead ones.

Per BMC one request is on the wire at a time. A read goes between the steps of a change, never a change between those of
another. The sum of requests, all BMCs together, is bounded by the drivers' gate.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.resources import files
from random import SystemRandom
from typing import TypeVar

from provisioner import yamlfile
from provisioner.bmc.ensure import PATIENCE, Patience
from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.bmc.pace import Breaker, Guard, retry_pause
from provisioner.bmc.quirks import Quirk, parse_quirks
from provisioner.bmc.redfish.client import RedfishClient
from provisioner.bmc.redfish.client import fingerprint as read_fingerprint
from provisioner.bmc.redfish.driver import Redfish
from provisioner.bmc.verbs import Bmc, Press
from provisioner.errors import (
    BmcAuthError,
    BmcBusy,
    BmcError,
    BmcTimeout,
    BmcUnreachable,
    BmcUnsupported,
)
from provisioner.model.bmc import BmcAddress, BmcIdentity, BootOverride, BootTarget, Driver, Power

log = logging.getLogger(__name__)

T = TypeVar("T")
_chance = SystemRandom().random
Make = Callable[[BmcAddress, str], Bmc]
"""Makes a driver for an address and a password."""

READ_S = 60.0
"""A read: login, three requests of which one may take 30 s."""

ACTION_S = 120.0
MAX_WAITING = 16
"""Calls that may wait for one BMC; more means that it is hung, and the callers should hear of it."""

MAX_REQUESTS = 256
"""Requests on the wire at once, all BMCs together: so many sockets are busy, and a hundred dead BMCs do not fill it."""


@dataclass(slots=True)
class Lane:
    """One BMC: its driver, its queue and its record."""

    credentials: bytes
    bmc: Bmc
    changes: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    breaker: Breaker = field(default_factory=Breaker)
    guard: Guard = field(default_factory=Guard)


class Bmcs:
    """Every BMC that we talk to. Use as `async with Bmcs() as bmcs`, or `start` and `stop`."""

    def __init__(
        self, *, quirks: tuple[Quirk, ...] | None = None, patience: Patience = PATIENCE, make: Make | None = None
    ) -> None:
        self._quirks = quirks
        self._patience = patience
        self._make = make or self._driver
        self._lanes: dict[tuple[Driver, str, int, str], Lane] = {}
        self._gate = asyncio.Semaphore(MAX_REQUESTS)
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
        async with asyncio.TaskGroup() as tasks:
            for lane in self._lanes.values():
                tasks.create_task(_close(lane.bmc))
        self._lanes.clear()
        await self._stack.aclose()

    # -- verbs ----------------------------------------------------------------------------------------------------

    async def identify(self, address: BmcAddress, password: str) -> BmcIdentity:
        """Say what the BMC knows of its machine; proves user and password."""
        return await self._read("identify", address, password, lambda bmc: bmc.identify())

    async def power(self, address: BmcAddress, password: str) -> Power:
        """Read the power state."""
        return await self._read("power.status", address, password, lambda bmc: bmc.power())

    async def boot_override(self, address: BmcAddress, password: str) -> BootOverride:
        """Read what the firmware is told to boot."""
        return await self._read("boot.read", address, password, lambda bmc: bmc.boot_override())

    async def set_power(self, address: BmcAddress, password: str, wanted: Power) -> None:
        """Bring the machine to `wanted` and see it there."""
        await self._change(f"power.{wanted}", address, password, lambda bmc: bmc.set_power(wanted))

    async def reset(self, address: BmcAddress, password: str) -> None:
        """Restart a running machine at once."""
        await self._change("power.reset", address, password, lambda bmc: bmc.reset(), again=False)

    async def press(self, address: BmcAddress, password: str, press: Press) -> None:
        """Push once on the power controls (soft-off, cycle, nmi ...): returns when the BMC took it."""
        await self._change(f"power.{press}", address, password, lambda bmc: bmc.press(press), again=False)

    async def boot_once(
        self, address: BmcAddress, password: str, target: BootTarget, uri: str = "", *, uefi: bool | None = None
    ) -> None:
        """Boot from `target` the next time, and only then."""
        await self._change(f"boot.once.{target}", address, password, lambda bmc: bmc.boot_once(target, uri, uefi=uefi))

    async def boot_always(
        self, address: BmcAddress, password: str, target: BootTarget, uri: str = "", *, uefi: bool | None = None
    ) -> None:
        """Boot from `target` from now on (NONE: as the firmware is set up)."""
        await self._change(
            f"boot.always.{target}", address, password, lambda bmc: bmc.boot_always(target, uri, uefi=uefi)
        )

    async def fingerprint(self, address: BmcAddress) -> str:
        """Return the SHA-256 of the TLS certificate that the BMC shows now: what enrolment pins. Empty for IPMI."""
        return await read_fingerprint(address) if address.driver is Driver.REDFISH else ""

    async def forget(self, address: BmcAddress) -> None:
        """End the session with a BMC that is no longer ours."""
        lane = self._lanes.pop(_key(address), None)
        if lane is not None:
            await _close(lane.bmc)

    # -- how ------------------------------------------------------------------------------------------------------

    async def _read(self, verb: str, address: BmcAddress, password: str, call: Callable[[Bmc], Awaitable[T]]) -> T:
        lane = await self._lane(address, password)
        return await self._queued(verb, lane, call, READ_S, again=True)

    async def _change(
        self, verb: str, address: BmcAddress, password: str, call: Callable[[Bmc], Awaitable[T]], *, again: bool = True
    ) -> T:
        lane = await self._lane(address, password)
        if lane.waiting >= MAX_WAITING:
            raise BmcBusy(f"{address}: {verb}: {lane.waiting} calls wait for this BMC already", hint="it may hang")
        lane.waiting += 1
        try:
            async with lane.changes:
                result = await self._queued(verb, lane, call, ACTION_S, again=again)
        finally:
            lane.waiting -= 1
        log.info("bmc.done bmc=%s verb=%s", address, verb)
        return result

    async def _queued(
        self, verb: str, lane: Lane, call: Callable[[Bmc], Awaitable[T]], limit_s: float, *, again: bool
    ) -> T:
        """Run a call within its time, again where that is safe, and keep the BMC's record."""
        address = lane.bmc.address
        self._refuse_early(verb, lane)
        try:
            async with asyncio.timeout(limit_s):
                return await self._tried(lane, call, again=again)
        except TimeoutError as error:
            raise BmcTimeout(
                f"{address}: {verb}: not done within {limit_s:.0f} s", hint="read the state before trying again"
            ) from error
        except BmcError as error:
            log.warning("bmc.failed bmc=%s verb=%s error=%s", address, verb, error.message)
            raise

    async def _tried(self, lane: Lane, call: Callable[[Bmc], Awaitable[T]], *, again: bool) -> T:
        now = asyncio.get_running_loop().time
        attempt = 0
        while True:
            attempt += 1
            try:
                result = await call(lane.bmc)
            except BmcError as error:
                self._keep_record(lane, error, now())
                pause = retry_pause(error, attempt, _chance()) if again else None
                if pause is None or lane.breaker.wait_s(now()):
                    raise
                await asyncio.sleep(pause)
            else:
                lane.breaker, lane.guard = lane.breaker.answered(), Guard()
                return result

    def _keep_record(self, lane: Lane, error: BmcError, now: float) -> None:
        if isinstance(error, BmcUnreachable):
            lane.breaker = lane.breaker.silent(now)
        elif isinstance(error, BmcAuthError):
            lane.guard = lane.guard.refused(now)

    def _refuse_early(self, verb: str, lane: Lane) -> None:
        """Do not ask a BMC that is left alone; say for how long."""
        now = asyncio.get_running_loop().time()
        where = f"{lane.bmc.address}: {verb}: not asked"
        if wait := lane.breaker.wait_s(now):
            failures = lane.breaker.failures
            raise BmcUnreachable(f"{where}: no answer {failures} times in a row; asked again in {wait:.0f} s")
        if wait := lane.guard.wait_s(now):
            raise BmcAuthError(
                f"{where}: the BMC refused this password twice; tried again in {wait:.0f} s, so that it locks nothing",
                hint="give the right password: it is used at once",
            )

    async def _lane(self, address: BmcAddress, password: str) -> Lane:
        """Return the BMC's lane; a changed account, password or pin makes it anew."""
        credentials = hashlib.sha256(f"{address.username}\0{password}\0{address.fingerprint}".encode()).digest()
        lane = self._lanes.get(_key(address))
        if lane is not None and lane.credentials != credentials:
            await self.forget(lane.bmc.address)
            lane = None
        if lane is None:
            lane = self._lanes.setdefault(_key(address), Lane(credentials, self._make(address, password)))
        return lane

    def _driver(self, address: BmcAddress, password: str) -> Bmc:
        match address.driver:
            case Driver.IPMI:
                return Ipmi(address, password, self._link, quirks=self._quirks or (), patience=self._patience)
            case Driver.REDFISH:
                client = RedfishClient(address, password, gate=self._gate)
                return Redfish(client, quirks=self._quirks or (), patience=self._patience)
            case _:
                raise BmcUnsupported(f"{address}: no such driver")


def _key(address: BmcAddress) -> tuple[Driver, str, int, str]:
    return address.driver, address.host, address.port, address.system


async def _close(bmc: Bmc) -> None:
    """Say goodbye; a BMC that does not hear it ends the session by itself."""
    try:
        async with asyncio.timeout(5):
            await bmc.close()
    except (BmcError, TimeoutError) as error:
        log.info("bmc.close-failed bmc=%s error=%s", bmc.address, error)


def load_quirks() -> tuple[Quirk, ...]:
    """Read the table that comes with the package."""
    source = files("provisioner.bmc") / "quirks.yaml"
    document = yamlfile.load(source.read_text(), "quirks.yaml")
    return parse_quirks(document.value, "quirks.yaml")
