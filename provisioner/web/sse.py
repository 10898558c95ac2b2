"""Server-sent events (WHATWG HTML, section 9.2) from the outbox: in order, from a cursor, nothing lost."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec
from aiohttp import web

from provisioner.errors import ProvisionerError
from provisioner.model.intent import Event
from provisioner.web import views
from provisioner.web.ports import Machines, Operator
from provisioner.web.replies import begin

log = logging.getLogger(__name__)

PAGE = 200
"""Events that are held for one client at a time: a slow one costs this and no more, the rest waits in the store."""
BEAT_S = 15.0
"""A comment is sent this often when nothing happens: proxies and clients notice a dead line by it."""
RETRY_MS = 1000


def shown(event: Event, machines: Machines) -> views.EventView:
    """Show an event with the name of its machine."""
    machine = machines.find(event.machine)
    return views.event_view(event, machine.name if machine else str(event.data.get("name", "")))


def frame(event: Event, machines: Machines) -> bytes:
    """Write one event. JSON has no line feed in it, so one `data` line is enough."""
    data = msgspec.json.encode(shown(event, machines))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), data)


async def stream_events(request: web.Request, source: Operator, after: int, machine: str) -> web.StreamResponse:
    """Send what happened since `after` (to the machine with this id, if one is given), and what happens then."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    if not await begin(request, response):
        return response
    await response.write(b"retry: %d\n\n" % RETRY_MS)
    try:
        await _pump(response, source, after, machine)
    except ConnectionError:
        pass  # the client went away, which is how a stream ends
    except ProvisionerError as error:
        log.error("http.stream after=%d: %s", after, error)  # the client asks again from its cursor
    return response


async def _pump(response: web.StreamResponse, source: Operator, after: int, machine: str) -> None:
    if machine:  # what is long past is picked by the store, not read through
        while page := await source.events(after, PAGE, machine):
            after = await _send(response, page, source.machines)
    while True:
        page = await source.events(after, PAGE)
        mine = [event for event in page if not machine or event.machine == machine]
        if mine:
            await _send(response, mine, source.machines)
        if page:
            after = page[-1].seq
        elif not await source.wait_event(after, BEAT_S):
            await response.write(b": still here\n\n")


async def _send(response: web.StreamResponse, page: Sequence[Event], machines: Machines) -> int:
    await response.write(b"".join(frame(event, machines) for event in page))
    return page[-1].seq
