"""Conditional and partial requests for content that has a strong ETag (RFC 9110 sections 13 and 14). No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)
_ETAG = re.compile(r'(?:W/)?"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Part:
    """What of the content is sent: all of it with status 200, one range with 206, nothing with 304, 412 or 416."""

    status: int
    offset: int = 0
    length: int = 0


def select(method: str, headers: Mapping[str, str], etag: str, size_bytes: int) -> Part:
    """Say which part of the content a GET or HEAD asks for. `etag` is without its quotes."""
    if_match = headers.get("If-Match")
    if if_match is not None and not _lists(if_match, etag, weak=False):
        return Part(412)
    if_none_match = headers.get("If-None-Match")
    if if_none_match is not None and _lists(if_none_match, etag, weak=True):
        return Part(304)
    wanted = headers.get("Range") if method == "GET" else None  # section 14.2
    if wanted is None or not _unchanged(headers.get("If-Range"), etag):
        return Part(200, 0, size_bytes)
    return _range(wanted, size_bytes)


def _lists(header: str, etag: str, *, weak: bool) -> bool:
    """Say whether an If-Match or If-None-Match names our ETag."""
    if header.strip() == "*":
        return True
    return any(match[1] == etag and (weak or not match[0].startswith("W/")) for match in _ETAG.finditer(header))


def _unchanged(if_range: str | None, etag: str) -> bool:
    """Say whether a range may be given: a date never proves that content is the same, our ETag does."""
    return if_range is None or if_range.strip() == f'"{etag}"'


def _range(header: str, size: int) -> Part:
    """Read one range. Several, other units and what is malformed are answered with all of it (section 14.2)."""
    match = _ONE_RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return Part(200, 0, size)
    if match[1] == "":
        length = min(int(match[2]), size)
        return Part(206, size - length, length) if length else Part(416)
    first, last = int(match[1]), int(match[2] or size - 1)
    if match[2] and last < first:
        return Part(200, 0, size)
    if first >= size:
        return Part(416)
    return Part(206, first, min(last, size - 1) - first + 1)
