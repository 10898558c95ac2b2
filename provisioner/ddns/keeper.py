"""Keeps the DNS server's records as leases say: after the ACK, through restarts of either side, never twice.

The lease table is the outbox: at the start every lease is compared with what was written. Before a record is sent, the
store has it on record that it may be there, and it is struck off only when it is gone; every update may be repeated. So
a daemon that is killed anywhere in between repeats at most what it was doing.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple, Protocol

from provisioner.clock import SteadyClock
from provisioner.ddns.names import Owner, Wanted
from provisioner.errors import ProvisionerError
from provisioner.services import cause
from provisioner.store.names import NameStore, Record

log = logging.getLogger(__name__)

PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Until what failed is tried anew, after each failure in a row, the last one for ever: a server that is mended gets all
that it missed. What is new does not wait for that: one zone may fail and another be well."""
TAKEN_S = 3600.0
"""When a name that belongs to somebody else is tried again."""
AT_ONCE = 8
"""Names that are worked on at once; updates of one name follow each other."""
IDLE_S = 60.0
SHOWN = 20
"""Names in conflict that are shown."""


class Server(Protocol):
    """Who is told; `ddns.update.Updates` is the real one."""

    async def add(self, name: str, owner: Owner, addresses: Sequence[bytes]) -> bool: ...

    async def remove(self, name: str, owner: Owner, address: bytes) -> None: ...


class Status(NamedTuple):
    """How it stands."""

    there: int
    pending: int
    taken: Mapping[bytes, str]
    """Addresses whose name belongs to somebody else, and the name; the first few."""
    error: str
    """Why the last update failed; empty while all is well."""
    since: float


