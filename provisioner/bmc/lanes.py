"""One lane for each BMC: its driver, its queue, its record. Bounds, retries, deadlines, and a breaker for dead ones.

Per BMC one request is on the wire at a time. A read goes between the steps of a change, never a change between those of
another. The sum of requests, all BMCs together, is bounded by the drivers' gate.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import SystemRandom
from typing import TypeVar

from provisioner.bmc.pace import Breaker, Guard, may_retry, retry_pause
from provisioner.bmc.table import INSTALLS, Verb
from provisioner.bmc.verbs import Bmc
from provisioner.errors import (
    BmcAuthError,
    BmcBusy,
    BmcConsoleRefused,
    BmcError,
    BmcNotTrusted,
    BmcTimeout,
    BmcUnreachable,
    BmcUnsupported,
)
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver

log = logging.getLogger(__name__)

T = TypeVar("T")
_chance = SystemRandom().random

Make = Callable[[BmcAddress, str], Bmc]
"""Makes a driver for an address and a password."""

Call = Callable[[Bmc], Awaitable[T]]
Saw = Callable[[Driver, str, BmcIdentity, BmcError | None], None]
"""Is told how each verb ended on a board that is known."""

MAX_WAITING = 16
"""Calls that may wait for one BMC; more means that it is hung, and the callers should hear of it."""

GOODBYE_S = 5.0

SAT_OUT_S = 40.0
"""A rest up to this long is waited out by a change: with the rests before it, BMCs that restart are back by then."""

CONSOLE = "console"
"""The service of a console that takes accounts by rules of its own (SSH)."""

Key = tuple[Driver, str, int, str]
"""A BMC, whoever asks it."""

Account = tuple[bytes, str]
"""Credentials, and the service that they are for: empty for the one that all verbs are asked of."""


@dataclass(slots=True)
class Lane:
    """One BMC: its driver, its queue and its record."""

    credentials: bytes
    bmc: Bmc
    changes: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    calls: int = 0
    """Those under way."""
    breaker: Breaker = field(default_factory=Breaker)
    guards: dict[Account, Guard] = field(default_factory=dict)
    """What was refused of late, also to lanes before this one: each try counts at the board."""
    board: BmcIdentity | None = None
    """What the BMC said when it was identified; evidence is kept for boards of this kind."""
    is_old: bool = False
    """Whether the BMC may have another firmware by now than the one that it was met with."""


class Lanes:
    """The lanes of all BMCs that were asked anything."""

    def __init__(self, make: Make, saw: Saw = lambda *_: None) -> None:
        self._make = make
        self._saw = saw
        self._lanes: dict[Key, Lane] = {}
        self._refused: dict[Key, dict[Account, Guard]] = {}
        """The guards of BMCs that were left, while they hold."""

    async def run(self, verb: Verb, address: BmcAddress, password: str, call: Call[T]) -> T:
        """Run a verb: a read at once, a change when those before it are done."""
        lane = await self.lane(address, password)
        was_away = lane.breaker.is_open
        lane.calls += 1
        try:
            return await self._in_lane(verb, lane, call)
        finally:
            lane.calls -= 1
            now = self._lanes.get(_key(address))
            if now is not None:
                now.is_old |= verb.name in INSTALLS or (was_away and not lane.breaker.is_open)
            if now is not lane and not lane.calls:
                await _close(lane.bmc)  # its session was ended amid this, which may have begun another one

    async def _in_lane(self, verb: Verb, lane: Lane, call: Call[T]) -> T:
        address = lane.bmc.address
        if not verb.changes:
            return await self._logged(verb, lane, call)
        if lane.waiting >= MAX_WAITING:
            waiting = f"{lane.waiting} calls wait for this BMC already"
            raise BmcBusy(f"{address}: {verb.name}: {waiting}", hint="it may hang")
        lane.waiting += 1
        try:
            async with lane.changes:
                result = await self._logged(verb, lane, call)
        finally:
            lane.waiting -= 1
        log.info("bmc.done bmc=%s verb=%s", address, verb.name)
        return result

    async def beside(self, verb: Verb, address: BmcAddress, password: str, call: Call[T]) -> T:
        """Run a verb by a connection of its own, once and beside all else.

        That nobody answers there says nothing of the way that all other verbs go. That a password is refused does,
        unless it is by a service of its own.
        """
        lane = await self.lane(address, password)

        async def once() -> T:
            _refuse_early(verb, lane, "", CONSOLE)
            try:
                result = await call(lane.bmc)
            except BmcAuthError as error:
                _keep_record(lane, error, asyncio.get_running_loop().time())
                raise
            lane.guards.pop((lane.credentials, CONSOLE), None)
            return result

        return await self._within(verb, lane, lambda _: once())

    async def lane(self, address: BmcAddress, password: str) -> Lane:
        """Return the BMC's lane: a new one for another account, password or pin, and where the BMC may have changed."""
        credentials = hashlib.sha256(f"{address.username}\0{password}\0{address.fingerprint}".encode()).digest()
        lane = self._lanes.get(_key(address))
        if lane is None or lane.credentials != credentials:
            guards = self._refused.pop(_key(address), {}) if lane is None else lane.guards
            lane = await self._replace(lane, Lane(credentials, self._make(address, password), guards=guards))
        elif lane.is_old:
            lane = await self._replace(lane, self._anew(lane, address, password))
        return lane

    async def renew(self, address: BmcAddress, password: str) -> None:
        """Have the next call to a BMC log in with this password, whatever session is open; its record stays."""
        lane = await self.lane(address, password)
        await self._replace(lane, self._anew(lane, address, password))

    def _anew(self, lane: Lane, address: BmcAddress, password: str) -> Lane:
        """Make a BMC's lane anew, with its record; its changes go on one after the other."""
        bmc = self._make(address, password)
        return Lane(lane.credentials, bmc, changes=lane.changes, breaker=lane.breaker, guards=lane.guards)

    async def _replace(self, before: Lane | None, lane: Lane) -> Lane:
        """Put a lane in the place of another one, then end that one's session: that takes seconds, others ask then."""
        self._lanes[_key(lane.bmc.address)] = lane
        if before is not None:
            await _close(before.bmc)
        return lane

    async def forget(self, address: BmcAddress) -> None:
        """End the session with a BMC, and its lane; nothing of it counts any more."""
        lane = self._lanes.pop(_key(address), None)
        self._refused.pop(_key(address), None)
        if lane is not None:
            await _close(lane.bmc)

    async def leave(self, address: BmcAddress) -> None:
        """The same, but what it refused counts on for as long as it does there: it may be tried again."""
        if (lane := self._lanes.pop(_key(address), None)) is None:
            return
        now = asyncio.get_running_loop().time()
        left = {**self._refused, _key(address): lane.guards}
        self._refused = {key: held for key, guards in left.items() if (held := _held(guards, now))}
        await _close(lane.bmc)

    async def close(self) -> None:
        """End every session."""
        lanes, self._lanes = list(self._lanes.values()), {}
        async with asyncio.TaskGroup() as tasks:
            for lane in lanes:
                tasks.create_task(_close(lane.bmc))

    async def _logged(self, verb: Verb, lane: Lane, call: Call[T]) -> T:
        """Run a call in its turn, and say so where it fails."""
        try:
            return await self._within(verb, lane, lambda troubles: self._in_turn(verb, lane, call, troubles))
        except BmcError as error:
            log.warning("bmc.failed bmc=%s verb=%s error=%s", lane.bmc.address, verb.name, error.message)
            raise

    async def _in_turn(self, verb: Verb, lane: Lane, call: Call[T], troubles: list[BmcError]) -> T:
        await _sit_out(verb, lane)
        _refuse_early(verb, lane, "")
        return await self._tried(verb, lane, call, troubles)

    async def _within(self, verb: Verb, lane: Lane, work: Callable[[list[BmcError]], Awaitable[T]]) -> T:
        """Wait for work within the time that its verb has, and remember how it ended."""
        address, limit_s = lane.bmc.address, verb.limit_s
        troubles: list[BmcError] = []
        try:
            async with asyncio.timeout(limit_s):
                result = await work(troubles)
        except TimeoutError as error:
            kind = type(troubles[-1]) if troubles else BmcTimeout  # what it was tried again for is why
            said = f"; last trouble: {troubles[-1].message}" if troubles else ""
            raise kind(
                f"{address}: {verb.name}: not done within {limit_s:.0f} s{said}",
                hint="read the state before trying again" if verb.changes else "",
            ) from error
        except BmcError as error:
            if lane.board is not None:
                self._saw(address.driver, verb.name, lane.board, error)
            raise
        if isinstance(result, BmcIdentity) and any(result.kind):
            lane.board = result
        if lane.board is not None:
            self._saw(address.driver, verb.name, lane.board, None)
        return result

    async def _tried(self, verb: Verb, lane: Lane, call: Call[T], troubles: list[BmcError]) -> T:
        """Run a call, again where that is safe and of use, and keep the BMC's record.

        `troubles` gets what it is tried again for.
        """
        now = asyncio.get_running_loop().time
        attempt = 0
        while True:
            attempt += 1
            try:
                result = await call(lane.bmc)
            except BmcError as error:
                _keep_record(lane, error, now())
                pause = retry_pause(error, attempt, _chance()) if may_retry(verb, error) else None
                if pause is None or lane.breaker.wait_s(now()):
                    raise
                troubles.append(error)
                await asyncio.sleep(pause)
            else:
                lane.breaker = lane.breaker.answered()
                lane.guards.pop((lane.credentials, ""), None)
                return result


