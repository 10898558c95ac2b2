"""Webhooks: the outbox sent to receivers elsewhere, each event until it is taken, in order for each machine.

How far a receiver is stands in the store and is written with every event that it took. A daemon that is killed between
the two sends that event again under the same id, which is how the receiver knows it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Protocol

import aiohttp

from provisioner.errors import CursorError, ProvisionerError
from provisioner.model.intent import Event, Tell
from provisioner.services import Services
from provisioner.store.hooks import HookStore, Progress
from provisioner.web.cloudevents import CONTENT_TYPE, envelope, signature
from provisioner.web.ports import Machines
from provisioner.web.sse import shown
from provisioner.web.standing import Fault, Standing, fault_of, pause_s

log = logging.getLogger(__name__)

PAGE = 200
"""Events that are read at once."""
HELD = 2_000
"""Events of one receiver that wait in memory; the outbox is read on when there are fewer: 2,000 of 1 KB are 2 MB."""
STUCK = "webhook.stuck"
STUCK_TRIES = 8
"""Tries after which it is told that an event is not taken: eleven minutes, more than a restart takes."""
AT_ONCE = 16
"""Requests to one receiver at once, for different machines."""
TIMEOUT_S = 10.0
IDLE_S = 60.0
PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
"""Pause after each try that failed, the last one for ever: a receiver that is mended gets all that it missed. They are
those of an event that is not taken, and those of the whole receiver while it does not answer."""


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
        self.outbox = outbox
        self.store = store
        self.source = source
        self.tell = tell
        self.pauses_s = pauses_s
        self.services = Services()
        """Keeps those of `run`."""

    async def run(self) -> None:
        """Deliver until cancelled. Each receiver goes its own way: one that is dead keeps no other waiting."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            for hook in self._hooks:
                name = f"webhook {hook.name}"
                group.create_task(self.services.keep(name, partial(self._serve, hook, session)), name=name)

    async def _serve(self, hook: Hook, session: aiohttp.ClientSession) -> None:
        while True:
            try:
                if (known := await self.store.load(hook.name)) is None:  # a new receiver is told what happens from now
                    known = Progress(await self.outbox.last_event())
                    await self.store.save(hook.name, known)
                await Delivery(self, hook, session, known).run()
            except* ProvisionerError as errors:  # the store: what was not kept is sent again
                log.error("hook.unsaved hook=%s error=%s", hook.name, errors.exceptions[0])
            await asyncio.sleep(self.pauses_s[0])