class Keeper:
    """One for each daemon. `open` reads the store; `hold` and `drop` take no time; `run` never returns."""

    def __init__(
        self,
        server: Server,
        store: NameStore,
        clock: SteadyClock | None = None,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self._server = server
        self._store = store
        self._clock = clock or SteadyClock()
        self._pauses_s = pauses_s
        self._wanted: dict[bytes, Wanted] = {}
        self._there: dict[bytes, dict[str, Record]] = {}
        self._doubtful: set[bytes] = set()
        """Those of which it is not known yet whether they are."""
        self._sharing: dict[str, set[bytes]] = {}
        """Addresses that have, or may have, a name in the DNS."""
        self._pending: OrderedDict[bytes, None] = OrderedDict()
        self._failed: OrderedDict[bytes, None] = OrderedDict()
        """Those to be tried again: first who failed once, then the one tried longest ago."""
        self._failures = 0
        """How often in a row all that were tried again failed."""
        self._again = 0.0
        """When they are tried again."""
        self._busy: set[bytes] = set()
        """Those that the DNS is being told of."""
        self._taken: dict[bytes, str] = {}
        self._timers: list[tuple[float, bytes]] = []
        self._timed: dict[bytes, float] = {}
        """When an address is looked at next; other timers of it are void, so that they are few."""
        self._wake = asyncio.Event()
        self._error, self._since = "", 0.0

    async def open(self) -> None:
        """Read what is, or may be, in the DNS. Raises `StoreError`."""
        for record in await self._store.load():
            self._note(record)
            self._mark(record.address)

    # what leases say: called for every ACK, so nothing here waits or searches

    def hold(self, address: bytes, wanted: Wanted) -> None:
        """An address is called so, until then."""
        before = self._wanted.get(address)
        self._wanted[address] = wanted
        if before is None or before.name != wanted.name or before.owner != wanted.owner:
            self._taken.pop(address, None)
            self._mark(address)
        self._look_at(address, wanted.until)

    def drop(self, address: bytes) -> None:
        """An address is nobody's any more."""
        if self._wanted.pop(address, None) is not None or address in self._there:
            self._taken.pop(address, None)
            self._mark(address)

    def status(self) -> Status:
        """Say how it stands."""
        taken = dict(list(self._taken.items())[:SHOWN])
        pending = len(self._pending.keys() | self._failed.keys() | self._busy)
        return Status(len(self._there) - len(self._doubtful), pending, taken, self._error, self._since)

    def _look_at(self, address: bytes, due: float) -> None:
        if self._timed.get(address, due + 1) > due:
            self._timed[address] = due
            heapq.heappush(self._timers, (due, address))

    def _mark(self, address: bytes) -> None:
        self._failed.pop(address, None)
        self._pending[address] = None
        self._wake.set()

    # what the DNS is told

    async def run(self) -> None:
        """Carry on until cancelled."""
        while True:
            self._look_at_the_clock()
            batch = self._batch()
            if batch:
                await self._work(batch)
            else:
                await self._rest()

    async def _rest(self) -> None:
        """Wait for something to do; the next lease that ends is that, too, and what failed."""
        self._wake.clear()
        now = self._clock.now()
        due = self._timers[0][0] if self._timers else now + IDLE_S
        if self._failed:
            due = min(due, self._again)
        try:
            async with asyncio.timeout(min(max(due - now, 0.0), IDLE_S)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _look_at_the_clock(self) -> None:
        """Mark what has ended, and what is to be tried again."""
        now = self._clock.now()
        while self._timers and self._timers[0][0] <= now:
            due, address = heapq.heappop(self._timers)
            if self._timed.get(address) != due:
                continue  # another one took its place
            del self._timed[address]
            wanted = self._wanted.get(address)
            if wanted is not None and wanted.until > now and address not in self._taken:
                self._look_at(address, wanted.until)  # it was renewed
            elif wanted is not None:
                self._taken.pop(address, None)
                self._mark(address)

    def _batch(self) -> list[bytes]:
        """Take up some addresses, none of which shares a name with another."""
        found: list[bytes] = []
        names: set[str] = set()
        again = self._failed if self._clock.now() >= self._again else ()
        for address in chain(self._pending, again):
            concerned = set(self._there.get(address, ()))
            if (wanted := self._wanted.get(address)) is not None:
                concerned.add(wanted.name)
            if not names & concerned:
                names |= concerned
                found.append(address)
            if len(found) == AT_ONCE:
                break
        return found

    async def _work(self, batch: Sequence[bytes]) -> None:
        """Bring the DNS up to date for these. What failed waits, longer each time unless some of it went well."""
        again = [address in self._failed for address in batch]
        first = not self._failed
        found = await asyncio.gather(*map(self._settle, batch))
        errors = [error for error in found if error]
        if first or any(again):
            well = any(each and not error for each, error in zip(again, found, strict=True))
            self._failures = 0 if first or well else min(self._failures + 1, len(self._pauses_s) - 1)
            self._again = self._clock.now() + (0.0 if well else self._pauses_s[self._failures])
        self._tell(errors)

    def _tell(self, errors: Sequence[str]) -> None:
        if errors and errors[0] != self._error:
            log.warning("dns.failed pending=%d error=%s", self.status().pending, errors[0])
            self._error, self._since = errors[0], self._clock.now()
        if self._error and not errors and not self._failed:
            log.info("dns.mended pending=%d", len(self._pending))
            self._error = ""

    async def _settle(self, address: bytes) -> str:
        """Bring the DNS up to date for one address; say what went wrong."""
        again = address in self._failed
        self._pending.pop(address, None)
        self._failed.pop(address, None)
        self._busy.add(address)
        try:
            await self._converge(address)
        except ProvisionerError as error:
            self._fail(address, again)
            return str(error)
        except Exception as error:  # of this name alone: the others go on
            log.exception("dns.bug address=%s", address.hex("."))
            self._fail(address, again)
            return cause(error)
        finally:
            self._busy.discard(address)
        return ""

    def _fail(self, address: bytes, again: bool) -> None:
        if address not in self._pending:
            self._failed[address] = None
            self._failed.move_to_end(address, last=again)

    async def _converge(self, address: bytes) -> None:
        wanted = self._wanted.get(address)
        if wanted is not None and wanted.until <= self._clock.now():
            del self._wanted[address]
            wanted = None
        for record in list(self._there.get(address, {}).values()):
            if wanted is None or (record.name, record.owner) != (wanted.name, wanted.owner):
                await self._take_away(record)
        if wanted is not None and address not in self._taken:
            await self._give(address, wanted)

    async def _take_away(self, record: Record) -> None:
        await self._server.remove(record.name, record.owner, record.address)
        await self._forget(record)
        log.info("dns.removed name=%s address=%s", record.name, record.text)
        for other, name in list(self._taken.items()):  # somebody waits for it
            if name == record.name:
                del self._taken[other]
                self._mark(other)

    async def _give(self, address: bytes, wanted: Wanted) -> None:
        before = self._there.get(address, {}).get(wanted.name)
        if before is not None and before.done:
            return
        record = Record(address, wanted.name, wanted.owner, done=False)
        if before is None:
            await self._store.put(record)
            self._note(record)
        if not await self._server.add(wanted.name, wanted.owner, [address, *self._siblings(address, wanted)]):
            await self._forget(record)
            self._taken[address] = wanted.name
            self._look_at(address, self._clock.now() + TAKEN_S)
            log.warning("dns.taken name=%s address=%s the name is somebody else's", wanted.name, record.text)
            return
        record = record._replace(done=True)
        await self._store.put(record)
        self._note(record)
        log.info("dns.added name=%s address=%s", wanted.name, record.text)

    def _siblings(self, address: bytes, wanted: Wanted) -> list[bytes]:
        """Other addresses of the same machine under this name, which a change of the name must not lose."""
        return [
            other
            for other in sorted(self._sharing.get(wanted.name, ()))
            if other != address
            and len(other) == len(address)
            and self._there[other][wanted.name].owner == wanted.owner
            and self._there[other][wanted.name].done
        ]

    def _note(self, record: Record) -> None:
        self._there.setdefault(record.address, {})[record.name] = record
        self._sharing.setdefault(record.name, set()).add(record.address)
        (self._doubtful.discard if record.done else self._doubtful.add)(record.address)

    async def _forget(self, record: Record) -> None:
        await self._store.remove(record)
        names = self._there.get(record.address, {})
        names.pop(record.name, None)
        self._doubtful.discard(record.address)
        if not names:
            self._there.pop(record.address, None)
        sharing = self._sharing.get(record.name, set())
        sharing.discard(record.address)
        if not sharing:
            self._sharing.pop(record.name, None)
