"""The operator API, version 1: handlers and their route table. docs/api.md is its reference."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from importlib import metadata
from itertools import islice

from aiohttp import web

from provisioner.errors import WireError
from provisioner.lifecycle.selectors import parse
from provisioner.model.machine import Machine, State
from provisioner.web import views
from provisioner.web.cloudevents import BATCH_TYPE, envelope
from provisioner.web.hooks import source_of
from provisioner.web.intents import EnrolBody, enrol_request
from provisioner.web.lists import Encoded
from provisioner.web.ports import Route, Site
from provisioner.web.replies import condition, json_reply, machine_reply, page, page_limit, read, whole
from provisioner.web.sse import shown, stream_events
from provisioner.web.verbs import Verbs

VERSION = metadata.version("provisioner")
MACHINES_BY = ("name", "state", "tag", "select", "limit", "after")


class Api:
    """Handlers over one `Site`. Each reads its input, asks, and shows the answer; nothing is decided here."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ask = site.operator
        self._encoded = Encoded()

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        return (
            Route("GET", "/v1/machines", self.machines, query=MACHINES_BY, repeated="name"),
            Route("POST", "/v1/machines", self.enrol),
            *Verbs(self._ask).routes(),
            Route("GET", "/v1/bootenvs", self.bootenvs),
            Route("GET", "/v1/events", self.events, query=("after", "limit", "machine")),
            Route("GET", "/v1/info", self.info),
            Route("GET", "/healthz", self.healthz),
            Route("GET", "/readyz", self.readyz),
        )

    async def machines(self, request: web.Request) -> web.StreamResponse:
        """List machines; `name` (repeated or with commas), `state`, `tag`, `select` narrow it, `after` pages on."""
        given = request.query
        names = {name for value in given.getall("name", []) for name in value.split(",")}
        state, tag, after = given.get("state", ""), given.get("tag", ""), given.get("after", "")
        limit = page_limit(given) if "limit" in given else None
        if state and state not in set(State):
            raise WireError(f"state: {state[:40]!r}", hint=f"one of {', '.join(State)}")
        selects = parse(text).selects if (text := given.get("select", "")) else None

        def wanted(machine: Machine) -> bool:
            like = (not state or machine.state == state) and (not tag or tag in machine.tags)
            return like and machine.name > after and (selects is None or selects(machine))

        found = filter(wanted, self._named(names))
        some = list(islice(found, limit))
        more = next(found, None) is not None  # not looked for beyond that: a page costs no more on a large site
        return await self._encoded.reply(request, some, some[-1].name if more else None)

    def _named(self, names: set[str]) -> Iterable[Machine]:
        """Find machines by name or id, ordered by name; all of them where none is named."""
        if names:
            found = (self._ask.machines.find(name) for name in names)
            some = {machine.id: machine for machine in found if machine is not None}
            return sorted(some.values(), key=lambda machine: machine.name)
        machines = self._ask.machines.all()
        self._encoded.trim(machines)
        return machines

    async def enrol(self, request: web.Request) -> web.Response:
        """Name a machine and its BMC."""
        machine = await self._ask.enrol(enrol_request(await read(request, EnrolBody)), key=condition(request).key)
        response = machine_reply(machine, status=201)
        response.headers["Location"] = f"/v1/machines/{machine.name}"
        return response

    async def bootenvs(self, request: web.Request) -> web.Response:
        """List what machines can boot, and what is missing of it."""
        found = sorted(self._site.bootenvs(), key=lambda status: status.bootenv.name)
        return json_reply({"bootenvs": [views.bootenv_view(status) for status in found]})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Give events from a cursor on: a page of JSON, CloudEvents, or a stream for who accepts text/event-stream."""
        given = request.query
        ref = given.get("machine", "")
        machine = self._ask.machines.get(ref).id if ref else ""
        after, limit = page(given)
        if "text/event-stream" in request.headers.get("Accept", ""):
            seen = request.headers.get("Last-Event-ID", "")
            await self._ask.events(whole(seen, "Last-Event-ID") if seen else after, 1)  # a cursor that is gone: 410
            return await stream_events(request, self._ask, whole(seen, "Last-Event-ID") if seen else after, machine)
        found = await self._ask.events(after, limit, machine)
        if "application/cloudevents" in request.headers.get("Accept", ""):
            machines, source = self._ask.machines, source_of(socket.gethostname())
            batch = b",".join(envelope(event, shown(event, machines), source) for event in found)
            return web.Response(body=b"[%s]" % batch, content_type=BATCH_TYPE)
        following = found[-1].seq if found else after
        return json_reply({"events": [shown(event, self._ask.machines) for event in found], "next": following})

    async def info(self, request: web.Request) -> web.Response:
        """Say which version this is, where it listens and how its services stand."""
        site = self._site
        said = {"listeners": site.listeners(), "services": site.services(), "mirror": site.mirror()}
        return json_reply({"name": "provisioner", "version": VERSION, "api": "v1", **said})

    async def healthz(self, request: web.Request) -> web.Response:
        """Say that the loop turns."""
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        """Say whether machines can be served, and why not."""
        faults = self._site.faults()
        return web.Response(text="".join(f"{fault}\n" for fault in faults) or "ok\n", status=503 if faults else 200)