class Delivery:
    """How one receiver is served: a reader of the outbox, and for each machine that has events a sender of them."""

    def __init__(self, site: Hooks, hook: Hook, session: aiohttp.ClientSession, known: Progress) -> None:
        self._site = site
        self._hook = hook
        self._session = session
        self._reach = known.reach
        self._behind = dict(known.waiting)
        """What an earlier daemon left, until it is read again."""
        self._queues: dict[str, deque[Event]] = {}
        self._held = 0
        self._room = asyncio.Event()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._standing = Standing(site.pauses_s)
        self._probing = asyncio.Lock()
        self._told_stuck = False
        """It was told that an event is not taken, and none was taken since."""

    async def run(self) -> None:
        """Deliver until cancelled; raise what the store raises."""
        async with asyncio.TaskGroup() as group:
            await self._take_up(group)
            while True:
                self._room.clear()
                if self._held >= HELD:
                    await self._room.wait()
                elif page := await self._page(self._reach):
                    for event in page:
                        self._queue(event, group)
                    self._reach = page[-1].seq
                    await self._save()
                else:
                    await self._site.outbox.wait_event(self._reach, IDLE_S)

    async def _take_up(self, group: asyncio.TaskGroup) -> None:
        """Read again what waited when an earlier daemon ended, before anything is sent: no order is lost."""
        at, behind = Progress(self._reach, self._behind).cursor, self._behind
        left: list[Event] = []
        while at < self._reach and (page := await self._page(at)):
            left += [e for e in page if e.seq <= self._reach and e.seq >= behind.get(e.machine, self._reach + 1)]
            at = page[-1].seq
        for event in left:
            self._queue(event, group)
        self._behind = {}

    async def _page(self, after: int) -> Sequence[Event]:
        """Read the next events; those that are gone are told and passed over."""
        try:
            page = await self._site.outbox.events(after, PAGE)
        except CursorError as gone:
            await self._tell_lost(after + 1, gone.oldest - 1)
            return await self._site.outbox.events(gone.oldest - 1, PAGE)
        if not after and page and page[0].seq > 1:  # from the beginning: the outbox gives what there is
            await self._tell_lost(1, page[0].seq - 1)
        return page

    async def _tell_lost(self, first: int, last: int) -> None:
        """Tell what a receiver that was not configured for long has missed.

        It is told before it is passed over: a daemon that is killed between the two tells it twice.
        """
        log.error("hook.lost hook=%s first=%d last=%d", self._hook.name, first, last)
        await self._site.tell("webhook.lost", {"webhook": self._hook.name, "first": first, "last": last})
        self._reach = max(self._reach, last)
        self._behind = {machine: max(seq, last + 1) for machine, seq in self._behind.items()}
        await self._save()

    def _queue(self, event: Event, group: asyncio.TaskGroup) -> None:
        if not self._hook.wants(event):
            return
        queue = self._queues.get(event.machine)
        if queue is None:
            queue = self._queues[event.machine] = deque()
            group.create_task(self._send(event.machine, queue))
        queue.append(event)
        self._held += 1

    async def _send(self, machine: str, queue: deque[Event]) -> None:
        """Deliver the events of one machine, one after the other."""
        while queue:
            await self._deliver(queue[0])
            queue.popleft()
            if not queue:
                del self._queues[machine]
            self._held -= 1
            self._room.set()
            await self._save()

    def _progress(self) -> Progress:
        waiting = {machine: queue[0].seq for machine, queue in self._queues.items()}
        return Progress(self._reach, {**self._behind, **waiting})

    async def _save(self) -> None:
        await self._site.store.save(self._hook.name, self._progress())

    async def _deliver(self, event: Event) -> None:
        body = envelope(event, shown(event, self._site.outbox.machines), self._site.source)
        failed, named, told = 0, False, False
        while True:
            async with self._places:
                rounds, fault = await self._try(event, body)
            if fault is None:
                break
            its_own = not (fault.silent and rounds)  # while nobody answers, no event is to blame
            failed += its_own
            log.debug("hook.try hook=%s event=%d try=%d error=%s", self._hook.name, event.seq, failed, fault.text)
            named |= not fault.silent and self._tell_failed(event, failed, fault)
            tries = max(failed, self._standing.rounds)
            if tries >= STUCK_TRIES and not (told or self._told_stuck):
                named = told = self._told_stuck = True
                await self._tell_stuck(event, tries, fault.text)
            if its_own:
                await asyncio.sleep(pause_s(self._site.pauses_s, failed))
        self._told_stuck = False
        if named:
            log.info("hook.delivered hook=%s event=%d tries=%d", self._hook.name, event.seq, failed + 1)

    async def _try(self, event: Event, body: bytes) -> tuple[int, Fault | None]:
        """Send one event once; while nobody answers, when it is its turn: one of all that wait after each pause.

        Give how many rounds there were without an answer before it, and why it was not taken.
        """
        if self._standing.rounds:
            async with self._probing:
                if self._standing.rounds:
                    await asyncio.sleep(self._standing.until - asyncio.get_running_loop().time())
                    return await self._send_once(event, body)
        return await self._send_once(event, body)

    async def _send_once(self, event: Event, body: bytes) -> tuple[int, Fault | None]:
        rounds = self._standing.rounds
        fault = await self._post(event, body)
        now = asyncio.get_running_loop().time()
        if fault is not None and fault.silent:
            if self._standing.silent(rounds, now):
                log.warning("hook.away hook=%s event=%d error=%s", self._hook.name, event.seq, fault.text)
        elif (away_s := self._standing.answered(now)) is not None:
            first, last = self._progress().cursor + 1, await self._site.outbox.last_event()
            log.info("hook.back hook=%s away_s=%.0f first=%d last=%d", self._hook.name, away_s, first, last)
        return rounds, fault

    def _tell_failed(self, event: Event, failed: int, fault: Fault) -> bool:
        """Say that a receiver did not take an event, once in a while; tell whether it was said."""
        untold = self._standing.refused(asyncio.get_running_loop().time())
        if untold is None:
            return False
        line = "hook.failed hook=%s event=%d try=%d error=%s untold=%d"
        log.warning(line, self._hook.name, event.seq, failed, fault.text, untold)
        return True

    async def _tell_stuck(self, event: Event, tries: int, fault: str) -> None:
        """Say which event holds back its machine's; once while nothing at all is taken, and never of what this says."""
        log.error("hook.stuck hook=%s event=%d tries=%d error=%s", self._hook.name, event.seq, tries, fault)
        if event.type != STUCK:
            about = {"webhook": self._hook.name, "event": event.seq, "tries": tries, "error": fault}
            await self._site.tell(STUCK, {**about, "machine": event.machine})

    async def _post(self, event: Event, body: bytes) -> Fault | None:
        """Send one event once; say what went wrong, None when it was taken."""
        try:
            async with self._session.post(
                self._hook.url, data=body, headers=self._headers(event, body), allow_redirects=False
            ) as response:
                return fault_of(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # a host that is no name, too
            return Fault(_said(error, self._hook.url), silent=True)

    def _headers(self, event: Event, body: bytes) -> Mapping[str, str]:
        message, now = f"{self._site.source}#{event.seq}", int(time.time())
        return {
            "Content-Type": f"{CONTENT_TYPE}; charset=utf-8",
            "webhook-id": message,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._hook.secret, message, now, body),
        }


def _said(error: Exception, url: str) -> str:
    """Say what went wrong, without the URL: of Slack, Teams and the like it is the password."""
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return f"{type(error).__name__}: {said.replace(url, '(its URL)')}"
