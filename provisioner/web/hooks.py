"""Webhooks: the outbox sent to receivers elsewhere, each event until it is taken, in order for each machine.

How far a receiver is stands in the store and is written with every event that it took. A daemon that is killed between
the two sends that event again under the same id, which is how the receiver knows it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

import aiohttp

from provisioner.errors import CursorError, ProvisionerError
from provisioner.model.intent import Event, Tell
from provisioner.store.hooks import HookStore
from provisioner.web.cloudevents import CONTENT_TYPE, envelope, signature
from provisioner.web.ports import Machines
from provisioner.web.sse import shown

log = logging.getLogger(__name__)

PAGE = 200
"""Events of one receiver that are under way at most; those after them wait in the store."""
AT_ONCE = 16
"""Requests to one receiver at once, for different machines."""
TIMEOUT_S = 10.0
IDLE_S = 60.0
PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
"""Pause after each try that failed, the last one for ever: a receiver that is mended gets all that it missed."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One receiver. `types` are patterns such as `machine.*`; none means all."""

    name: str
    url: str
    secret: bytes
    types: tuple[str, ...] = ()

    def wants(self, event: Event) -> bool:
        """Say whether this receiver is told of an event."""
        return not self.types or any(fnmatchcase(event.type, pattern) for pattern in self.types)


def source_of(host: str) -> str:
    """Name this site in CloudEvents: a URI reference (RFC 3986 section 4.2)."""
    return f"//{host}/provisioner"


class Outbox(Protocol):
    """Where events come from; `lifecycle.conductor.Conductor` is the real one."""

    @property
    def machines(self) -> Machines: ...

    async def events(self, after: int, limit: int, machine: str = "") -> Sequence[Event]: ...

    async def last_event(self) -> int: ...

    async def wait_event(self, after: int, timeout_s: float) -> bool: ...


class Hooks:
    """All receivers of a site."""

    def __init__(
        self,
        hooks: Sequence[Hook],
        outbox: Outbox,
        store: HookStore,
        source: str,
        tell: Tell,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self._hooks = hooks
        self._outbox = outbox
        self._store = store
        self._source = source
        self._tell = tell
        self._pauses_s = pauses_s

    async def run(self) -> None:
        """Deliver until cancelled. Each receiver goes its own way: one that is dead keeps no other waiting."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            for hook in self._hooks:
                group.create_task(self._serve(hook, session), name=f"hook {hook.name}")

    async def _serve(self, hook: Hook, session: aiohttp.ClientSession) -> None:
        while True:
            try:
                delivery = await self._taken_up(hook, session)
                while True:
                    await self._go_on(hook, delivery)
            except* ProvisionerError as errors:  # the store: what was not kept is sent again
                log.error("hook.unsaved hook=%s error=%s", hook.name, errors.exceptions[0])
            await asyncio.sleep(self._pauses_s[0])

    async def _go_on(self, hook: Hook, delivery: Delivery) -> None:
        try:
            page = await self._outbox.events(delivery.cursor, PAGE)
        except CursorError as gone:
            await self._pass_over(hook, delivery, gone.oldest)
            return
        if page:
            await delivery.page(page, self._outbox.machines)
        else:
            await self._outbox.wait_event(delivery.cursor, IDLE_S)

    async def _pass_over(self, hook: Hook, delivery: Delivery, oldest: int) -> None:
        """Go on from what is kept: a receiver that was not configured for long has missed what went meanwhile.

        The loss is told before it is passed over: a daemon that is killed between the two tells it twice.
        """
        first, last = delivery.cursor + 1, oldest - 1
        log.error("hook.lost hook=%s first=%d last=%d", hook.name, first, last)
        await self._tell("webhook.lost", {"webhook": hook.name, "first": first, "last": last})
        await delivery.pass_over(last)

    async def _taken_up(self, hook: Hook, session: aiohttp.ClientSession) -> Delivery:
        known = await self._store.load(hook.name)
        if known is None:  # a new receiver is told what happens from now on
            known = (await self._outbox.last_event(), [])
            await self._store.save(hook.name, *known)
        return Delivery(hook, session, self._store, self._source, self._pauses_s, known)


class Delivery:
    """How far one receiver is."""

    def __init__(
        self,
        hook: Hook,
        session: aiohttp.ClientSession,
        store: HookStore,
        source: str,
        pauses_s: Sequence[float],
        known: tuple[int, Sequence[int]],
    ) -> None:
        self._hook = hook
        self._session = session
        self._store = store
        self._source = source
        self._pauses_s = pauses_s
        self.cursor = known[0]
        self._ahead = set(known[1])
        self._places = asyncio.Semaphore(AT_ONCE)

    async def page(self, page: Sequence[Event], machines: Machines) -> None:
        """Deliver a page of the outbox: machines side by side, the events of each one after the other."""
        chains: defaultdict[str, list[Event]] = defaultdict(list)
        for event in page:
            if self._hook.wants(event) and event.seq not in self._ahead:
                chains[event.machine].append(event)
        async with asyncio.TaskGroup() as group:
            for events in chains.values():
                group.create_task(self._chain(events, machines))
        self.cursor, self._ahead = page[-1].seq, set()
        await self._store.save(self._hook.name, self.cursor, ())

    async def pass_over(self, last: int) -> None:
        """Count everything up to event number `last` as delivered."""
        self.cursor, self._ahead = last, {seq for seq in self._ahead if seq > last}
        await self._store.save(self._hook.name, self.cursor, self._ahead)

    async def _chain(self, events: Sequence[Event], machines: Machines) -> None:
        for event in events:
            await self._deliver(event, envelope(event, shown(event, machines), self._source))
            self._ahead.add(event.seq)
            await self._store.save(self._hook.name, self.cursor, self._ahead)

    async def _deliver(self, event: Event, body: bytes) -> None:
        failed = 0
        while True:
            async with self._places:
                fault = await self._post(event, body)
            if not fault:
                break
            log.warning("hook.failed hook=%s event=%d try=%d error=%s", self._hook.name, event.seq, failed + 1, fault)
            await asyncio.sleep(self._pauses_s[min(failed, len(self._pauses_s) - 1)])
            failed += 1
        if failed:
            log.info("hook.delivered hook=%s event=%d tries=%d", self._hook.name, event.seq, failed + 1)

    async def _post(self, event: Event, body: bytes) -> str:
        """Send one event once; say what went wrong, empty when it was taken."""
        try:
            async with self._session.post(
                self._hook.url, data=body, headers=self._headers(event, body), allow_redirects=False
            ) as response:
                return "" if 200 <= response.status < 300 else f"HTTP {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"{type(error).__name__}: {error}"

    def _headers(self, event: Event, body: bytes) -> Mapping[str, str]:
        message, now = f"{self._source}#{event.seq}", int(time.time())
        return {
            "Content-Type": f"{CONTENT_TYPE}; charset=utf-8",
            "webhook-id": message,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._hook.secret, message, now, body),
        }
