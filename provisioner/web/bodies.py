"""Read what a client sent: bounded in size and depth, typed, unknown keys refused where people write."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from typing import TypeVar

import msgspec
from aiohttp import web

from provisioner.errors import WireError
from provisioner.web.turns import Turns

T = TypeVar("T")

ROOM = web.AppKey("room", Turns)
"""For the bodies that an application holds, in octets."""
_HELD = web.RequestKey("held", ExitStack)

MAX_DEPTH = 32
"""Deeper nesting is an attack on somebody's recursion, not data (CVE-2026-3608 of Kea was of this kind)."""

PATIENCE_S = 30.0
"""For a body beside what its size takes: as long as a connection may be idle."""
SLOWEST_BYTES_S = 16 * 1024
"""Of the slowest line between us and a machine: 128 kbit/s."""
STILL_S = 120.0
"""How long nothing may come of a body that takes as long as it takes."""
PIECE_BYTES = 1024 * 1024

# A string that is not closed runs to the end: else each of its quotes would be tried anew, which is quadratic.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(octet for octet in range(256) if octet not in b"[]{}")
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")


def nested_deeper_than(raw: bytes, depth: int) -> bool:
    """Say whether JSON text nests deeper than `depth`, or its brackets do not match. Linear, without recursion."""
    if raw.count(b"[") + raw.count(b"{") <= depth:
        return False
    brackets = _STRINGS.sub(b"", raw).translate(_AS_SQUARE, _NOT_BRACKETS)
    for _ in range(depth):
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"")
        if len(brackets) == before:
            break
    return bool(brackets)


async def read_body(request: web.Request, limit_bytes: int) -> bytes:
    """Take the body, at most `limit_bytes`; more is refused with 413 before it is read to the end.

    It has room from before it is read until `let_go`; where there is none for too long, it is refused with 503.

    One that does not come to its end in the time that the largest takes on a slow line is refused with 408: what waits
    for a request ends by `server.KEEP_ALIVE_S`, but nothing else does where a request has begun.
    """
    size = request.content_length if request.content_length is not None else limit_bytes
    check_size(size, limit_bytes)
    if request.body_exists:
        request[_HELD] = await _room(request, size)
    taken = bytearray()
    await _take(request, limit_bytes, taken.extend)
    return bytes(taken)


async def _room(request: web.Request, size_bytes: int) -> ExitStack:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await request.app[ROOM].begin(request.remote or "", size_bytes)
    except TimeoutError:
        raise web.HTTPServiceUnavailable(reason="there is no room for it beside what others send") from None


def let_go(request: web.Request) -> None:
    """The request is answered: what its body took is free for others."""
    if (held := request.get(_HELD)) is not None:
        held.close()


def check_size(size_bytes: int | None, limit_bytes: int) -> None:
    """Refuse a body that is larger than it may be, as far as that is known."""
    if size_bytes is not None and size_bytes > limit_bytes:
        raise web.HTTPRequestEntityTooLarge(limit_bytes, size_bytes)


async def drop_body(request: web.Request, limit_bytes: int) -> None:
    """Let the body come, in the same bounds, and keep nothing of it."""
    await _take(request, limit_bytes, len)


async def _take(request: web.Request, limit_bytes: int, keep: Callable[[bytes], object]) -> None:
    check_size(request.content_length, limit_bytes)
    size = 0
    try:
        async with asyncio.timeout(PATIENCE_S + limit_bytes / SLOWEST_BYTES_S):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                check_size(size, limit_bytes)
                keep(chunk)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """Gather what arrives of a large body into pieces that are worth a call to another thread; 408 where it stands."""
    gathered = bytearray()
    while chunk := await _more(request):
        gathered += chunk
        if len(gathered) >= PIECE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


async def _more(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(STILL_S):
            return await request.content.readany()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def bounded_json(raw: bytes) -> bytes:
    """Hand on JSON text that is not nested too deeply; raise `WireError`."""
    if nested_deeper_than(raw, MAX_DEPTH):
        raise WireError(f"the JSON body nests deeper than {MAX_DEPTH} or its brackets do not match")
    return raw


def decode(raw: bytes, kind: type[T]) -> T:
    """Read a JSON body as a typed value; raise `WireError` that names the key."""
    try:
        found = msgspec.json.decode(bounded_json(raw), type=kind)
        json.loads(raw, object_pairs_hook=_unique)
        return found
    except msgspec.ValidationError as error:
        path, said = in_words(error)
        raise WireError(f"body{path}: {said}") from error
    except (msgspec.DecodeError, ValueError) as error:  # json refuses a whole number of thousands of digits so
        raise WireError(f"the body is not JSON: {error}") from error


def _unique(pairs: Sequence[tuple[str, object]]) -> None:
    """Refuse an object in which a key stands twice: readers of JSON take the first, the last, or neither."""
    if len({key for key, _ in pairs}) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise WireError(f"body: the key {twice[:80]!r} stands twice in one object")


def in_words(error: msgspec.ValidationError) -> tuple[str, str]:
    """Turn msgspec's "Expected `int`, got `str` - at `$.a.b`" into ".a.b" and "expected int, got str"."""
    said, _, path = str(error).replace("`", "").partition(" - at ")
    said = said.replace("Object contains unknown field", "unknown key").replace(
        "Object missing required field", "missing key"
    )
    return path.removeprefix("$"), f"{said[:1].lower()}{said[1:]}"
