"""What every handler of the operator API does: read bodies, queries and conditions, answer JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from multidict import MultiMapping

from provisioner.errors import ConflictError, WireError
from provisioner.model.machine import Machine
from provisioner.web import bodies, views
from provisioner.web.ports import Machines, Route
from provisioner.web.problems import StaleError

T = TypeVar("T")

BODY_LIMIT = 256 * 1024  # parameters of a machine: the largest answer file that people paste is some 30 KiB
PAGE_LIMIT = 1000
KEY_LIMIT = 200
_ETAG = re.compile(r'(?:W/)?"?([0-9]{1,18})"?')


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No key at all."""


async def read(request: web.Request, kind: type[T], default: T | None = None) -> T:
    """Read the body as a typed value; `default` stands for no body at all."""
    raw = await bodies.read_body(request, BODY_LIMIT)
    if not raw.strip() and default is not None:
        return default
    return bodies.decode(raw, kind)


def check_query(given: MultiMapping[str], route: Route) -> None:
    """Refuse (`WireError`) what a path does not take: a filter that is ignored shows the wrong machines."""
    for name in given:
        if name not in route.query:
            hint = f"this path takes {', '.join(route.query)}" if route.query else "this path takes none"
            raise WireError(f"unknown query parameter {name[:40]!r}", hint=hint)
        if name != route.repeated and len(given.getall(name)) > 1:
            raise WireError(f"{name}: given more than once")


def truth(given: MultiMapping[str], name: str) -> bool:
    """Read a parameter that is true or false, the latter where it is not given; raise `WireError`."""
    text = given.get(name, "")
    if text not in ("", "true", "false"):
        raise WireError(f"{name}: {text[:40]!r}", hint="true or false")
    return text == "true"


def page(given: MultiMapping[str]) -> tuple[int, int]:
    """Read cursor and limit of a list that is read from a cursor."""
    return whole(given.get("after", "0"), "after"), page_limit(given)


def page_limit(given: MultiMapping[str]) -> int:
    """Read how much a page has at the most; raise `WireError`."""
    text = given.get("limit", str(PAGE_LIMIT))
    if not re.fullmatch(r"[0-9]{1,18}", text) or not 1 <= int(text) <= PAGE_LIMIT:
        raise WireError(f"limit: {text[:40]!r}", hint=f"a whole number from 1 to {PAGE_LIMIT}")
    return int(text)


async def nothing(request: web.Request) -> None:
    """Read the body of what takes no word: empty, or an object without any key."""
    await read(request, Nothing, Nothing())


def whole(text: str, name: str) -> int:
    """Read a whole number; raise `WireError` that names it."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise WireError(f"{name}: not a whole number: {text[:40]!r}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Condition:
    """What makes an intent safe to repeat (Idempotency-Key) and to race (If-Match)."""

    key: str
    generation: int | None


def condition(request: web.Request) -> Condition:
    """Read the headers of an intent; raise `WireError`."""
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > KEY_LIMIT or not key.isprintable():
        raise WireError(f"Idempotency-Key: at most {KEY_LIMIT} printable characters")
    match = request.headers.get("If-Match", "").strip()
    if not match or match == "*":
        return Condition(key, None)
    etag = _ETAG.fullmatch(match)
    if etag is None:
        raise WireError(f"If-Match: not an ETag of a machine: {match[:40]!r}", hint="give the ETag that GET answered")
    return Condition(key, int(etag[1]))


@contextmanager
def current(machines: Machines, ref: str, given: Condition) -> Iterator[None]:
    """Answer 412 where something is refused because the caller has seen an older generation."""
    try:
        yield
    except ConflictError as error:
        if given.generation is not None and given.generation != (now := machines.get(ref).generation):
            hint = f"it is now {now}: read the machine again, and decide anew"
            raise StaleError(f"{ref}: generation {given.generation} is not the current one", hint=hint) from error
        raise


def machine_reply(machine: Machine, status: int = 200) -> web.Response:
    """Answer with a machine; its generation is the ETag."""
    response = json_reply(views.machine_view(machine), status)
    response.headers["ETag"] = f'"{machine.generation}"'
    return response


async def begin(request: web.Request, response: web.StreamResponse) -> bool:
    """Send the head of what is streamed; False where that is all that is asked for (RFC 9110 section 9.3.2)."""
    await response.prepare(request)
    return request.method != "HEAD"


def json_reply(value: Any, status: int = 200) -> web.Response:
    """Answer JSON."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
