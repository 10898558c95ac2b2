"""The operator API, version 1: handlers and their route table. docs/api.md is its reference."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from provisioner.errors import ConfigError, ConflictError, WireError
from provisioner.model.machine import Machine
from provisioner.model.net import parse_mac
from provisioner.web import bodies, views
from provisioner.web.intents import BootBody, EnrolBody, PowerBody, ReleaseBody, enrol_request
from provisioner.web.ports import Route, Site
from provisioner.web.problems import StaleError
from provisioner.web.sse import shown, stream_events

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY_LIMIT = 256 * 1024  # parameters of a machine: the largest answer file that people paste is some 30 KiB
PAGE_LIMIT = 1000
VERSION = metadata.version("provisioner")
KEY_LIMIT = 200
_ETAG = re.compile(r'(?:W/)?"?([0-9]{1,18})"?')


class Api:
    """Handlers over one `Site`. Each reads its input, asks, and shows the answer; nothing is decided here."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ask = site.operator

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        machine = "/v1/machines/{ref}"
        return (
            Route("GET", "/v1/machines", self.machines),
            Route("POST", "/v1/machines", self.enrol),
            Route("GET", machine, self.machine),
            Route("DELETE", machine, self.forget),
            Route("POST", f"{machine}/boot", self.boot),
            Route("POST", f"{machine}/release", self.release),
            Route("POST", f"{machine}/power", self.power),
            Route("POST", f"{machine}/cancel", self.cancel),
            Route("GET", f"{machine}/preflight", self.preflight),
            Route("GET", f"{machine}/trace", self.trace),
            Route("GET", "/v1/bootenvs", self.bootenvs),
            Route("GET", "/v1/events", self.events),
            Route("GET", "/v1/info", self.info),
            Route("GET", "/healthz", self.healthz),
            Route("GET", "/readyz", self.readyz),
        )

    # machines

    async def machines(self, request: web.Request) -> web.Response:
        """List machines by name; `name` (repeated or with commas), `state` and `tag` narrow it, `after` pages on."""
        query = _query(request, "name", "state", "tag", "limit", "after")
        names = {name for value in query.getall("name", []) for name in value.split(",")}
        state, tag, after = query.get("state", ""), query.get("tag", ""), query.get("after", "")
        limit = _whole(query.get("limit", "0"), "limit")

        def wanted(machine: Machine) -> bool:
            return (
                (not names or machine.name in names or machine.id in names)
                and (not state or machine.state == state)
                and (not tag or tag in machine.tags)
                and machine.name > after
            )

        found = sorted(filter(wanted, self._ask.machines.all()), key=lambda machine: machine.name)
        page = found[:limit] if limit else found
        following = page[-1].name if len(page) < len(found) else None
        return _json({"machines": [views.machine_view(machine) for machine in page], "next": following})

    async def enrol(self, request: web.Request) -> web.Response:
        """Name a machine and its BMC."""
        body = await _body(request, EnrolBody)
        machine = await self._ask.enrol(enrol_request(body))
        response = _machine(machine, status=201)
        response.headers["Location"] = f"/v1/machines/{machine.name}"
        return response

    async def machine(self, request: web.Request) -> web.Response:
        """Show one machine; its generation is the ETag."""
        _query(request)
        machine = self._ask.machines.get(request.match_info["ref"])
        return _machine(machine)

    async def forget(self, request: web.Request) -> web.Response:
        """Drop a machine from the records; the machine itself is not touched."""
        await self._ask.forget(request.match_info["ref"])
        return web.Response(status=204)

    async def boot(self, request: web.Request) -> web.Response:
        """Take a machine to a bootenv."""
        body = await _body(request, BootBody)
        ref, key, generation = _intent(request)
        boot = self._ask.boot(ref, body.bootenv, key=key, generation=generation, params=body.params)
        return await self._accepted(ref, generation, boot)

    async def release(self, request: web.Request) -> web.Response:
        """Give a machine back; its disks are erased unless `erase` is false."""
        body = await _body(request, ReleaseBody, default=ReleaseBody())
        ref, key, generation = _intent(request)
        return await self._accepted(
            ref, generation, self._ask.release(ref, erase=body.erase, key=key, generation=generation)
        )

    async def power(self, request: web.Request) -> web.Response:
        """Switch a machine by its BMC; the answer comes when the end state was observed."""
        body = await _body(request, PowerBody)
        return _machine(await self._ask.power(request.match_info["ref"], body.power))

    async def cancel(self, request: web.Request) -> web.Response:
        """End the run that is under way; the machine goes back to the state that it came from."""
        return _machine(await self._ask.cancel(request.match_info["ref"]), status=202)

    async def preflight(self, request: web.Request) -> web.Response:
        """Say what a boot would be refused for, and touch nothing."""
        bootenv = _query(request, "bootenv").get("bootenv", "")
        if not bootenv:
            raise WireError("bootenv: missing in the query", hint="GET .../preflight?bootenv=debian-12")
        checks = await self._ask.preflight(request.match_info["ref"], bootenv)
        return _json({"ok": all(check.ok for check in checks), "checks": checks})

    async def trace(self, request: web.Request) -> web.Response:
        """Show a machine's journey from a cursor on; `next` is where to ask again."""
        query = _query(request, "after", "limit")
        after, limit = _page(query)
        lines = await self._ask.trace(_ref_or_mac(request), after=after, limit=limit)
        following = lines[-1][0] if lines else after
        return _json({"trace": [views.trace_view(seq, line) for seq, line in lines], "next": following})

    async def _accepted(self, ref: str, generation: int | None, intent: Awaitable[Machine]) -> web.Response:
        """Answer 202; or 412 when it was refused because the caller has seen an older generation."""
        try:
            return _machine(await intent, status=202)
        except ConflictError as error:
            if generation is not None and generation != (now := self._ask.machines.get(ref).generation):
                hint = f"it is now {now}: read the machine again, and decide anew"
                raise StaleError(f"{ref}: generation {generation} is not the current one", hint=hint) from error
            raise

    # the rest

    async def bootenvs(self, request: web.Request) -> web.Response:
        """List what machines can boot, and what is missing of it."""
        _query(request)
        found = sorted(self._site.bootenvs(), key=lambda status: status.bootenv.name)
        return _json({"bootenvs": [views.bootenv_view(status) for status in found]})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Give events from a cursor on: a page of JSON, or a stream for who accepts text/event-stream."""
        query = _query(request, "after", "limit", "machine")
        ref = query.get("machine", "")
        machine = self._ask.machines.get(ref).id if ref else ""
        after, limit = _page(query)
        if "text/event-stream" in request.headers.get("Accept", ""):
            seen = request.headers.get("Last-Event-ID", "")
            return await stream_events(request, self._ask, _whole(seen, "Last-Event-ID") if seen else after, machine)
        found = await self._ask.events(after, limit, machine)
        following = found[-1].seq if found else after
        return _json({"events": [shown(event, self._ask.machines) for event in found], "next": following})

    async def info(self, request: web.Request) -> web.Response:
        """Say which version this is and where it listens."""
        return _json({"name": "provisioner", "version": VERSION, "api": "v1", "listeners": self._site.listeners()})

    async def healthz(self, request: web.Request) -> web.Response:
        """Say that the loop turns."""
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        """Say whether machines can be served, and why not."""
        faults = self._site.faults()
        return web.Response(text="".join(f"{fault}\n" for fault in faults) or "ok\n", status=503 if faults else 200)


# reading and writing


async def _body(request: web.Request, kind: type[T], default: T | None = None) -> T:
    raw = await bodies.read_body(request, BODY_LIMIT)
    if not raw.strip() and default is not None:
        return default
    return bodies.decode(raw, kind)


def _query(request: web.Request, *known: str) -> Any:
    """Take the query; what is not known is refused, since a filter that is ignored shows the wrong machines."""
    for name in request.query:
        if name not in known:
            hint = f"this path takes {', '.join(known)}" if known else "this path takes none"
            raise WireError(f"unknown query parameter {name[:40]!r}", hint=hint)
    return request.query


def _page(query: Any) -> tuple[int, int]:
    limit = _whole(query.get("limit", str(PAGE_LIMIT)), "limit")
    return _whole(query.get("after", "0"), "after"), min(limit, PAGE_LIMIT) or PAGE_LIMIT


def _whole(text: str, name: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise WireError(f"{name}: not a whole number: {text[:40]!r}")
    return int(text)


def _ref_or_mac(request: web.Request) -> str:
    """Read a machine's name or id, or the MAC of one that is not on record yet, in any spelling."""
    ref = request.match_info["ref"]
    try:
        return parse_mac(ref) if ":" in ref or "-" in ref or "." in ref else ref
    except ConfigError:
        return ref


def _intent(request: web.Request) -> tuple[str, str, int | None]:
    """Read what makes an intent safe to repeat: machine, Idempotency-Key, and the generation of If-Match."""
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > KEY_LIMIT or not key.isprintable():
        raise WireError(f"Idempotency-Key: at most {KEY_LIMIT} printable characters")
    match = request.headers.get("If-Match", "").strip()
    if not match or match == "*":
        return request.match_info["ref"], key, None
    etag = _ETAG.fullmatch(match)
    if etag is None:
        raise WireError(f"If-Match: not an ETag of a machine: {match[:40]!r}", hint="give the ETag that GET answered")
    return request.match_info["ref"], key, int(etag[1])


def _machine(machine: Machine, status: int = 200) -> web.Response:
    response = _json(views.machine_view(machine), status)
    response.headers["ETag"] = f'"{machine.generation}"'
    return response


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