def _keep_record(lane: Lane, error: BmcError, now: float) -> None:
    match error:
        case BmcUnreachable():
            lane.breaker = lane.breaker.silent(now)
        case BmcTimeout() | BmcConsoleRefused() | BmcUnsupported():
            pass  # it may have been silent, its console is another service, and what it lacks it may not be asked for
        case _:
            lane.breaker = lane.breaker.answered()
    if isinstance(error, BmcAuthError) and not isinstance(error, BmcNotTrusted):
        for old in [of for of, guard in lane.guards.items() if not guard.holds(now)]:
            del lane.guards[old]
        account = lane.credentials, CONSOLE if isinstance(error, BmcConsoleRefused) else ""
        lane.guards[account] = lane.guards.get(account, Guard()).refused(now)


def _held(guards: Mapping[Account, Guard], now: float) -> dict[Account, Guard]:
    """Return those that still count anything."""
    return {account: guard for account, guard in guards.items() if guard.holds(now)}


async def _sit_out(verb: Verb, lane: Lane) -> None:
    """Let a change wait while its BMC is left alone: a BMC that restarts must not use up the tries of a run.

    Reads do not wait: who looks wants to hear that nobody answers. A BMC that is silent for longer refuses both.
    """
    wait = lane.breaker.wait_s(asyncio.get_running_loop().time())
    if verb.changes and wait <= SAT_OUT_S:
        await asyncio.sleep(wait)


