"""Image fan-out as machines ask for it: the list of an image's chunks, and from whom to take them (boot/fanout.py)."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiohttp import web

from provisioner.boot.chunks import ChunkList
from provisioner.boot.fanout import SILENT_S, Done, Order, Swarm, Taken
from provisioner.boot.sharing import read_offer, read_report, write_answer
from provisioner.errors import ConflictError, NotFoundError
from provisioner.model.trace import NOW, Channel, Observe, TraceLine
from provisioner.web import bodies
from provisioner.web.machines import address_of, authorised, token_of
from provisioner.web.ports import Route

log = logging.getLogger(__name__)

REPORT_LIMIT = 64 * 1024

Lookup = Callable[[str], Awaitable[ChunkList | None]]
"""The chunks of the content with this SHA-256; None where there is no such content, or it is small."""


Bearer = Callable[[str, str], str]
"""Which machine this token, used from this address, is of; raises `TicketError`."""


class Sharing:
    """Handlers over the swarms of all images that machines take now."""

    def __init__(
        self, bearer: Bearer, chunks: Lookup, *, observe: Observe, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bearer, self._chunks, self._observe, self._clock = bearer, chunks, observe, clock
        self._swarms: dict[str, tuple[Swarm, float]] = {}
        self.counts: Counter[str] = Counter(origin=0, neighbour=0)
        """Chunks that arrived whole, by who gave them."""

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        one = "/agent/v1/share/{sha256:[0-9a-f]{64}}"
        return (
            Route("GET", one, authorised(self.chunks)),
            Route("POST", f"{one}/join", authorised(self.join)),
            Route("POST", f"{one}/next", authorised(self.next)),
            Route("POST", "/agent/v1/share/leave", authorised(self.leave)),
        )

    async def chunks(self, request: web.Request) -> web.Response:
        """Give the list of an image's chunks."""
        self._who(request)
        return _text((await self._listed(request)).encode())

    async def join(self, request: web.Request) -> web.Response:
        """Take a machine into the swarm of an image."""
        who, address = self._who(request), address_of(request)
        offer = read_offer(await _body(request))
        listed, now = await self._listed(request), self._clock()
        self._sweep(now)
        swarm, _ = self._swarms.get(listed.sha256, (Swarm(len(listed.digests)), now))
        self._swarms[listed.sha256] = (swarm, now)
        if not swarm.join(who, offer.url(address), address, offer.have, now):
            raise ConflictError("too many machines share this image")
        log.info("share.join machine=%s address=%s image=%s machines=%d", who, address, listed.sha256[:12], len(swarm))
        return web.Response(status=204)

    async def next(self, request: web.Request) -> web.Response:
        """Hear what became of a machine's last chunks; say which come next, and from where."""
        who, now = self._who(request), self._clock()
        sha256 = request.match_info["sha256"]
        report = read_report(await _body(request))
        swarm, _ = self._swarms.get(sha256, (None, now))
        before = replace(swarm.taken(who)) if swarm is not None else Taken()
        answer = None if swarm is None else swarm.next(who, report, now)
        if swarm is None or answer is None:
            raise ConflictError("join first")
        self._count(who, sha256, before, swarm.taken(who), whole=isinstance(answer, Done))
        self._swarms[sha256] = (swarm, now)
        if isinstance(answer, tuple) and log.isEnabledFor(logging.DEBUG):
            log.debug("share.orders machine=%s image=%s %s", who, sha256[:12], _shown(answer))
        return _text(write_answer(answer))

    async def leave(self, request: web.Request) -> web.Response:
        """Forget a machine that is about to restart."""
        who = self._who(request)
        for swarm, _ in self._swarms.values():
            swarm.leave(who)
        return web.Response(status=204)

    def _count(self, who: str, sha256: str, before: Taken, now: Taken, *, whole: bool) -> None:
        """Keep count, and say of a machine that just got its last chunk who gave it what."""
        self.counts["origin"] += now.origin - before.origin
        self.counts["neighbour"] += now.neighbours - before.neighbours
        if whole and not now.is_told:
            now.is_told = True
            text = f"image {sha256[:12]}: {now.neighbours} chunks from neighbours, {now.origin} from here"
            self._observe(TraceLine(NOW, Channel.AGENT, "share.done", text, machine=who))

    def _who(self, request: web.Request) -> str:
        return self._bearer(token_of(request), address_of(request))

    async def _listed(self, request: web.Request) -> ChunkList:
        listed = await self._chunks(request.match_info["sha256"])
        if listed is None:
            raise NotFoundError("nothing is shared under this hash")
        return listed

    def _sweep(self, now: float) -> None:
        """Forget images that nobody takes any more."""
        for sha256 in [sha256 for sha256, (_, at) in self._swarms.items() if now - at > SILENT_S]:
            del self._swarms[sha256]


def _shown(orders: tuple[Order, ...]) -> str:
    return " ".join(f"{order.index}<{'neighbour' if order.source else 'origin'}" for order in orders)


async def _body(request: web.Request) -> str:
    return (await bodies.read_body(request, REPORT_LIMIT)).decode("ascii", "replace")


def _text(text: str) -> web.Response:
    return web.Response(text=text, headers={"Cache-Control": "no-store"})