def _refuse_early(verb: Verb, lane: Lane, *services: str) -> None:
    """Do not ask a BMC that is left alone, or a service of it that refused; say for how long."""
    now = asyncio.get_running_loop().time()
    where = f"{lane.bmc.address}: {verb.name}: not asked"
    if wait := lane.breaker.wait_s(now):
        failures = lane.breaker.failures
        raise BmcUnreachable(f"{where}: no answer {failures} times in a row; asked again in {wait:.0f} s")
    for service in services:
        if wait := lane.guards.get((lane.credentials, service), Guard()).wait_s(now):
            kind, who = (BmcConsoleRefused, "its console") if service else (BmcAuthError, "the BMC")
            raise kind(
                f"{where}: {who} refused this password twice; tried again in {wait:.0f} s, so that it locks nothing",
                hint="give the right password: it is used at once",
            )


def _key(address: BmcAddress) -> Key:
    return address.driver, address.host, address.port, address.system


async def _close(bmc: Bmc) -> None:
    """Say goodbye; a BMC that does not hear it ends the session by itself."""
    try:
        async with asyncio.timeout(GOODBYE_S):
            await bmc.close()
    except (BmcError, TimeoutError) as error:
        log.info("bmc.close-failed bmc=%s error=%s", bmc.address, error)
